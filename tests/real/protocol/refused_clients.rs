//! Clients refused before a login, with the log line and the metric of each; health checks, which are
//! not logged; and the log lines of logins and ends of sessions.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::raw::{Raw, Wire, client_config, dial};
use crate::support::ssh::{keys, public};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const LISTENERS: [&str; 4] = ["plain", "required", "implicit", "sftp"];
/// Far below `login_timeout`.
const PROMPT_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

struct Site {
    gateway: Gateway,
    _folder: TempDir,
}

impl Site {
    fn start() -> Self {
        Self::start_with("")
    }

    fn start_with(limits: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (pki().certificate.display(), pki().key.display());
        let tls = |mode| format!("{{ mode: {mode}, certificate: {certificate}, key: {key} }}");
        let pool = ports::block(8);
        let ftp = |tls: String| {
            format!("{{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, tls: {tls} }}")
        };
        let gateway = Gateway::start(&format!(
            "listeners:\n  plain: {}\n  required: {}\n  implicit: {}\n  \
               sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
             backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
             users:\n  {USER}: {{ password_hash: \"{}\", authorized_keys: {:?} }}\n\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             metrics: {{ address: \"127.0.0.1:0\" }}\n{limits}",
            ftp("{ mode: none }".to_owned()),
            ftp(tls("required")),
            ftp(tls("implicit")),
            host_keys(),
            pool.start(),
            pool.end(),
            folder.path(),
            argon2_hash(),
            public(&keys().user),
        ));
        Self { gateway, _folder: folder }
    }

    fn dial(&self, listener: &str) -> TcpStream {
        dial(self.gateway.address(listener))
    }

    #[track_caller]
    fn await_no_session(&self) {
        let open = |listener: &&str| {
            let series = format!("lockgate_sessions{{listener=\"{listener}\"}}");
            self.gateway.metric(&series).is_some_and(|count| count > 0)
        };
        assert!(becomes_true(|| !LISTENERS.iter().any(open)), "sessions stay");
    }

    /// Waits until so many connections have ended without a login.
    #[track_caller]
    fn await_without_login(&self, listener: &str, expected: u64) {
        let series = format!("lockgate_connections_without_login_total{{listener=\"{listener}\"}}");
        let count = || self.gateway.metric(&series).unwrap_or(0);
        becomes_true(|| count() >= expected);
        assert_eq!(count(), expected, "{listener}");
    }

    fn count(&self, listener: &str, refusal: &str) -> u64 {
        let series = format!(
            "lockgate_clients_refused_total{{listener=\"{listener}\",reason=\"{refusal}\"}}"
        );
        self.gateway.metric(&series).unwrap_or(0)
    }

    /// Asserts one log line for the refusal, and that it is counted.
    #[track_caller]
    fn expect(&self, listener: &str, refusal: &str, expected: &str) {
        let is_it = |event: &Value| {
            event["event"] == "client-refused"
                && event["listener"] == listener
                && event["refusal"] == refusal
                && event["reason"].as_str().is_some_and(|reason| reason.contains(expected))
        };
        let event = self.gateway.await_log(is_it, TIMEOUT);
        assert_eq!(event["level"], "INFO");
        assert_eq!(self.count(listener, refusal), 1, "{event}");
    }
}

/// Sends the bytes and reads until the gateway closes the connection, which must be at once.
#[track_caller]
fn until_end(mut tcp: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let start = Instant::now();
    tcp.write_all(bytes).expect("sending the first bytes");
    let mut answer = Vec::new();
    // A reset also ends it.
    let _ = tcp.read_to_end(&mut answer);
    assert!(start.elapsed() < PROMPT_CLOSE_TIMEOUT, "{} stays", bytes.escape_ascii());
    answer
}

const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2\r\n\0\0\x01\0\x08\x14";
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: lockgate\r\n\r\n";

/// A ClientHello of this minor version, with one cipher suite and no extensions.
fn client_hello(minor: u8) -> Vec<u8> {
    let body = [&[3, minor][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    let length = body.len() as u8;
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[test]
fn clients_of_other_protocols_are_closed_at_once_and_logged() {
    let site = Site::start();
    for (listener, bytes, refusal, reason) in [
        ("plain", SSH, "speaks-ssh", "`protocol: sftp`"),
        ("plain", HTTP, "speaks-http", "speaks HTTP"),
        ("plain", &client_hello(3)[..], "speaks-tls", "tls.mode: implicit"),
        ("required", SSH, "speaks-ssh", "speaks SSH"),
        ("implicit", SSH, "speaks-ssh", "speaks SSH"),
        ("implicit", HTTP, "speaks-http", "speaks HTTP"),
        ("implicit", b"USER anna\r\n", "no-tls", "not TLS"),
        ("sftp", HTTP, "speaks-http", "speaks HTTP"),
        ("sftp", &[client_hello(3), vec![0; 300]].concat(), "speaks-tls", "speaks TLS"),
        ("sftp", b"USER anna\r\n", "not-ssh", "not SSH version 2"),
    ] {
        until_end(site.dial(listener), bytes);
        site.expect(listener, refusal, reason);
    }
}

/// A message that arrives in pieces is recognized by its first byte.
#[test]
fn clients_that_send_one_byte_are_logged_with_that_byte() {
    let site = Site::start();
    for (listener, byte, refusal, reason) in [
        ("implicit", b"S", "no-tls", "not TLS"),
        ("implicit", b"\x16", "tls-handshake", "eof"),
        ("sftp", b"\x03", "not-ssh", "not SSH version 2"),
        ("sftp", b"S", "ssh-handshake", "the client closed the connection before a login"),
    ] {
        let tcp = site.dial(listener);
        (&tcp).write_all(byte).expect("sending a byte");
        tcp.shutdown(std::net::Shutdown::Write).expect("the end of what is sent");
        until_end(tcp, b"");
        site.expect(listener, refusal, reason);
    }
}

#[test]
fn clients_that_do_not_log_in_in_time_are_logged() {
    let site = Site::start_with("limits: { login_timeout: 1s }\n");
    let before = site.gateway.log_tail(usize::MAX).lines().count();
    for listener in LISTENERS {
        until_end(site.dial(listener), b"");
    }
    let log = site.gateway.log_tail(usize::MAX);
    assert_eq!(log.lines().count(), before, "a silent client is not logged: {log}");
    for (listener, bytes) in
        [("plain", &b"USER"[..]), ("implicit", &client_hello(3)[..20]), ("sftp", b"SSH-2")]
    {
        until_end(site.dial(listener), bytes);
        site.expect(listener, "login-timeout", "limits.login_timeout");
    }
}

#[test]
fn clients_without_tls_or_with_old_tls_are_logged() {
    let site = Site::start();
    let (mut raw, _) = Raw::connect(site.gateway.address("required"));
    // Logged once for any number of attempts.
    raw.expect("USER anna", 530);
    raw.expect("USER anna", 530);
    site.expect("required", "no-tls", "`tls.mode: required`");
    let (mut raw, _) = Raw::connect(site.gateway.address("plain"));
    raw.expect("AUTH TLS", 502);
    site.expect("plain", "tls-not-offered", "`tls.mode`");
    for (minor, version) in [(2, "TLS 1.1"), (1, "TLS 1.0")] {
        let before = site.count("implicit", "tls-too-old");
        until_end(site.dial("implicit"), &client_hello(minor));
        let expected = format!("the client offers {version} at most");
        let is_it = |event: &Value| {
            event["refusal"] == "tls-too-old"
                && event["reason"].as_str().is_some_and(|reason| reason.starts_with(&expected))
        };
        site.gateway.await_log(is_it, TIMEOUT);
        assert_eq!(site.count("implicit", "tls-too-old"), before + 1);
    }
    let (mut raw, _) = Raw::connect(site.gateway.address("required"));
    raw.expect("AUTH TLS", 234);
    raw.send_bytes(&client_hello(2));
    site.expect("required", "tls-too-old", "TLS 1.1");
}

#[test]
fn an_ssh_client_without_a_common_algorithm_is_logged_with_its_offer() {
    let site = Site::start();
    let home = tempfile::tempdir().expect("a client's home");
    let port = site.gateway.address("sftp").port();
    let old = ["-o", "KexAlgorithms=diffie-hellman-group14-sha256"];
    assert!(!sftp(&SftpSite::new(port), home.path(), "bye\n", &old).ok());
    site.expect("sftp", "ssh-algorithms", "the client offers diffie-hellman-group14-sha256");
    let site = Site::start();
    let port = site.gateway.address("sftp").port();
    let other_key = ["-o", "HostKeyAlgorithms=ecdsa-sha2-nistp521"];
    assert!(!sftp(&SftpSite::new(port), home.path(), "bye\n", &other_key).ok());
    site.expect("sftp", "ssh-algorithms", "add a key of such a kind to `host_keys`");
}

#[test]
fn an_ssh_client_that_disconnects_after_a_refused_login_is_logged_once() {
    let site = Site::start();
    let home = tempfile::tempdir().expect("a client's home");
    let mut stranger = SftpSite::new(site.gateway.address("sftp").port());
    stranger.key = Some(keys().stranger.clone());
    assert!(!sftp(&stranger, home.path(), "bye\n", &[]).ok());
    site.gateway.await_log(|event| event["event"] == "key-offer", TIMEOUT);
    site.await_no_session();
    let log = site.gateway.log_tail(usize::MAX);
    assert!(!log.contains("client-refused"), "{log}");
}

/// Load balancers check each second whether the port accepts connections.
#[test]
fn health_checks_are_not_logged() {
    let site = Site::start();
    let before = site.gateway.log_tail(usize::MAX).lines().count();
    for listener in LISTENERS {
        for _ in 0..20 {
            drop(site.dial(listener));
            let tcp = site.dial(listener);
            tcp.shutdown(std::net::Shutdown::Write).expect("the end of what is sent");
            // FTP and SSH send their greeting, then the connection ends.
            let _ = std::io::copy(&mut &tcp, &mut std::io::sink());
        }
    }
    // A check of TLS resets the connection once its half of the handshake is done.
    for _ in 0..20 {
        Wire::tls(site.dial("implicit"), client_config(rustls::ALL_VERSIONS)).reset();
        let (mut raw, _) = Raw::connect(site.gateway.address("required"));
        raw.expect("AUTH TLS", 234);
        raw.start_tls();
        raw.reset();
    }
    // HAProxy's `option ssl-hello-chk`.
    let mut hello = client_hello(0);
    hello[11..39].copy_from_slice(b"HAPROXYSSLCHK\nHAPROXYSSLCHK\n");
    assert!(!until_end(site.dial("implicit"), &hello).is_empty(), "it takes any answer");
    // A check that sends QUIT, as some do.
    let (mut raw, _) = Raw::connect(site.gateway.address("plain"));
    raw.expect("QUIT", 221);
    assert!(raw.at_end());
    for (listener, checks) in [("plain", 41), ("required", 60), ("implicit", 61), ("sftp", 40)] {
        site.await_without_login(listener, checks);
    }
    let log = site.gateway.log_tail(usize::MAX);
    assert_eq!(log.lines().count(), before, "{log}");
}

#[test]
fn the_login_and_session_records_have_method_and_encryption() {
    let site = Site::start();
    let (mut raw, _) = Raw::connect(site.gateway.address("required"));
    raw.auth_tls();
    raw.login(USER, PASSWORD);
    assert_eq!(raw.upload("STOR file", b"12345").code, 226);
    raw.expect("QUIT", 221);
    let login = site
        .gateway
        .await_log(|event| event["event"] == "login" && event["listener"] == "required", TIMEOUT);
    assert_eq!(login["method"], "password");
    let encryption = login["encryption"].as_str().unwrap_or_default();
    assert!(encryption.starts_with("TLS 1.3 TLS13_"), "{login}");
    let ended = site
        .gateway
        .await_log(|event| event["event"] == "session" && event["listener"] == "required", TIMEOUT);
    assert_eq!(ended["reason"], "the client sent QUIT");
    assert_eq!((&ended["uploads"], &ended["uploaded_bytes"]), (&1.into(), &5.into()));
    assert!(ended["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(ended["fault"].is_null(), "{ended}");

    let home = tempfile::tempdir().expect("a client's home");
    let mut with_key = SftpSite::new(site.gateway.address("sftp").port());
    with_key.key = Some(keys().user.clone());
    sftp(&with_key, home.path(), "get file\n", &[]).expect_ok("a download with a key");
    let login = site
        .gateway
        .await_log(|event| event["event"] == "login" && event["listener"] == "sftp", TIMEOUT);
    assert_eq!(login["method"], "publickey");
    assert!(
        login["fingerprint"].as_str().is_some_and(|text| text.starts_with("SHA256:")),
        "{login}"
    );
    assert!(
        login["client"].as_str().is_some_and(|text| text.starts_with("SSH-2.0-OpenSSH")),
        "{login}"
    );
    let encryption = login["encryption"].as_str().unwrap_or_default();
    assert!(encryption.starts_with("SSH ") && !encryption.contains('?'), "{login}");
    let ended = site
        .gateway
        .await_log(|event| event["event"] == "session" && event["listener"] == "sftp", TIMEOUT);
    assert_eq!((&ended["downloads"], &ended["downloaded_bytes"]), (&1.into(), &5.into()));
    assert!(ended["fault"].is_null(), "{ended}");
}
