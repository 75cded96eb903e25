//! What the records say of real clients' logins, transfers and operations.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::support::audit::{Schema, await_record, records, sha256sum};
use crate::support::clients::{curl, lftp, openssh};
use crate::support::pattern;
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::wait::becomes_true;

use crate::support::PASSWORD;

/// Larger than the buffers, and no multiple of them.
const LENGTH: usize = 3_000_017;

/// Each front uploads and downloads a file with a real client. Every record fits the schema, and its hash
/// is that of sha256sum.
#[test]
fn transfers_have_the_hash_of_the_file_on_every_front() {
    let site = start("{ file: LOGS/audit, sha256: true }");
    let home = tempfile::tempdir().expect("a client's home");
    let original = home.path().join("original");
    std::fs::write(&original, pattern(LENGTH)).expect("writing a file");
    let expected = sha256sum(&original);
    let sshd = sftp_endpoint("sshd").home.join("audited");
    let proftpd = endpoint("proftpd-tls").home.join("audited");
    for folder in [&sshd, &proftpd] {
        std::fs::create_dir_all(folder).expect("a folder");
        let mut owner = Command::new("chown");
        run(owner.arg("daemon").arg(folder), b"", TIMEOUT).expect_ok("chown");
    }
    for listener in ["ftp", "ftps"] {
        let name = format!("by-curl-{listener}");
        curl::upload(&site.ftp(listener), EPSV, &original, &name).expect_ok("an upload");
        let downloaded = curl::download(&site.ftp(listener), EPSV, &name).expect_ok("a download");
        assert!(downloaded.stdout == pattern(LENGTH));
    }
    curl::upload(&site.ftp("to-ftps"), EPSV, &original, "audited/x").expect_ok("an upload");
    let got = curl::download(&site.ftp("to-ftps"), EPSV, "audited/x").expect_ok("a download");
    assert!(got.stdout == pattern(LENGTH));
    let script = "put original -o by-lftp\nget by-lftp -o copy";
    lftp::lftp(&site.ftp("ftps"), TlsVersion::Newest, home.path(), script).expect_ok("lftp");
    for (listener, path) in [("sftp", "/by-sftp".into()), ("to-sftp", sshd.join("x"))] {
        let path: &Path = &path;
        let batch = format!("put original {path:?}\nget {path:?} copy-{listener}\n");
        openssh::sftp(&site.sftp(listener), home.path(), &batch, &[]).expect_ok("sftp");
        let copy = std::fs::read(home.path().join(format!("copy-{listener}"))).expect("the copy");
        assert!(copy == pattern(LENGTH));
    }
    // scp overwrites without truncation, and truncates at the end.
    std::fs::write(site.files.path().join("by-scp"), pattern(LENGTH + 100)).expect("a longer file");
    let target = openssh::remote(&site.sftp("sftp"), "by-scp");
    openssh::scp(&site.sftp("sftp"), home.path(), "original", &target).expect_ok("scp");

    let sshd = sshd.join("x").display().to_string();
    for (listener, path, direction) in [
        ("ftp", "/by-curl-ftp", "upload"),
        ("ftp", "/by-curl-ftp", "download"),
        ("ftps", "/by-curl-ftps", "upload"),
        ("ftps", "/by-curl-ftps", "download"),
        ("to-ftps", "/audited/x", "upload"),
        ("to-ftps", "/audited/x", "download"),
        ("ftps", "/by-lftp", "upload"),
        ("ftps", "/by-lftp", "download"),
        ("sftp", "/by-sftp", "upload"),
        ("sftp", "/by-sftp", "download"),
        ("to-sftp", sshd.as_str(), "upload"),
        ("to-sftp", sshd.as_str(), "download"),
        ("sftp", "/by-scp", "upload"),
    ] {
        let record = await_record(&site.log("audit"), |record| {
            is("transfer", path)(record) && record["direction"] == direction
        });
        assert_eq!(record["listener"], listener);
        assert_eq!(record["outcome"], "ok", "{record}");
        assert_eq!(record["bytes"], LENGTH, "{record}");
        assert_eq!(record["sha256"], expected.as_str(), "{record}");
    }
    for listener in ["ftp", "ftps", "sftp", "to-ftps", "to-sftp"] {
        let ended =
            |record: &Value| record["event"] == "session-end" && record["listener"] == listener;
        await_record(&site.log("audit"), ended);
    }
    let schema = Schema::load();
    let all = records(&site.log("audit"));
    all.iter().for_each(|record| schema.validate(record));
    check_connections(&all);
}

/// Addresses, and what protects each of the two connections.
fn check_connections(all: &[Value]) {
    let login = |listener: &str| {
        let is_it = |record: &&Value| record["event"] == "login" && record["listener"] == listener;
        let record = all.iter().find(is_it).unwrap_or_else(|| panic!("no login at {listener}"));
        assert_eq!((&record["outcome"], &record["user"]), (&"ok".into(), &USER.into()));
        assert_eq!(record["groups"], serde_json::json!(["partners"]));
        let authentication = serde_json::json!({ "method": "password", "checked_by": "gateway" });
        assert_eq!(record["authentication"], authentication);
        assert_eq!(record["client"]["address"], "127.0.0.1");
        assert_eq!(record["gateway"]["address"], "127.0.0.1");
        record.clone()
    };
    let plain = login("ftp");
    assert_eq!(plain["protocol"], "ftp");
    assert!(plain["encryption"].is_null() && plain["backend"]["address"].is_null(), "{plain}");
    let tls = login("ftps");
    assert_eq!(tls["protocol"], "ftps");
    assert_eq!(
        (&tls["encryption"]["protocol"], &tls["encryption"]["version"]),
        (&"TLS".into(), &"1.3".into())
    );
    let is_hybrid = tls["encryption"]["key_exchange"].as_str().expect("a group").contains("MLKEM");
    assert_eq!(tls["encryption"]["post_quantum"], is_hybrid, "{tls}");
    let ssh = login("sftp");
    assert_eq!(
        (&ssh["encryption"]["protocol"], &ssh["encryption"]["version"]),
        (&"SSH".into(), &"2.0".into())
    );
    assert!(ssh["client"]["software"].as_str().is_some_and(|it| it.contains("OpenSSH")), "{ssh}");
    // OpenSSH 9.2 offers sntrup761, which lockgate does not have.
    assert_eq!(ssh["encryption"]["key_exchange"], "curve25519-sha256");
    assert_eq!(ssh["encryption"]["post_quantum"], false);
    let backend = login("to-ftps")["backend"].clone();
    assert_eq!(
        (&backend["name"], &backend["port"]),
        (&"proftpd".into(), &endpoint("proftpd-tls").port.into())
    );
    assert_eq!(
        (&backend["address"], &backend["encryption"]["version"]),
        (&"127.0.0.1".into(), &"1.2".into())
    );
    let backend = login("to-sftp")["backend"].clone();
    assert_eq!(
        (&backend["name"], &backend["port"]),
        (&"sshd".into(), &sftp_endpoint("sshd").port.into())
    );
    assert_eq!(
        (&backend["encryption"]["protocol"], &backend["encryption"]["post_quantum"]),
        (&"SSH".into(), &false.into())
    );
    assert!(backend["encryption"]["cipher"].as_str().is_some_and(|it| it.starts_with("aes")));
}

/// A hash that is not certainly the file's is left out.
#[test]
fn what_is_no_whole_file_has_no_hash() {
    let site = start("{ file: LOGS/audit, sha256: true }");
    let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    assert_eq!(client.upload("STOR a", b"abcdef").code, 226);
    assert_eq!(client.upload("APPE a", b"gh").code, 226);
    client.expect("REST 2", 350);
    assert_eq!(client.download("RETR a").0, b"cdefgh");
    client.expect("REST 8", 350);
    assert_eq!(client.upload("STOR a", b"ij").code, 226);
    client.expect("TYPE A", 200);
    assert_eq!(client.upload("STOR text", b"one\r\ntwo\r\n").code, 226);
    // An upload that is cut.
    client.expect("TYPE I", 200);
    let tcp = client.begin("STOR cut");
    let mut data = client.data(tcp);
    data.write_all(b"half").expect("sending half a file");
    assert!(becomes_true(|| client.command("STAT").text.contains("4 bytes")));
    client.expect("ABOR", 426);
    assert_eq!(client.read().code, 226);
    client.expect("QUIT", 221);
    let home = tempfile::tempdir().expect("a client's home");
    std::fs::write(home.path().join("a"), b"abc").expect("a part of the file");
    std::fs::write(home.path().join("b"), pattern(LENGTH)).expect("a file");
    let batch = "reget a\nput b\nget b c\n-get missing\n-rm missing\nls\n";
    openssh::sftp(&site.sftp("sftp"), home.path(), batch, &[]).expect_ok("sftp");

    let ended = |record: &Value| record["event"] == "session-end" && record["listener"] == "sftp";
    await_record(&site.log("audit"), ended);
    let all = records(&site.log("audit"));
    let outline = |listener: &str| -> Vec<String> {
        let of_files = |record: &&Value| {
            record["listener"] == listener
                && matches!(record["event"].as_str(), Some("transfer" | "operation"))
        };
        let shown = all.iter().filter(of_files).map(|record| {
            let hash = if record["sha256"].is_null() { "-" } else { "hash" };
            let text = |field: &str| record[field].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {hash}",
                text("operation"),
                text("path"),
                text("outcome"),
                record["bytes"]
            )
        });
        shown.collect()
    };
    assert_eq!(
        outline("ftp"),
        [
            "write /a ok 6 hash",
            "append /a ok 2 -",
            "read /a ok 6 -",
            "write /a ok 2 -",
            "write /text ok 10 hash",
            "write /cut aborted 4 -",
        ]
    );
    assert_eq!(
        outline("sftp"),
        [
            "read /a ok 7 -",
            "write /b ok 3000017 hash",
            "read /b ok 3000017 hash",
            "remove /missing not-found null -",
            "list / ok null -",
        ]
    );
    let hash_of = |path: &str| {
        let record = all.iter().find(|record| is("transfer", path)(record)).expect("a transfer");
        record["sha256"].as_str().expect("a hash").to_owned()
    };
    // As it was sent, with CRLF.
    std::fs::write(home.path().join("text"), b"one\r\ntwo\r\n").expect("a file");
    assert_eq!(hash_of("/text"), sha256sum(&home.path().join("text")));
    assert_eq!(hash_of("/b"), sha256sum(&home.path().join("b")));
    let schema = Schema::load();
    all.iter().for_each(|record| schema.validate(record));
}

#[test]
fn refused_logins_keys_and_clients_have_records() {
    let site = start("{ file: LOGS/audit }");
    let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
    client.expect(&format!("USER {USER}"), 331);
    client.expect("PASS tried-and-wrong", 530);
    client.send_bytes(b"USER caf\xe9\r\n");
    assert_eq!(client.read().code, 331);
    client.expect("PASS tried-and-wrong", 530);
    client.expect("QUIT", 221);
    let (mut client, _) = Raw::connect(site.gateway.address("ftps"));
    client.expect(&format!("USER {USER}"), 530);
    drop(client);
    let home = tempfile::tempdir().expect("a client's home");
    let mut stranger = site.sftp("sftp");
    stranger.key = Some(keys().stranger.clone());
    assert!(!openssh::sftp(&stranger, home.path(), "ls\n", &[]).ok(), "a stranger is let in");
    let mut with_key = site.sftp("sftp");
    with_key.key = Some(keys().user.clone());
    openssh::sftp(&with_key, home.path(), "ls\n", &[]).expect_ok("a login with a key");

    let audit = site.log("audit");
    let login = |user: &str, outcome: &str| {
        await_record(&audit, |record| {
            record["event"] == "login" && record["user"] == user && record["outcome"] == outcome
        })
    };
    let refused = login(USER, "refused");
    assert_eq!(
        (&refused["fault"], &refused["reason"]),
        (&"client".into(), &"login incorrect".into())
    );
    assert!(refused["groups"].is_null() && refused["backend"]["address"].is_null(), "{refused}");
    assert_eq!(login("caf\\xe9", "refused")["user_hex"], "636166e9");
    let offered = login(USER, "key-refused");
    let fingerprint = offered["authentication"]["fingerprint"].as_str().expect("a fingerprint");
    let accepted = await_record(&audit, |record| {
        record["event"] == "login"
            && record["authentication"]["method"] == "publickey"
            && record["outcome"] == "ok"
    });
    let own = accepted["authentication"]["fingerprint"].as_str().expect("a fingerprint");
    let mut keygen = Command::new("ssh-keygen");
    let printed =
        run(keygen.arg("-lf").arg(public(&keys().user)), b"", TIMEOUT).expect_ok("ssh-keygen");
    let printed = String::from_utf8(printed.stdout).expect("text");
    assert!(printed.contains(own) && !printed.contains(fingerprint), "{printed}");
    let client_refused = await_record(&audit, |record| record["event"] == "client-refused");
    assert_eq!(
        (&client_refused["refusal"], &client_refused["listener"]),
        (&"no-tls".into(), &"ftps".into())
    );
    let schema = Schema::load();
    records(&audit).iter().for_each(|record| schema.validate(record));
    let text = std::fs::read_to_string(&audit).expect("the audit");
    assert!(!text.contains("tried-and-wrong") && !text.contains(PASSWORD), "{text}");
}

/// `audit` is the last key of the configuration.
#[test]
fn the_rule_that_decides_is_recorded_on_both_fronts() {
    let site = start(
        "{ file: LOGS/audit }\npolicy:\n  rules:\n    - { name: keep, match: { paths: [\"/kept\"] }, \
         deny: [delete], message: \"kept for the records\" }\n    - { name: rest, allow: all }",
    );
    std::fs::write(site.files.path().join("kept"), b"x").expect("a file");
    let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
    client.login(USER, PASSWORD);
    client.expect("DELE kept", 550);
    client.expect("MKD made", 257);
    let home = tempfile::tempdir().expect("a client's home");
    openssh::sftp(&site.sftp("sftp"), home.path(), "-rm kept\nrmdir made\n", &[]).expect_ok("sftp");
    let schema = Schema::load();
    for (listener, operation, path, rule, outcome) in [
        ("ftp", "remove", "/kept", "keep", "permission-denied"),
        ("ftp", "make-directory", "/made", "rest", "ok"),
        ("sftp", "remove", "/kept", "keep", "permission-denied"),
        ("sftp", "remove-directory", "/made", "rest", "ok"),
    ] {
        let record = await_record(&site.log("audit"), |record| {
            is("operation", path)(record)
                && record["listener"] == listener
                && record["operation"] == operation
        });
        schema.validate(&record);
        assert_eq!(
            (&record["rule"], &record["outcome"]),
            (&rule.into(), &outcome.into()),
            "{record}"
        );
        let is_denied = rule == "keep";
        assert_eq!(record["fault"] == "policy", is_denied, "{record}");
        assert_eq!(record["reason"].to_string().contains("kept for the records"), is_denied);
    }
}

/// Names that could forge records or be confused with other names.
#[test]
fn hostile_names_are_unambiguous() {
    let site = start("[{ file: LOGS/audit }, { file: LOGS/xferlog, format: xferlog }]");
    let (mut client, _) = Raw::connect(site.gateway.address("ftp"));
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    let names: [&[u8]; 6] = [
        b"a\",\"outcome\":\"ok\",\"x\":\"",
        b"blank  and\ttab",
        b"caf\xe9",
        b"caf\\xe9",
        "\u{202e}\u{2028}\u{1b}[31m".as_bytes(),
        "größe 日本".as_bytes(),
    ];
    for name in names {
        let tcp = client.passive();
        client.send_bytes(&[b"STOR ", name, b"\r\n"].concat());
        assert_eq!(client.read().code, 150);
        let mut data = client.data(tcp);
        data.write_all(b"abc").expect("sending a file");
        data.finish().expect("the end of the file");
        assert_eq!(client.read().code, 226);
    }
    client.expect("QUIT", 221);
    await_record(&site.log("audit"), |record| record["event"] == "session-end");
    let all = records(&site.log("audit"));
    let recovered: Vec<_> = all
        .iter()
        .filter(|record| record["event"] == "transfer")
        .map(|record| match record["path_hex"].as_str() {
            None => record["path"].as_str().expect("a path").as_bytes().to_vec(),
            Some(digits) => {
                let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("a byte");
                (0..digits.len()).step_by(2).map(byte).collect()
            }
        })
        .collect();
    assert_eq!(recovered, names.map(|name| [b"/", name].concat()));
    let schema = Schema::load();
    all.iter().for_each(|record| schema.validate(record));
    let raw = std::fs::read_to_string(site.log("audit")).expect("UTF-8");
    assert!(raw.lines().all(|line| !line.contains(|c: char| c.is_control() || c == '\u{202e}')));

    // Each output has its own writer.
    let written = || std::fs::read_to_string(site.log("xferlog")).unwrap_or_default();
    assert!(becomes_true(|| written().lines().count() == names.len()));
    let xferlog = written();
    let paths: Vec<_> = xferlog
        .lines()
        .map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            assert_eq!(fields.len(), 18, "{line}");
            assert_eq!(
                (fields[7], fields[11], fields[13], fields[14], fields[17]),
                ("3", "i", USER, "ftp", "c")
            );
            fields[8].to_owned()
        })
        .collect();
    assert_eq!(
        paths,
        [
            "/a\",\"outcome\":\"ok\",\"x\":\"",
            "/blank__and_tab",
            "/caf\\xe9",
            "/caf\\xe9",
            "/\\u{202e}\\u{2028}_[31m",
            "/größe_日本",
        ]
    );
}

/// The sample, with addresses and files of this test.
#[test]
fn the_sample_records_partners_files() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/audited-partners.yaml");
    let sample = std::fs::read_to_string(sample).expect("the sample");
    let pool = ports::block(8);
    let mut yaml = sample.clone();
    for (from, to) in [
        ("10.0.0.5:21", "127.0.0.1:0"),
        ("10.0.0.5:22", "127.0.0.1:0"),
        ("50000-50049", &format!("{}-{}", pool.start(), pool.end())),
        // Nothing answers there: records wait for it, and nothing else does.
        ("address: logs.example.com", "address: \"127.0.0.1:1\""),
        ("folder: files", "folder: ."),
    ] {
        assert!(yaml.contains(from), "{from}");
        yaml = yaml.replace(from, to);
    }
    let files: [(&str, &Path); 4] = [
        ("tls.crt", &pki().certificate),
        ("tls.key", &pki().key),
        ("exchange-ca.crt", &pki().ca),
        ("ssh_host_ed25519_key", &keys().host[0]),
    ];
    let gateway = Gateway::start_by(Command::new(PROGRAM), &yaml, &files);
    let (user, password) = ("acme".to_owned(), "replace-me".to_owned());
    let original = gateway.folder().join("original");
    std::fs::write(&original, pattern(LENGTH)).expect("writing a file");
    let ftps = Site {
        user: user.clone(),
        password: password.clone(),
        ..Site::new(gateway.address("ftps").port(), Tls::Explicit)
    };
    curl::upload(&ftps, EPSV, &original, "orders%201.csv").expect_ok("an upload");
    let mut sftp = SftpSite::new(gateway.address("sftp").port());
    (sftp.user, sftp.password) = (user, password);
    openssh::sftp(&sftp, gateway.folder(), "get \"orders 1.csv\" got\n", &[]).expect_ok("sftp");
    let audit = gateway.folder().join("audit.jsonl");
    for direction in ["upload", "download"] {
        let record = await_record(&audit, |record| {
            is("transfer", "/orders 1.csv")(record) && record["direction"] == direction
        });
        assert_eq!(record["sha256"], sha256sum(&original).as_str(), "{record}");
    }
    let xferlog = gateway.folder().join("xferlog");
    let line = " /orders_1.csv b _ i r acme ftps 0 * c\n";
    assert!(becomes_true(|| std::fs::read_to_string(&xferlog).is_ok_and(|it| it.contains(line))));
}
