//! SFTP backends: host keys that the gateway trusts, and its logins.

use std::io::Write;
use std::path::Path;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::{Gateway, lockgate};
use crate::support::process::Output;
use crate::support::raw::Raw;
use crate::support::relay::Relay;
use crate::support::servers::{SFTP_NAMES, SftpEndpoint, sftp_endpoint};
use crate::support::sftp_fixture::await_end_of_sessions;
use crate::support::ssh::{hashed_known_hosts, keys, known_hosts, public, public_line};
use crate::support::{PASSWORD, USER, argon2_hash, ports};

/// An FTP and an SFTP listener with one SFTP backend; `gateway_login`: the gateway checks the login.
fn before(server: &SftpEndpoint, keys_of_backend: &str, gateway_login: bool) -> Gateway {
    let pool = ports::block(4);
    let (users, authenticate) = if gateway_login {
        (
            format!(
                "users:\n  {USER}: {{ password_hash: \"{}\", authorized_keys: {} }}\n",
                argon2_hash(),
                public(&keys().user).display()
            ),
            "gateway",
        )
    } else {
        (String::new(), "backend")
    };
    Gateway::start(&format!(
        "listeners:\n  ssh: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n  \
         ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  back: {{ protocol: sftp, address: \"127.0.0.1:{}\", {keys_of_backend} }}\n\
         {users}routes:\n  - {{ authenticate: {authenticate}, backend: back }}\n\
         limits: {{ sessions_per_address: 1000 }}\nmetrics: {{ address: \"127.0.0.1:0\" }}\n",
        host_keys(),
        pool.start(),
        pool.end(),
        server.port,
    ))
}

fn site(gateway: &Gateway) -> SftpSite {
    SftpSite::new(gateway.address("ssh").port())
}

fn ls(site: &SftpSite) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    sftp(site, home.path(), "ls -la\n", &[])
}

/// Both fronts can log in, and no session is left.
fn gets_in(gateway: &Gateway, server: &SftpEndpoint) {
    ls(&site(gateway)).expect_ok("sftp");
    let (mut client, _) = Raw::connect(gateway.address("ftp"));
    client.login(USER, PASSWORD);
    client.expect("PWD", 257);
    client.expect("QUIT", 221);
    await_no_session(gateway, server);
}

fn await_no_session(gateway: &Gateway, server: &SftpEndpoint) {
    await_end_of_sessions(gateway, "ssh");
    await_end_of_sessions(gateway, "ftp");
    let left = || gateway.connections_to(server.port);
    let none = crate::support::wait::becomes_true(|| left() == 0);
    assert!(none, "{} connections to the backend are left", left());
}

fn fingerprint(kind: usize) -> String {
    format!("host_key: \"{}\"", keys().fingerprints[kind])
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writing a file");
    path.display().to_string()
}

#[test]
fn passwords_are_passed_on() {
    for name in SFTP_NAMES {
        let server = sftp_endpoint(name);
        let gateway = before(&server, &fingerprint(0), false);
        gets_in(&gateway, &server);
        let wrong = SftpSite { password: "wrong".to_owned(), ..site(&gateway) };
        let output = ls(&wrong);
        assert!(!output.ok(), "{name}: {}", output.describe());
        let login =
            gateway.await_log(|it| it["event"] == "login" && it["outcome"] == "refused", TIMEOUT);
        assert_eq!(login["listener"], "ssh", "{name}: {login}");
        let (mut client, _) = Raw::connect(gateway.address("ftp"));
        client.expect(&format!("USER {USER}"), 331);
        client.expect("PASS wrong", 530);
        client.login(USER, PASSWORD);
        client.expect("QUIT", 221);
        await_no_session(&gateway, &server);
    }
}

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// RFC 4253 section 4.2 limits the identification string, not the lines before it.
#[test]
fn a_server_may_send_long_lines_before_its_identification_string() {
    let server = sftp_endpoint("sshd");
    let long = [&b"-- Authorised use only. --".repeat(100)[..], b"\r\n\r\nSSH is next\n"].concat();
    let relay = Relay::start_with_prefix(server.port, &long);
    let relayed = SftpEndpoint { port: relay.port, ..server };
    gets_in(&before(&relayed, &fingerprint(0), false), &relayed);
}

/// As a server at its limit of connections does.
#[test]
fn lines_of_a_server_without_an_identification_string_are_logged() {
    let server = sftp_endpoint("sshd");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a connection");
            client.write_all(b"Exceeded MaxStartups\r\n").expect("the words");
            let _ = client.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut client, &mut std::io::sink());
        }
    });
    let gateway = before(&SftpEndpoint { port, ..server }, &fingerprint(0), false);
    assert!(!ls(&site(&gateway)).ok());
    let login = gateway.await_log(|it| it["event"] == "login", TIMEOUT);
    let detail = login["detail"].as_str().unwrap_or_default();
    assert!(detail.ends_with("the server sent: Exceeded MaxStartups"), "{login}");
}

/// The server has three keys, of which the gateway sees one.
#[test]
fn host_key_by_fingerprint() {
    let server = sftp_endpoint("sshd");
    let [first, second, _] = &keys().fingerprints;
    let both = format!("host_key: [\"{second}\", \"{first}\"]");
    gets_in(&before(&server, &both, false), &server);
}

#[test]
fn host_key_by_known_hosts() {
    let server = sftp_endpoint("sshd");
    let folder = tempfile::tempdir().expect("a folder");
    let plain = file(folder.path(), "plain", &known_hosts(server.port));
    gets_in(&before(&server, &format!("known_hosts: {plain}"), false), &server);
    let text = hashed_known_hosts(server.port);
    assert!(text.starts_with("|1|"), "{text}");
    let hashed = file(folder.path(), "hashed", &text);
    gets_in(&before(&server, &format!("known_hosts: {hashed}"), false), &server);
    // Only a key that the server would not prefer: the gateway requests that algorithm.
    for key in &keys().host[1..] {
        let line = format!("[127.0.0.1]:{} {}", server.port, public_line(key));
        let other = file(folder.path(), "other", &line);
        gets_in(&before(&server, &format!("known_hosts: {other}"), false), &server);
    }
}

/// A server with another key is refused before it receives a password; the log names the key that it
/// has.
#[test]
fn a_wrong_host_key_is_refused() {
    let server = sftp_endpoint("proftpd-sftp");
    let folder = tempfile::tempdir().expect("a folder");
    let stranger = public_line(&keys().stranger);
    let line = format!("[127.0.0.1]:{} {stranger}", server.port);
    let known = file(folder.path(), "known", &line);
    let other = "host_key: \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"".to_owned();
    let outcome = "host-key-changed";
    for keys_of_backend in [other, format!("known_hosts: {known}")] {
        let gateway = before(&server, &keys_of_backend, false);
        let output = ls(&site(&gateway));
        assert!(!output.ok(), "{keys_of_backend}: {}", output.describe());
        let says = |event: &serde_json::Value| {
            let text = event.to_string();
            keys().fingerprints.iter().any(|print| text.contains(print))
        };
        let event = gateway.await_log(|it| it["event"] == "login" && says(it), TIMEOUT);
        assert_ne!(event["outcome"], "ok", "{event}");
        let event = gateway.await_log(|it| it["event"] == "backend", TIMEOUT);
        let address = format!("127.0.0.1:{}", server.port);
        let fields = ["level", "backend", "address", "outcome"].map(|name| event[name].as_str());
        assert_eq!(fields, ["WARN", "back", &address, outcome].map(Some), "{event}");
        assert!(says(&event), "{event}");
        let (mut client, _) = Raw::connect(gateway.address("ftp"));
        client.expect(&format!("USER {USER}"), 331);
        let reply = client.command(&format!("PASS {PASSWORD}"));
        assert!(matches!(reply.code, 421 | 430 | 451 | 530), "{}", reply.text);
        drop(client);
        await_no_session(&gateway, &server);
        let series =
            format!("lockgate_backend_failures_total{{backend=\"back\",reason=\"{outcome}\"}}");
        assert_eq!(gateway.metric(&series), Some(2), "{keys_of_backend}");
        let log = gateway.log_tail(1000);
        assert_eq!(log.matches("\"event\":\"backend\"").count(), 1, "{log}");
    }
}

/// A mapped account: the client's user name and password are not sent to the backend.
#[test]
fn mapped_accounts_log_in_with_password_or_key() {
    let server = sftp_endpoint("sshd");
    let folder = tempfile::tempdir().expect("a folder");
    let password = file(folder.path(), "password", &format!("{PASSWORD}\n"));
    let private = keys().user.display();
    for login in [
        format!("login: {{ user: {USER}, password_file: {password} }}"),
        format!("login: {{ user: {USER}, private_key: {private} }}"),
    ] {
        let gateway = before(&server, &format!("{}, {login}", fingerprint(0)), true);
        gets_in(&gateway, &server);
        let with_key = SftpSite { key: Some(keys().user.clone()), ..site(&gateway) };
        ls(&with_key).expect_ok("a public key at the gateway, a mapped account at the backend");
        let stranger = SftpSite { key: Some(keys().stranger.clone()), ..site(&gateway) };
        assert!(!ls(&stranger).ok(), "a stranger got in");
        await_no_session(&gateway, &server);
    }
    // The backend refuses the gateway's own account: that is not the client's fault.
    let stranger = keys().stranger.display();
    let login = format!("login: {{ user: {USER}, private_key: {stranger} }}");
    let gateway = before(&server, &format!("{}, {login}", fingerprint(0)), true);
    assert!(!ls(&site(&gateway)).ok(), "let in with a key that the backend does not know");
    let event = gateway.await_log(|it| it["event"] == "login", TIMEOUT);
    assert_ne!(event["fault"], "client", "{event}");
    let event = gateway.await_log(|it| it["event"] == "backend", TIMEOUT);
    assert_eq!(event["outcome"], "account-refused", "{event}");
    await_no_session(&gateway, &server);
}

#[test]
fn check_requires_a_host_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "listeners:\n  ftp: { protocol: ftp, address: \"127.0.0.1:0\" }\n\
                backends:\n  back: { protocol: sftp, address: \"127.0.0.1:22\" }\n\
                routes:\n  - { authenticate: backend, backend: back }\n";
    let config = file(folder.path(), "lockgate.yaml", text);
    let output = lockgate(&["check", "--config", &config], "");
    let code = output.status.and_then(|status| status.code());
    assert_eq!(code, Some(64), "{}", output.describe());
    assert!(output.describe().contains("host_key"), "{}", output.describe());
}
