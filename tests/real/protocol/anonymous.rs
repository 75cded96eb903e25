//! Anonymous FTP: only where a route says so.

use std::process::Command;

use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::backend_fixture::host_keys;
use crate::support::clients::{client, deadline};
use crate::support::gateway::Gateway;
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::{PASSWORD, argon2_hash, pattern, ports};

const POLICY: &str = "policy:\n  rules:\n    - { name: guests, match: { users: anonymous }, allow: [list, read] }\n\
                      \x20   - { name: rest, match: { users: anonymous }, deny: all }\n\
                      \x20   - { name: users, allow: all }\n";

struct Fixture {
    gateway: Gateway,
    folder: TempDir,
}

/// `ftp`, `office` and `sftp` are listeners. alice has a folder; the folder of others is public.
fn start(routes: &str) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["public", "alice"] {
        std::fs::create_dir(folder.path().join(name)).expect("making a folder");
        std::fs::write(folder.path().join(name).join("which"), name).expect("writing a file");
    }
    let pool = ports::block(4);
    let hash = argon2_hash();
    let ftp = "{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, tls: { mode: none } }";
    let config = format!(
        "listeners:\n  ftp: {ftp}\n  office: {ftp}\n\
         \x20 sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  public: {{ protocol: local, folder: {:?} }}\n  own: {{ protocol: local, folder: {:?} }}\n\
         \x20 server: {{ protocol: ftp, address: \"127.0.0.1:9\" }}\n\
         users:\n  alice: {{ password_hash: \"{hash}\" }}\n  FTP: {{ password_hash: \"{hash}\" }}\n\
         routes:\n{routes}{POLICY}\
         limits: {{ login_attempts: 100 }}\n",
        host_keys(),
        pool.start(),
        pool.end(),
        folder.path().join("public"),
        folder.path().join("alice"),
    );
    Fixture { gateway: Gateway::start(&config), folder }
}

/// The route for everybody comes first: it does not take anonymous users.
const ROUTES: &str = "  - { match: { listeners: [ftp, sftp] }, authenticate: gateway, backend: own }\n\
                      \x20 - { match: { listeners: office }, authenticate: backend, backend: server }\n\
                      \x20 - { match: { listeners: ftp }, authenticate: anonymous, backend: public }\n";

#[test]
fn anonymous_users_log_in_where_a_route_says_so() {
    let fixture = start(ROUTES);
    for (name, password) in
        [("anonymous", "me@example.com"), ("ftp", "x"), ("Anonymous", ""), ("Ftp", "guest")]
    {
        let (mut raw, _) = Raw::connect(fixture.gateway.address("ftp"));
        let reply = raw.expect(&format!("USER {name}"), 331);
        assert!(
            reply.text.contains("Guest login ok, send your complete e-mail address"),
            "{}",
            reply.text
        );
        raw.expect(&format!("PASS {password}"), 230);
        raw.expect("TYPE I", 200);
        assert_eq!(raw.download("RETR which").0, b"public");
        // The policy's rules know them as anonymous.
        raw.expect("DELE which", 550);
        let tcp = raw.passive();
        raw.expect("STOR new", 550);
        drop(tcp);
        let is_login = |line: &serde_json::Value| {
            line["event"] == "login"
                && line["user"] == "anonymous"
                && line["method"] == "anonymous"
                && line["outcome"] == "ok"
        };
        let line = fixture.gateway.await_log(is_login, TIMEOUT).to_string();
        assert!(!line.contains("me@example.com"), "{line}");
    }
    assert!(!fixture.folder.path().join("public/new").exists());
    let (mut raw, _) = Raw::connect(fixture.gateway.address("ftp"));
    let reply = raw.expect("USER alice", 331);
    assert!(!reply.text.contains("Guest"), "{}", reply.text);
    raw.expect(&format!("PASS {PASSWORD}"), 230);
    assert_eq!(raw.download("RETR which").0, b"alice");
    // One of the gateway's users, whose name is like theirs, needs its password.
    let (mut raw, _) = Raw::connect(fixture.gateway.address("ftp"));
    let reply = raw.expect("USER FTP", 331);
    assert!(!reply.text.contains("Guest"), "{}", reply.text);
    raw.expect("PASS me@example.com", 530);
    raw.login("FTP", PASSWORD);
}

#[test]
fn anonymous_users_are_refused_elsewhere() {
    let fixture = start(ROUTES);
    // The route to `server`, whose address does not answer, does not take them.
    for name in ["anonymous", "ftp", "ANONYMOUS"] {
        let (mut raw, _) = Raw::connect(fixture.gateway.address("office"));
        let reply = raw.expect(&format!("USER {name}"), 331);
        assert!(!reply.text.contains("Guest"), "{}", reply.text);
        let reply = raw.expect("PASS me@example.com", 530);
        assert!(reply.text.contains("Login incorrect"), "{}", reply.text);
    }
    let (mut raw, _) = Raw::connect(fixture.gateway.address("office"));
    raw.expect("USER bob", 331);
    raw.expect("PASS x", 421);
    // SFTP has none.
    let home = tempfile::tempdir().expect("a client's home");
    let mut curl = client("curl", home.path());
    curl.args(["--disable", "--silent", "--show-error", "--insecure", "--user", "anonymous:x"]);
    let port = fixture.gateway.address("sftp").port();
    let output = run(curl.arg(format!("sftp://127.0.0.1:{port}/which")), b"", deadline());
    assert!(!output.ok(), "{}", output.describe());
    let refused = |line: &serde_json::Value| {
        line["event"] == "login"
            && line["listener"] == "sftp"
            && line["outcome"] == "refused"
            && line["detail"].as_str().is_some_and(|it| it.contains("authenticate: anonymous"))
    };
    fixture.gateway.await_log(refused, TIMEOUT);
    // A route for others takes the name that it has literally.
    let literal =
        "  - { match: { users: [ftp, \"*\"] }, authenticate: backend, backend: server }\n";
    let fixture = start(&format!("{literal}{ROUTES}"));
    let (mut raw, _) = Raw::connect(fixture.gateway.address("ftp"));
    raw.expect("USER ftp", 331);
    raw.expect("PASS x", 421);
    let (mut raw, _) = Raw::connect(fixture.gateway.address("ftp"));
    raw.expect("USER anonymous", 331);
    raw.expect("PASS x", 230);
}

/// curl and lftp log in as anonymous where no user is given.
#[test]
fn clients_log_in_as_anonymous_by_themselves() {
    let fixture = start(ROUTES);
    let port = fixture.gateway.address("ftp").port();
    std::fs::write(fixture.folder.path().join("public/big"), pattern(300_000)).expect("writing");
    let home = tempfile::tempdir().expect("a client's home");
    let url = format!("ftp://127.0.0.1:{port}/big");
    let mut curl = client("curl", home.path());
    curl.args(["--disable", "--silent", "--show-error"]).arg(&url);
    let output = run(&mut curl, b"", deadline()).expect_ok("curl");
    assert!(output.stdout == pattern(300_000));
    let script = format!("set net:max-retries 1\nopen ftp://127.0.0.1:{port}\nget big\nbye\n");
    let mut lftp: Command = client("lftp", home.path());
    lftp.args(["--norc", "-f", "/dev/stdin"]);
    run(&mut lftp, script.as_bytes(), deadline()).expect_ok("lftp");
    assert!(std::fs::read(home.path().join("big")).expect("the file") == pattern(300_000));
}
