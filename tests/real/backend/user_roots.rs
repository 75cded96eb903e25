//! `{user}` in a route's `root`: each user sees only the folder of that name, on both fronts, and a name
//! that is no folder is refused before the backend is contacted.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::scripted::Scripted;
use crate::support::ssh::accepts_password;
use crate::support::{PASSWORD, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(15);

/// A gateway with the listeners `ftp` and `sftp`, this backend and the route's keys.
fn gateway(backend: &str, users: &[&str], route: &str) -> Gateway {
    let ports = ports::block(4);
    let (first, last) = (ports.start(), ports.end());
    let hash = argon2_hash();
    let users: String =
        users.iter().map(|name| format!("  {name:?}: {{ password_hash: \"{hash}\" }}\n")).collect();
    let users = if users.is_empty() { users } else { format!("users:\n{users}") };
    Gateway::start(&format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n  \
         sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         data_ports:\n  pool: {{ range: {first}-{last} }}\n\
         backends:\n  back: {{ {backend} }}\n{users}\
         routes:\n  - {{ match: {{ sources: 192.0.2.1 }}, authenticate: gateway, backend: back }}\n  \
         - {{ {route}, backend: back }}\n\
         limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n",
        host_keys(),
    ))
}

/// `partners/acme` and `partners/globex`, each with the file `own` and a folder, and `partners/secret`.
fn partners() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for user in ["acme", "globex"] {
        let own = folder.path().join("partners").join(user);
        fs::create_dir_all(own.join(format!("for-{user}"))).expect("a partner's folder");
        fs::write(own.join("own"), user).expect("writing a file");
    }
    fs::write(folder.path().join("partners/secret"), "secret").expect("writing a file");
    fs::write(folder.path().join("own"), "root").expect("writing a file");
    folder
}

#[test]
fn each_user_sees_only_the_own_folder() {
    let folder = partners();
    let backend = format!("protocol: local, folder: {:?}", folder.path());
    let route = "authenticate: gateway, root: \"/partners/{user}\"";
    let gateway = gateway(&backend, &["acme", "globex", "initech"], route);
    let here = |path: &str| folder.path().join("partners").join(path);
    for (user, other) in [("acme", "globex"), ("globex", "acme")] {
        let (mut client, _) = Raw::connect(gateway.address("ftp"));
        client.login(user, PASSWORD);
        let (names, _) = client.download("NLST");
        let mut names: Vec<_> = std::str::from_utf8(&names).expect("names").lines().collect();
        names.sort_unstable();
        assert_eq!(names, [format!("for-{user}").as_str(), "own"]);
        for path in ["own", "/own", "../own", "/../../own", "../../partners/../own"] {
            let (bytes, reply) = client.download(&format!("RETR {path}"));
            assert_eq!((bytes.as_slice(), reply.code), (user.as_bytes(), 226), "{path}");
        }
        for path in
            [format!("../{other}/own"), format!("/partners/{other}/own"), "../secret".into()]
        {
            client.expect(&format!("SIZE {path}"), 550);
            client.expect(&format!("DELE {path}"), 550);
        }
        client.expect(&format!("CWD ../{other}"), 550);
        client.expect("CWD ..", 250);
        assert!(client.expect("PWD", 257).text.contains("\"/\""));
        client.expect(&format!("MKD ../../{user}-made"), 257);
        assert!(here(&format!("{user}/{user}-made")).is_dir());

        let home = tempfile::tempdir().expect("a client's home");
        let site =
            SftpSite { user: user.to_owned(), ..SftpSite::new(gateway.address("sftp").port()) };
        let batch = "pwd\nls -1\nget ../own one\nget /../../own two\n";
        let output = sftp(&site, home.path(), batch, &[]).expect_ok("the own folder");
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.contains("Remote working directory: /\n"), "{output}");
        assert!(!output.contains(other) && !output.contains("secret"), "{output}");
        for name in ["one", "two"] {
            let bytes = fs::read(home.path().join(name)).expect("a file of the own folder");
            assert_eq!(bytes, user.as_bytes(), "{name}");
        }
        for path in
            [format!("../{other}/own"), format!("/partners/{other}/own"), "../secret".into()]
        {
            let output = sftp(&site, home.path(), &format!("get {path}\n"), &[]);
            assert!(!output.ok(), "{path}: {}", output.describe());
        }
        let put = format!("put one ../../{user}-by-sftp\n");
        sftp(&site, home.path(), &put, &[]).expect_ok("an upload");
        assert_eq!(
            fs::read(here(&format!("{user}/{user}-by-sftp"))).expect("a file"),
            user.as_bytes()
        );
    }
    let mut left: Vec<_> = fs::read_dir(folder.path().join("partners"))
        .expect("the parent folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["acme", "globex", "secret"]);

    // The user's own folder is checked, and no other.
    let (mut client, _) = Raw::connect(gateway.address("ftp"));
    client.expect("USER initech", 331);
    let refusal = client.expect(&format!("PASS {PASSWORD}"), 421);
    assert!(refusal.text.contains("your folder does not exist at the server"), "{}", refusal.text);
    let failed =
        |event: &serde_json::Value| event["event"] == "login" && event["user"] == "initech";
    let event = gateway.await_log(failed, TIMEOUT);
    let detail = event["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("/partners/initech does not exist"), "{detail}");
    assert!(detail.contains("routes[1].root"), "{detail}");
}

/// Whether an SSH login with the test password succeeds.
fn ssh_logs_in(to: SocketAddr, user: &str) -> bool {
    accepts_password(to, user, PASSWORD, TIMEOUT).expect("an answer in time")
}

/// The reply to a login over FTP; the name is sent as it is.
fn ftp_reply(gateway: &Gateway, user: &[u8]) -> u16 {
    let (mut client, _) = Raw::connect(gateway.address("ftp"));
    client.send_bytes(&[b"USER ", user, b"\r\n"].concat());
    match client.read().code {
        331 => client.command(&format!("PASS {PASSWORD}")).code,
        refused => refused,
    }
}

/// Both fronts refuse the name, and the records of both say why.
#[track_caller]
fn expect_refused(gateway: &Gateway, user: &str, reason: &str) {
    assert_eq!(ftp_reply(gateway, user.as_bytes()), 530, "{user:?}");
    assert!(!ssh_logs_in(gateway.address("sftp"), user), "{user:?}");
    for listener in ["ftp", "sftp"] {
        let event = gateway.await_log(
            |event| {
                event["event"] == "login" && event["user"] == user && event["listener"] == listener
            },
            TIMEOUT,
        );
        assert_eq!(event["outcome"], "refused", "{event}");
        let detail = event["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(reason), "{detail}");
        assert!(detail.contains("`{user}` in routes[1].root (/partners/{user})"), "{detail}");
    }
}

const DOTS: &str = "to the folder itself or its parent";
const SEPARATOR: &str = "contains a slash or a backslash";
const CONTROL: &str = "contains a control character";

/// Even if the gateway knows the user and the password is right.
#[test]
fn a_known_user_whose_name_is_no_folder_is_refused() {
    let folder = partners();
    fs::create_dir(folder.path().join("partners/...")).expect("a folder");
    let backend = format!("protocol: local, folder: {:?}", folder.path());
    let route = "authenticate: gateway, root: \"/partners/{user}\"";
    let names = ["..", ".", "acme/for-acme", "../partners", "/", "..\\acme"];
    let gateway = gateway(&backend, &[&names[..], &["..."]].concat(), route);
    for name in names {
        let reason = if name.contains(['/', '\\']) { SEPARATOR } else { DOTS };
        expect_refused(&gateway, name, reason);
    }
    // An unusual name, but a folder's.
    assert_eq!(ftp_reply(&gateway, b"..."), 230);
    assert!(ssh_logs_in(gateway.address("sftp"), "..."));
}

#[test]
fn a_name_that_is_no_folder_is_not_sent_to_the_backend() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.serve()
    });
    let keys = format!("protocol: ftp, address: \"{}\"", backend.address);
    let gateway = gateway(&keys, &["acme"], "authenticate: backend, root: \"/partners/{user}\"");
    for (name, reason) in [
        ("..", DOTS),
        (".", DOTS),
        ("a/b", SEPARATOR),
        ("a\\b", SEPARATOR),
        ("a\u{1}b", CONTROL),
        ("\u{1b}", CONTROL),
        ("a\u{7f}", CONTROL),
    ] {
        expect_refused(&gateway, name, reason);
    }
    // FTP has no such user names.
    for name in [&b""[..], b"a\0b"] {
        assert!((500..=553).contains(&ftp_reply(&gateway, name)), "{name:?}");
    }
    for name in ["", "a\0b", "a\r\nb"] {
        assert!(!ssh_logs_in(gateway.address("sftp"), name), "{name:?}");
    }
    assert_eq!(backend.connections(), 0, "{:?}", backend.lines());

    for name in [&b"M\xfcller \xe9"[..], "größe".as_bytes(), b"-a *"] {
        assert_eq!(ftp_reply(&gateway, name), 230, "{name:?}");
        // The lines are decoded as Latin-1.
        let name: String = name.iter().copied().map(char::from).collect();
        backend.assert_saw(&format!("USER {name}"));
        backend.assert_saw(&format!("CWD /partners/{name}"));
    }
}
