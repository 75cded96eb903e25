//! On the gateway's machine: healthy, and with one of each fault.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::{code, of_file};
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::servers::{endpoint, sftp_endpoint};
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, ports};

/// A listener with TLS, one for SFTP, and a pool that advertises the loopback.
fn fronts(port: u16, sftp_port: u16, pool: &std::ops::RangeInclusive<u16>) -> String {
    format!(
        "listeners:\n  \
           public: {{ protocol: ftp, address: \"127.0.0.1:{port}\", data_ports: pool, tls: {{ mode: optional, \
             certificate: {certificate}, key: {key} }} }}\n  \
           partners: {{ protocol: sftp, address: \"127.0.0.1:{sftp_port}\", host_keys: [{host}] }}\n\
         data_ports:\n  pool: {{ range: {first}-{last}, advertise: [{{ address: 127.0.0.1 }}] }}\n\
         limits: {{ sessions: 50 }}\n\
         admin: {{ socket: admin.sock }}\n",
        certificate = pki().certificate.display(),
        key = pki().key.display(),
        host = keys().host[0].display(),
        first = pool.start(),
        last = pool.end(),
    )
}

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writing a secret");
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("chmod");
}

/// A server that is fine is no problem because doctor has no port for its data connections.
#[test]
fn with_active_mode_only_the_login_is_tried() {
    let server = endpoint("vsftpd-plain");
    let folder = tempfile::tempdir().expect("a folder");
    let pool = ports::block(3);
    secret(&folder.path().join("password"), PASSWORD);
    let config = format!(
        "{fronts}backends:\n  \
           old: {{ protocol: ftp, address: \"127.0.0.1:{port}\", data_mode: active, data_ports: pool, \
             health: {{ login: {{ user: {USER}, password_file: {password} }} }} }}\n\
         routes:\n  - {{ authenticate: backend, backend: old }}\n",
        fronts = fronts(ports::one(), ports::one(), &pool),
        port = server.port,
        password = folder.path().join("password").display(),
    );
    let file = folder.path().join("lockgate.yaml");
    std::fs::write(&file, config).expect("writing the configuration");
    let report = of_file(&file);
    assert_eq!(report.problems(), Vec::<&serde_json::Value>::new());
    assert_eq!(report.level("backend \"old\"", "a listing was not tried"), "ok");
}

#[test]
fn a_healthy_gateway_has_no_problems_before_and_after_its_start() {
    let (ftps, sftp) = (endpoint("vsftpd-tls"), sftp_endpoint("sshd"));
    let folder = tempfile::tempdir().expect("a folder");
    let pool = ports::block(3);
    let (port, sftp_port) = (ports::one(), ports::one());
    secret(&folder.path().join("password"), PASSWORD);
    let config = format!(
        "{fronts}backends:\n  \
           ftps: {{ protocol: ftp, address: \"localhost:{ftps}\", tls: {{ mode: required, ca: {ca} }}, health: {{ \
             login: {{ user: {USER}, password_file: {password} }} }} }}\n  \
           sftp: {{ protocol: sftp, address: \"127.0.0.1:{sftp}\", host_key: \"{fingerprint}\" }}\n  \
           files: {{ protocol: local, folder: {files} }}\n\
         routes:\n  - {{ match: {{ users: [f] }}, authenticate: backend, backend: ftps }}\n  \
           - {{ authenticate: backend, backend: sftp }}\n",
        fronts = fronts(port, sftp_port, &pool),
        ftps = ftps.port,
        sftp = sftp.port,
        ca = pki().ca.display(),
        password = folder.path().join("password").display(),
        fingerprint = keys().fingerprints[0],
        files = folder.path().display(),
    );
    let file = folder.path().join("lockgate.yaml");
    std::fs::write(&file, &config).expect("writing the configuration");

    let before = of_file(&file);
    assert_eq!((before.status, before.problems().len()), (Some(0), 0), "{:?}", before.problems());
    assert_eq!(before.level("listener \"public\"", &format!("127.0.0.1:{port} is free")), "ok");
    assert_eq!(before.level("data ports \"pool\"", "leads to this machine"), "ok");

    let gateway = Gateway::start(&config);
    let report = of_file(&gateway.folder().join("lockgate.yaml"));
    assert_eq!((report.status, report.problems().len()), (Some(0), 0), "{:?}", report.problems());
    let held = "is held by the running gateway";
    for topic in ["listener \"public\"", "listener \"partners\"", "data ports \"pool\""] {
        assert_eq!(report.level(topic, held), "ok");
    }
    for (topic, words) in [
        ("running gateway", "it runs as process"),
        ("data ports \"pool\"", "leads to the running gateway"),
        ("listener \"public\"", "certificate \"CN=localhost\""),
        ("listener \"partners\"", keys().fingerprints[0].as_str()),
        ("backend \"ftps\"", "localhost is"),
        ("backend \"ftps\"", "it greets: 220"),
        ("backend \"ftps\"", "TLS 1."),
        ("backend \"ftps\"", "its certificate \"CN=localhost\""),
        ("backend \"ftps\"", "(`health.login`) and a listing work"),
        ("backend \"sftp\"", "its host key is the expected one: ssh-ed25519"),
        ("backend \"files\"", "can be entered"),
    ] {
        assert_eq!(report.level(topic, words), "ok", "{topic}: {words}");
    }
    let openings = report.json["firewall"].as_array().expect("openings");
    let range = format!("{}-{}", pool.start(), pool.end());
    assert!(openings.iter().any(|it| it["ports"] == range.as_str()), "{openings:?}");

    // For people, with the table.
    let config = gateway.folder().join("lockgate.yaml");
    let output = lockgate(&["doctor", "--firewall", "-c", config.to_str().expect("UTF-8")], "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\nbackend \"sftp\"\n  ok       127.0.0.1:"), "{text}");
    assert!(text.contains("\nfirewall\n  FROM"), "{text}");
    assert!(text.contains("\n0 problems, "), "{text}");
}

#[test]
fn each_fault_is_a_problem_with_a_remedy() {
    let (ftps, sftp) = (endpoint("vsftpd-tls"), sftp_endpoint("sshd"));
    let folder = tempfile::tempdir().expect("a folder");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let old = params.self_signed(&key).expect("a certificate").pem();
    std::fs::write(folder.path().join("old.pem"), old).expect("writing");
    secret(&folder.path().join("old.key"), &key.serialize_pem());
    let pool = ports::block(3);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken_data = TcpListener::bind(("127.0.0.1", *pool.start())).expect("a data port");
    let (taken_port, closed, other) =
        (taken.local_addr().expect("bound").port(), ports::one(), &keys().fingerprints[1]);
    let config = format!(
        "listeners:\n  \
           public: {{ protocol: ftp, address: \"127.0.0.1:{taken_port}\", data_ports: pool, tls: {{ mode: optional, \
             certificate: old.pem, key: old.key }} }}\n\
         data_ports:\n  pool: {{ range: {first}-{last}, advertise: [{{ address: 192.0.2.1 }}] }}\n\
         backends:\n  \
           nowhere: {{ protocol: ftp, address: \"lockgate.invalid:21\" }}\n  \
           closed: {{ protocol: ftp, address: \"127.0.0.1:{closed}\" }}\n  \
           stranger: {{ protocol: ftp, address: \"127.0.0.1:{ftps}\", tls: {{ mode: required, ca: old.pem }} }}\n  \
           renamed: {{ protocol: ftp, address: \"127.0.0.1:{ftps}\", tls: {{ mode: required, ca: {ca}, \
             server_name: other.example.com }} }}\n  \
           other: {{ protocol: sftp, address: \"127.0.0.1:{sftp}\", host_key: \"{wrong}\" }}\n  \
           silent: {{ protocol: ftp, address: \"127.0.0.1:{ftps}\", tls: {{ mode: implicit, ca: {ca} }}, \
             connect_timeout: 1s }}\n\
         routes:\n  - {{ authenticate: backend, backend: closed }}\n",
        first = pool.start(),
        last = pool.end(),
        ftps = ftps.port,
        sftp = sftp.port,
        ca = pki().ca.display(),
        wrong = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    );
    let file = folder.path().join("lockgate.yaml");
    std::fs::write(&file, config).expect("writing the configuration");
    let report = of_file(&file);
    assert_eq!(report.status, Some(1));
    let own = format!("(process {})", std::process::id());
    for (topic, words) in [
        ("listener \"public\"", "expired on 2021-01-01"),
        ("listener \"public\"", own.as_str()),
        ("data ports \"pool\"", own.as_str()),
        ("backend \"nowhere\"", "lockgate.invalid does not resolve"),
        ("backend \"closed\"", "refuses connections"),
        ("backend \"stranger\"", "no trusted certificate authority has signed it"),
        ("backend \"renamed\"", "it is not valid for \"other.example.com\""),
        ("backend \"other\"", "but `host_key` is SHA256:AAAA"),
        ("backend \"silent\"", "TLS"),
    ] {
        assert_eq!(report.level(topic, words), "problem", "{topic}: {words}");
        let remedy = &report.find(topic, words)["remedy"];
        assert!(remedy.is_string(), "{topic}: {words} has no remedy");
    }
    let remedy =
        report.find("backend \"other\"", "host_key")["remedy"].as_str().unwrap_or_default();
    assert!(
        remedy.contains("not over this network") && !remedy.contains(other.as_str()),
        "{remedy}"
    );
    // This machine does not have the address: RFC 5737.
    assert_eq!(report.level("data ports \"pool\"", "192.0.2.1"), "skipped");
    drop((taken, taken_data));
    let report = of_file(&file);
    assert_eq!(report.level("data ports \"pool\"", "the advertised 192.0.2.1"), "warning");
}

#[test]
fn an_invalid_configuration_has_its_own_exit_status() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lockgate.yaml");
    std::fs::write(&file, "listeners: {}\n").expect("writing the configuration");
    for path in [&file, &folder.path().join("absent.yaml")] {
        let output = lockgate(&["doctor", "-c", path.to_str().expect("UTF-8")], "");
        assert_eq!(code(&output), Some(64), "{}", output.describe());
        assert!(output.stdout.is_empty());
    }
    // Options of --through without it.
    let output = run(
        Command::new(PROGRAM).args(["doctor", "--clear"]),
        b"",
        std::time::Duration::from_secs(20),
    );
    assert_eq!(code(&output), Some(2), "{}", output.describe());
}
