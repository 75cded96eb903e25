//! Servers with `dialect: opaque`: one that behaves like z/OS, and ProFTPD and vsftpd, which ordinary clients use
//! through it as ever.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{client, gateway, greeted, server};
use crate::support::audit::{Schema, await_record, records};
use crate::support::clients::curl::{self, CurlOptions};
use crate::support::clients::lftp::lftp;
use crate::support::clients::{Site, TlsVersion, deadline};
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::mainframe::Mainframe;
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::servers::endpoint;
use crate::support::{DataMode, PASSWORD, Tls, USER, pattern, ports};

const LOG_TIMEOUT: Duration = Duration::from_secs(20);
const JCL: &[u8] = b"//JOB1 JOB\r\n//STEP EXEC PGM=IEFBR14\r\n";
const EPSV: CurlOptions = CurlOptions { data: DataMode::Epsv, tls: TlsVersion::Newest };

fn mainframe() -> Mainframe {
    Mainframe::start(&[("USER.DATA(MEMBER)", b"records\x00\xff\r\n"), ("USER.LOG", b"log")])
}

fn keys(mainframe: &Mainframe) -> String {
    format!("address: \"{}\", dialect: opaque", mainframe.address())
}

fn before(mainframe: &Mainframe) -> Gateway {
    gateway(&[("back", keys(mainframe))])
}

/// The client's lines arrive as they were written, and the server's replies likewise.
#[test]
fn names_settings_and_replies_pass_unchanged() {
    for listener in ["back", "back-tls"] {
        let mainframe = mainframe();
        let gateway = before(&mainframe);
        let mut client = greeted(&gateway, listener);
        client.login(USER, PASSWORD);
        let steps = [
            (
                "SYST",
                "215 MVS is the operating system of this server. FTP Server is running on z/OS.",
            ),
            ("PWD", "257 \"'USER.'\" is working directory."),
            ("SITE LRECL=80  RECFM=FB", "200 SITE command was accepted"),
            (
                "site nonsense",
                "200-Unrecognized parameter 'nonsense' on SITE command.\r\n200 SITE command was accepted",
            ),
            ("MKD 'A.\"X\"'", "257 \"'A.\"\"X\"\"'\" created."),
            ("TYPE E", "200 Representation type is Ebcdic NonPrint"),
            (
                "STAT",
                "211-Server FTP talking to host 192.0.2.1, port 1034\r\n211-User: USER  Working directory: USER.\r\n211-Data transfer mode is Ebcdic NonPrint; LRECL is 80\r\n211 *** end of status ***",
            ),
            (
                "HELP",
                "214-The server-FTP commands are:\r\n214-ABOR ACCT ALLO APPE\r\n214 *** end of help ***",
            ),
            (
                "CWD 'USER.DATA'",
                "250 The working directory \"USER.DATA\" is a partitioned data set",
            ),
            ("CWD ..", "250 \"'USER.'\" is the working directory name prefix."),
            ("CWD DATA", "250 The working directory \"USER.DATA\" is a partitioned data set"),
            ("DELE //../x", "550 DELE fails: USER.DATA(//../x) does not exist."),
            ("RNFR 'USER.LOG'", "350 RNFR accepted. Please supply new name for RNTO."),
            ("RNTO 'USER.OLD'", "250 USER.LOG renamed to USER.OLD"),
            ("WHAT IS THIS", "500 unknown command WHAT"),
        ];
        for (line, reply) in steps {
            assert_eq!(client.command(line).text, format!("{reply}\r\n"), "{line}");
        }
        let sent: Vec<String> =
            steps.iter().map(|(line, _)| line.replacen("site ", "SITE ", 1)).collect();
        assert_eq!(mainframe.relayed()[1..], sent[..]);
        // Relative to the server's own directory, and absolute.
        for name in ["MEMBER", "'USER.DATA(MEMBER)'"] {
            let tcp = client.passive();
            let opened = client.command(&format!("RETR {name}"));
            assert_eq!(opened.text, "125 Sending data set USER.DATA(MEMBER) FIXrecfm 80\r\n");
            let mut bytes = Vec::new();
            client.data(tcp).read_to_end(&mut bytes).expect("reading");
            assert_eq!(bytes, b"records\x00\xff\r\n");
            assert_eq!(client.read().text, "250 Transfer completed successfully.\r\n");
        }
        let (listing, _) = client.download("LIST 'USER.*'");
        let listing = String::from_utf8(listing).expect("text");
        assert_eq!(
            listing,
            "Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname\r\n\
             WRKLB1 3390   2026/11/30  1    1  FB      80 27920  PO  'USER.DATA(MEMBER)'\r\n\
             WRKLB1 3390   2026/11/30  1    1  FB      80 27920  PO  'USER.OLD'\r\n"
        );
        let tcp = client.passive();
        assert_eq!(client.command("NLST 'NONE.*'").text, "550 No data sets found.\r\n");
        drop(tcp);
        assert_eq!(mainframe.server().connections(), 1);
    }
}

#[test]
fn a_stored_file_may_be_a_job() {
    let mainframe = mainframe();
    let gateway = before(&mainframe);
    for listener in ["back", "back-tls"] {
        let mut client = greeted(&gateway, listener);
        client.login(USER, PASSWORD);
        client.expect("SITE FILETYPE=JES", 200);
        assert_eq!(
            client.upload("STOR JOB1", JCL).text,
            "250-It is known to IBM as JOB01234\r\n250-3 lines were read\r\n\
             250 Transfer completed successfully.\r\n"
        );
        // Another session does not have this one's settings.
        let mut other = greeted(&gateway, listener);
        other.login(USER, PASSWORD);
        assert_eq!(
            other.upload("STOR 'USER.JCL'", JCL).text,
            "250 Transfer completed successfully.\r\n"
        );
    }
    assert_eq!(mainframe.jobs(), [JCL, JCL]);
    assert_eq!(mainframe.data_set("USER.JCL").as_deref(), Some(JCL));
}

/// Blocks and record marks are not read: all bytes until the end of the data connection are data.
#[test]
fn every_form_of_data_is_carried() {
    let mainframe = mainframe();
    let gateway = before(&mainframe);
    let bytes = pattern(300_000);
    for listener in ["back", "back-tls"] {
        let mut client = greeted(&gateway, listener);
        client.login(USER, PASSWORD);
        for (line, code) in [("TYPE E", 200), ("STRU R", 250), ("MODE B", 200)] {
            client.expect(line, code);
        }
        client.upload("STOR 'USER.BLOCKS'", &bytes);
        assert!(mainframe.data_set("USER.BLOCKS").as_deref() == Some(&bytes[..]));
        assert!(client.download("RETR 'USER.BLOCKS'").0 == bytes);
    }
    let forms: Vec<_> =
        mainframe.relayed().into_iter().filter(|it| it.starts_with("TYPE")).collect();
    assert_eq!(forms, ["TYPE E", "TYPE E"]);
}

/// Which features the server has is known after the login only; where TLS is offered, clients look for it before.
#[test]
fn features_and_system_are_not_told_before_the_login() {
    let mainframe = mainframe();
    let gateway = before(&mainframe);
    let (mut client, _) = Raw::connect(gateway.address("back-tls"));
    let features = client.expect("FEAT", 211).text;
    assert_eq!(
        features,
        "211-Features:\r\n AUTH TLS\r\n PBSZ\r\n PROT\r\n EPSV\r\n PASV\r\n211 End\r\n"
    );
    client.auth_tls();
    for mut client in [client, greeted(&gateway, "back")] {
        for line in ["FEAT", "SYST", "OPTS UTF8 ON"] {
            client.expect(line, 530);
        }
        client.login(USER, PASSWORD);
        assert!(client.expect("SYST", 215).text.contains("MVS"));
    }
}

#[test]
fn logins_and_data_connections_stay_the_gateways() {
    let mainframe = mainframe();
    let gateway = before(&mainframe);
    let mut client = greeted(&gateway, "back");
    client.login(USER, PASSWORD);
    for (line, code) in [
        ("USER other", 503),
        ("PASS x", 503),
        ("ACCT x", 202),
        ("AUTH TLS", 502),
        ("PBSZ 0", 503),
        ("PROT P", 503),
        ("CCC", 533),
        ("PORT 127,0,0,1,4,1", 502),
        ("EPRT |1|127.0.0.1|1025|", 502),
        ("PASV", 227),
        ("EPSV", 229),
        ("ABOR", 225),
        ("HOST other", 502),
        ("ADAT x", 502),
        ("ENC x", 502),
        ("lprt 4,127,0,0,1,2,4,1", 502),
        ("LPSV", 502),
        ("SSCN ON", 502),
        ("CPSV", 502),
        ("PORT\t1", 500),
        (" PASV", 500),
        ("CWD a\rPORT 1", 553),
        ("REST marker", 501),
        ("REST 3", 350),
    ] {
        client.expect(line, code);
    }
    assert_eq!(mainframe.relayed(), ["PWD"]);
    // The offset goes with the transfer.
    client.download("RETR 'USER.LOG'");
    assert_eq!(mainframe.relayed()[1..], ["REST 3", "RETR 'USER.LOG'"]);
    let features = client.expect("FEAT", 211).text;
    for (feature, listed) in [
        (" EPSV", true),
        (" PASV", true),
        (" UTF8", true),
        (" LANG EN*", true),
        (" REST STREAM", true),
        (" SIZE", true),
        (" XCRC", true),
        (" AUTH TLS", false),
        (" HOST", false),
        (" MLST", false),
        (" MDTM", false),
    ] {
        assert_eq!(
            features.contains(&format!("\r\n{feature}\r\n")),
            listed,
            "{feature} in {features}"
        );
    }
    client.expect("REIN", 220);
    client.expect("CWD 'USER.DATA'", 530);
}

#[test]
fn an_unknown_transfer_and_a_lost_server_end_the_session() {
    let mainframe = mainframe();
    let gateway = before(&mainframe);
    let mut client = greeted(&gateway, "back");
    client.login(USER, PASSWORD);
    let reply = client.command("XFER 'USER.LOG'");
    assert!(
        reply.text.starts_with("421 ") && reply.text.contains("began a transfer for XFER"),
        "{}",
        reply.text
    );
    assert!(client.at_end());
    let is_record = |line: &serde_json::Value| {
        line["operation"] == "other-command" && line["path"] == "XFER 'USER.LOG'"
    };
    let record = gateway.await_log(is_record, LOG_TIMEOUT);
    assert_eq!((&record["outcome"], &record["fault"]), (&"unavailable".into(), &"backend".into()));
    assert!(record["detail"].as_str().expect("a detail").contains("125 Opening a data connection"));

    let mut client = greeted(&gateway, "back");
    client.login(USER, PASSWORD);
    client.expect("SITE FILETYPE=JES", 200);
    let reply = client.command("DROP");
    assert_eq!(reply.code, 421, "{}", reply.text);
    assert!(client.at_end());
    assert_eq!(mainframe.server().connections(), 2);
}

/// The gateway with the sample, before this mainframe.
fn sample(mainframe: &Mainframe) -> Gateway {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/mainframe.yaml");
    let mut text = fs::read_to_string(file).expect("reading the sample");
    let pool = ports::block(16);
    for (from, to) in [
        ("\"0.0.0.0:21\"", "\"127.0.0.1:0\"".to_owned()),
        (
            "range: 50000-50099",
            format!("range: {}-{}\n    listen: \"127.0.0.1\"", pool.start(), pool.end()),
        ),
        ("\"mvs1.example.com:21\"", format!("\"{}\"", mainframe.address())),
        ("    tls: { mode: required }\n", String::new()),
        ("users: operator", format!("users: {USER}")),
    ] {
        assert!(text.contains(from), "the sample does not contain {from:?}");
        text = text.replace(from, &to);
    }
    let files: [(&str, &Path); 2] = [("tls.crt", &pki().certificate), ("tls.key", &pki().key)];
    Gateway::start_by(Command::new(PROGRAM), &text, &files)
}

/// The sample's rules: one user submits jobs, others store and fetch data sets.
#[test]
fn the_sample_lets_operators_submit_jobs_and_others_move_data_sets() {
    let mainframe = mainframe();
    let gateway = sample(&mainframe);
    let audit = gateway.folder().join("audit.jsonl");
    let client = |user: &str| {
        let mut client = greeted(&gateway, "ftps");
        client.auth_tls();
        client.login(user, PASSWORD);
        client
    };
    let mut partner = client("partner");
    partner.expect("SITE LRECL=80 RECFM=FB", 200);
    partner.upload("STOR 'USER.IN'", JCL);
    assert_eq!(partner.download("RETR 'USER.IN'").0, JCL);
    for (line, words) in [
        ("SITE FILETYPE=JES", "no rule of the gateway allows SITE FILETYPE"),
        ("SITE LRECL=80 FILETYPE=JES", "no rule of the gateway allows SITE FILETYPE"),
        ("SITE FILE=JES", "no rule of the gateway allows SITE FILE"),
        ("RCMD DLTF X", "no rule of the gateway allows RCMD"),
        ("DELE 'USER.IN'", "a rule of the gateway denies delete here"),
    ] {
        let reply = partner.expect(line, 550).text;
        assert!(reply.contains(words), "{line}: {reply}");
    }
    let tcp = partner.passive();
    assert!(partner.expect("APPE 'USER.IN'", 550).text.contains("denies append here"));
    drop(tcp);
    assert!(!partner.expect("FEAT", 211).text.contains("XCRC"));
    assert!(
        !mainframe.relayed().iter().any(|line| line.contains("FILE")),
        "{:?}",
        mainframe.relayed()
    );
    let mut operator = client(USER);
    operator.expect("SITE LRECL=80 FILETYPE=JES", 200);
    operator.upload("STOR JOB1", JCL);
    assert_eq!(mainframe.jobs(), [JCL]);
    drop((partner, operator));

    let record = |operation: &str, path: &str| {
        let is_it = |it: &serde_json::Value| it["operation"] == operation && it["path"] == path;
        await_record(&audit, is_it)
    };
    let denied = record("site", "LRECL=80 FILETYPE=JES");
    assert_eq!(
        (&denied["outcome"], &denied["fault"]),
        (&"permission-denied".into(), &"policy".into())
    );
    assert_eq!(record("other-command", "RCMD DLTF X")["outcome"], "permission-denied");
    let stored = record("write", "'USER.IN'");
    assert_eq!((&stored["bytes"], &stored["outcome"]), (&JCL.len().into(), &"ok".into()));
    assert_eq!(stored["rule"], "data-sets");
    let schema = Schema::load();
    records(&audit).iter().for_each(|record| schema.validate(record));

    let config = gateway.folder().join("lockgate.yaml").display().to_string();
    for (user, command, expected) in [
        ("partner", "SITE LRECL", "allowed   no rule denies the command"),
        ("partner", "SITE FILETYPE", "denied    no rule names the command"),
        ("partner", "RCMD", "denied    no rule names the command"),
        ("partner", "PASV", "allowed"),
        (USER, "SITE FILETYPE", "allowed"),
    ] {
        let asked = [
            "explain",
            "--config",
            &config,
            "--source",
            "192.0.2.1",
            "--user",
            user,
            "--operation",
            command,
        ];
        let output = lockgate(&asked, "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains(expected),
            "{user} {command}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// curl with the names and settings of z/OS.
#[test]
fn curl_moves_data_sets() {
    let mainframe = mainframe();
    let gateway = before(&mainframe);
    let home = tempfile::tempdir().expect("a client's home");
    for (listener, tls) in [("back", Tls::None), ("back-tls", Tls::Explicit)] {
        let site = Site::new(gateway.address(listener).port(), tls);
        let file = home.path().join("new");
        let bytes = pattern(100_000);
        fs::write(&file, &bytes).expect("writing a file");
        let mut command = curl::curl(&site, EPSV, home.path());
        command.args(["--quote", "SITE LRECL=80 RECFM=FB"]).arg("--upload-file").arg(&file);
        command.arg(curl::url(&site, "%27USER.DATA(NEW)%27"));
        run(&mut command, b"", deadline()).expect_ok("curl");
        assert!(mainframe.data_set("USER.DATA(NEW)").as_deref() == Some(&bytes[..]));
        let fetched = curl::download(&site, EPSV, "%27USER.DATA(NEW)%27").expect_ok("curl");
        assert!(fetched.stdout == bytes);
    }
    mainframe.server().assert_saw("SITE LRECL=80 RECFM=FB");
    mainframe.server().assert_saw("STOR 'USER.DATA(NEW)'");
}

/// The listener in front of each server, and the server.
const ORDINARY: [(&str, Tls, &str); 2] =
    [("proftpd-tls", Tls::Explicit, "proftpd-tls"), ("vsftpd", Tls::None, "vsftpd-plain")];

fn before_ordinary_servers() -> Gateway {
    let opaque = |name| format!("{}, dialect: opaque", server(&endpoint(name)));
    gateway(&[("proftpd", opaque("proftpd-tls")), ("vsftpd", opaque("vsftpd-plain"))])
}

/// What ordinary clients do works with ordinary servers, too.
#[test]
fn ordinary_servers_can_be_used_as_opaque_ones() {
    let gateway = before_ordinary_servers();
    let bytes = pattern(1_000_000);
    let files = [("a", &bytes[..]), ("b c", b"small"), ("empty", b"")];
    for (listener, tls, name) in ORDINARY {
        let site = Site::new(gateway.address(listener).port(), tls);
        let folder = format!("opaque-{name}");
        let disk = endpoint(name).home.join(&folder);
        let local = tempfile::tempdir().expect("a folder");
        fs::create_dir(local.path().join("up")).expect("making a folder");
        for (file, content) in files {
            fs::write(local.path().join("up").join(file), content).expect("writing a file");
        }
        let script = format!(
            "mkdir -f {folder}\ncd {folder}\nmirror -R up .\nmirror . down\nmv a moved\nls\nrm moved\n\
             cd ..\ncls -1 {folder}"
        );
        let output = lftp(&site, TlsVersion::V12, local.path(), &script).expect_ok("lftp");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains("moved") && shown.contains("b c"), "{shown}");
        for (file, content) in files {
            let fetched = fs::read(local.path().join("down").join(file)).expect("a file");
            assert!(fetched == content, "{listener}: {file}");
        }
        assert!(!disk.join("moved").exists() && disk.join("empty").exists());
        // Resumed both ways: APPE, and REST with RETR.
        let (whole, part) = (local.path().join("up/a"), local.path().join("part"));
        for file in [&disk.join("part"), &part] {
            fs::write(file, &bytes[..300_000]).expect("writing a file");
        }
        chown(disk.join("part"), Some(1), Some(1)).expect("giving the file to the server");
        for (option, file) in [("--upload-file", &whole), ("--output", &part)] {
            let options = CurlOptions { tls: TlsVersion::V12, ..EPSV };
            let mut command = curl::curl(&site, options, local.path());
            command.args(["--continue-at", "-"]).arg(option).arg(file);
            command.arg(curl::url(&site, &format!("{folder}/part")));
            run(&mut command, b"", deadline()).expect_ok("curl");
        }
        assert!(fs::read(disk.join("part")).expect("a file") == bytes);
        assert!(fs::read(&part).expect("a file") == bytes);
        fs::remove_dir_all(&disk).expect("removing a folder");
    }
}

/// An aborted transfer leaves the session in sync, with its TYPE and directory.
#[test]
fn aborted_transfers_keep_the_state_of_the_session() {
    let gateway = before_ordinary_servers();
    for (listener, _, name) in ORDINARY {
        let folder = endpoint(name).home.join(format!("opaque-abor-{name}"));
        fs::create_dir_all(&folder).expect("making a folder");
        chown(&folder, Some(1), Some(1)).expect("giving the folder to the server");
        fs::write(folder.join("big"), pattern(32_000_000)).expect("writing a file");
        let mut client = client(&gateway, listener);
        client.expect(&format!("CWD opaque-abor-{name}"), 250);
        let tcp = client.begin("RETR big");
        let mut data = client.data(tcp);
        data.read_exact(&mut [0; 1000]).expect("reading");
        client.send_bytes(b"ABOR\r\n");
        assert_eq!(client.read().code, 426);
        assert_eq!(client.read().code, 226);
        drop(data);
        let tcp = client.begin("STOR part");
        let mut data = client.data(tcp);
        data.write_all(b"some").expect("writing");
        client.send_bytes(b"ABOR\r\n");
        assert_eq!(client.read().code, 426);
        assert_eq!(client.read().code, 226);
        drop(data);
        assert!(client.expect("PWD", 257).text.contains(&format!("opaque-abor-{name}")));
        // In the same form: ASCII would change the bytes.
        client.upload("STOR whole", b"a\nb\r\nc");
        assert_eq!(fs::read(folder.join("whole")).expect("a file"), b"a\nb\r\nc");
        fs::remove_dir_all(&folder).expect("removing a folder");
    }
}
