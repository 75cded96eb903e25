//! Metrics of what the configuration has: rules, limits, data ports, backends, certificates; and `/ready`.

use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::raw::{Raw, dial};
use crate::support::ssh::keys;
use crate::support::ssh_ca::Authority;
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const DAY: f64 = 24.0 * 60.0 * 60.0;

/// What a reload keeps, and what it takes away.
const POLICY: &str = "\
policy:
  rules:
    - { name: no-secrets, match: { paths: \"/secret/**\" }, deny: all }
    - { name: no-deletes, deny: delete, dry_run: true }
    - { name: no-chmod, deny: SITE CHMOD }
    - { name: most, allow: [read, list, create, overwrite, delete] }
  uploads:
    - { name: small, max_size: 1KiB }
  limits:
    - { name: each, sessions: 4, transfers: 2 }
";
const LESS: &str = "\
policy:
  rules:
    - { name: no-secrets, match: { paths: \"/secret/**\" }, deny: all }
    - { name: most, allow: [read, list, create, overwrite, delete] }
";

/// Status and body.
fn get(gateway: &Gateway, path: &str) -> (u16, String) {
    let mut tcp = dial(gateway.address("metrics"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).expect("asking");
    let mut text = String::new();
    tcp.read_to_string(&mut text).expect("the answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {head}")), body.to_owned())
}

/// The value of a time series, by its name and labels as on the page.
fn value(gateway: &Gateway, series: &str) -> Option<f64> {
    let (_, page) = get(gateway, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
}

#[track_caller]
fn expect(gateway: &Gateway, series: &str, expected: f64) {
    assert_eq!(value(gateway, series), Some(expected), "{series}");
}

/// Of the rules, in this order; `kind`: `denials` or `dry_run_denials`.
fn counts(gateway: &Gateway, kind: &str) -> [Option<f64>; 5] {
    ["no-secrets", "no-deletes", "no-chmod", "small", "default"]
        .map(|rule| value(gateway, &format!("lockgate_policy_{kind}_total{{rule=\"{rule}\"}}")))
}

fn config(files: &Path, ports: &RangeInclusive<u16>, listener: &str, policy: &str) -> String {
    let (first, last) = (ports.start(), ports.end());
    format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, tls: {{ mode: \
         optional, certificate: {}, key: {} }} }}\n{listener}\
         data_ports:\n  pool: {{ range: {first}-{last}, listen: [\"127.0.0.1\"], wait: 200ms }}\n\
         backends:\n  files: {{ protocol: local, folder: {files:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\nadmin: {{ socket: admin.sock }}\n{policy}",
        pki().certificate.display(),
        pki().key.display(),
        argon2_hash(),
    )
}

fn session(gateway: &Gateway) -> Raw {
    let (mut raw, _) = Raw::connect(gateway.address("ftp"));
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    raw
}

#[test]
fn rules_limits_ports_and_certificates_are_shown_as_long_as_they_are_configured() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("secret")).expect("a folder");
    std::fs::write(folder.path().join("secret/x"), "x").expect("a file");
    let (authority, key, ports) = (Authority::new(), &keys().host[0], ports::block(2));
    let host = authority.sign("host", key, &["-h", "-n", "127.0.0.1", "-V", "+10d"]);
    let ssh = format!(
        "  ssh: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {key:?}, \
         host_certificates: {host:?} }}\n"
    );
    let gateway = Gateway::start(&config(folder.path(), &ports, &ssh, POLICY));

    // From the start.
    for kind in ["denials", "dry_run_denials"] {
        assert_eq!(counts(&gateway, kind), [Some(0.0); 5], "{kind}");
    }
    for (series, expected) in [
        ("lockgate_ready", 1.0),
        ("lockgate_draining", 0.0),
        ("lockgate_backend_up{backend=\"files\"}", 1.0),
        ("lockgate_backend_servers{backend=\"files\",state=\"up\"}", 1.0),
        ("lockgate_backend_servers{backend=\"files\",state=\"drained\"}", 0.0),
        ("lockgate_data_ports_fullness_ratio{pool=\"pool\"}", 0.0),
        ("lockgate_data_ports_wait_seconds_count{outcome=\"ok\",pool=\"pool\"}", 0.0),
        ("lockgate_limit_max{kind=\"sessions\",limit=\"each\"}", 4.0),
        ("lockgate_limit_used{kind=\"sessions\",limit=\"each\"}", 0.0),
        ("lockgate_limit_refused_total{kind=\"sessions\",limit=\"each\"}", 0.0),
    ] {
        expect(&gateway, series, expected);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    let ends = |kind: &str, file: &Path, used_by: &str| {
        let name = file.display();
        let labels = format!("kind=\"{kind}\",name=\"{name}\",used_by=\"{used_by}\"");
        let series = format!("lockgate_certificate_expiry_timestamp_seconds{{{labels}}}");
        value(&gateway, &series).map(|until| (until - now) / DAY)
    };
    let of_host = ends("host-certificate", &host, "listeners.ssh").expect("of the host key");
    assert!((9.9..10.1).contains(&of_host), "{of_host}");
    let of_tls = ends("certificate", &pki().certificate, "listeners.ftp").expect("of TLS");
    assert!(of_tls > 0.0, "{of_tls}");

    let mut raw = session(&gateway);
    raw.expect("SIZE secret/x", 550);
    raw.expect("MDTM secret/x", 550);
    raw.expect("SITE CHMOD 600 secret/x", 550);
    raw.expect("MKD new", 550);
    assert_eq!(raw.upload("STOR big", &[0; 2000]).code, 552);
    assert_eq!(raw.upload("STOR file", b"1").code, 226);
    raw.expect("DELE file", 250);
    let asked = ["--user", USER, "--source", "127.0.0.1", "--listener", "ftp"];
    let operation = ["--operation", "mkdir", "--path", "/new"];
    let explained = gateway.admin(&[&["explain"][..], &asked, &operation].concat());
    let text = String::from_utf8_lossy(&explained.stdout);
    assert!(text.contains("no policy rule allows mkdir"), "{}", explained.describe());
    let denied = counts(&gateway, "denials");
    assert_eq!(denied, [2.0, 0.0, 1.0, 1.0, 1.0].map(Some));
    assert_eq!(counts(&gateway, "dry_run_denials"), [0.0, 1.0, 0.0, 0.0, 0.0].map(Some));

    // One of two ports, both, and a client that waits in vain.
    let mut others = [session(&gateway), session(&gateway)];
    expect(&gateway, "lockgate_limit_used{kind=\"sessions\",limit=\"each\"}", 3.0);
    let fullness = "lockgate_data_ports_fullness_ratio{pool=\"pool\"}";
    assert!(becomes_true(|| value(&gateway, fullness) == Some(0.0)));
    raw.expect("EPSV", 229);
    expect(&gateway, fullness, 0.5);
    others[0].expect("EPSV", 229);
    expect(&gateway, fullness, 1.0);
    let shown = gateway.admin(&["ports"]).expect_ok("ports");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("0 waiting for a port, 100 % full"), "{text}");
    others[1].expect("EPSV", 425);
    let waits = "lockgate_data_ports_wait_seconds_count{outcome=\"timeout\",pool=\"pool\"}";
    expect(&gateway, waits, 1.0);

    // Another configuration.
    drop((raw, others));
    let file = gateway.folder().join("lockgate.yaml");
    std::fs::write(file, config(folder.path(), &ports, "", LESS)).expect("a configuration");
    gateway.admin(&["reload"]).expect_ok("reloading");
    assert_eq!(counts(&gateway, "denials"), [Some(2.0), None, None, None, Some(1.0)]);
    let ended = [
        "lockgate_limit_max{kind=\"sessions\",limit=\"each\"}",
        "lockgate_limit_used{kind=\"sessions\",limit=\"each\"}",
        "lockgate_limit_refused_total{kind=\"sessions\",limit=\"each\"}",
    ];
    for series in ended {
        assert!(becomes_true(|| value(&gateway, series).is_none()), "{series}");
    }
    assert_eq!(ends("host-certificate", &host, "listeners.ssh"), None);
    assert!(ends("certificate", &pki().certificate, "listeners.ftp").is_some());
}

#[test]
fn a_gateway_without_a_backend_is_not_ready_where_it_needs_one() {
    let (port, folder) = (ports::one(), tempfile::tempdir().expect("a folder"));
    let config = format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         backends:\n  server: {{ protocol: ftp, address: \"127.0.0.1:{port}\", login: pass-through }}\n\
         routes:\n  - {{ authenticate: backend, backend: server }}\n\
         metrics: {{ address: \"127.0.0.1:0\", ready_needs_backend: true }}\n\
         admin: {{ socket: admin.sock }}\n"
    );
    let gateway = Gateway::start(&config);
    let count = |outcome: &str| {
        let labels = format!("backend=\"server\",outcome=\"{outcome}\"");
        value(&gateway, &format!("lockgate_backend_connect_duration_seconds_count{{{labels}}}"))
    };
    let since = || value(&gateway, "lockgate_server_changed_timestamp_seconds{server=\"server\"}");
    let up = "lockgate_backend_up{backend=\"server\"}";
    assert_eq!(get(&gateway, "/ready"), (200, "ready\n".into()));
    assert_eq!((count("ok"), count("unreachable")), (Some(0.0), Some(0.0)));
    expect(&gateway, "lockgate_backend_connects_limit{backend=\"server\"}", 8.0);
    let started = since().expect("a time");

    // Nobody listens there.
    let (mut raw, _) = Raw::connect(gateway.address("ftp"));
    raw.expect(&format!("USER {USER}"), 331);
    raw.expect(&format!("PASS {PASSWORD}"), 421);
    expect(&gateway, up, 0.0);
    expect(&gateway, "lockgate_ready", 0.0);
    expect(&gateway, "lockgate_draining", 0.0);
    let (status, text) = get(&gateway, "/ready");
    assert!(status == 503 && text.starts_with("no backend: "), "{status} {text}");
    assert_eq!(get(&gateway, "/live").0, 200);
    assert_eq!((count("ok"), count("unreachable")), (Some(0.0), Some(1.0)));
    assert!(since().expect("a time") >= started);

    let server = Gateway::start(&format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:{port}\", active: {{ allowed: true }} }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        folder.path(),
        argon2_hash(),
    ));
    // Without a login, which a load balancer would not send here.
    assert!(becomes_true(|| get(&gateway, "/ready").0 == 200));
    expect(&gateway, up, 1.0);
    expect(&gateway, "lockgate_ready", 1.0);
    let (mut raw, _) = Raw::connect(gateway.address("ftp"));
    raw.login(USER, PASSWORD);
    // The check and the login.
    assert_eq!(count("ok"), Some(2.0));

    // Whether it needs one may change.
    drop(server);
    let (mut raw, _) = Raw::connect(gateway.address("ftp"));
    raw.expect(&format!("USER {USER}"), 331);
    raw.expect(&format!("PASS {PASSWORD}"), 421);
    assert_eq!(get(&gateway, "/ready").0, 503);
    let file = gateway.folder().join("lockgate.yaml");
    std::fs::write(file, config.replacen("needs_backend: true", "needs_backend: false", 1))
        .expect("a configuration");
    gateway.admin(&["reload"]).expect_ok("reloading");
    assert_eq!(get(&gateway, "/ready"), (200, "ready\n".into()));
    expect(&gateway, up, 0.0);

    gateway.admin(&["drain"]).expect_ok("draining");
    assert_eq!(get(&gateway, "/ready"), (503, "draining\n".into()));
    expect(&gateway, "lockgate_ready", 0.0);
    expect(&gateway, "lockgate_draining", 1.0);
}
