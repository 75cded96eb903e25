//! Unusable backends: one `warn` line for each reason, and a count of all failures.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;

use super::scripted_tls::config;
use super::{configuration, greeted};
use crate::support::gateway::Gateway;
use crate::support::scripted::Scripted;
use crate::support::{PASSWORD, USER, ports};

const TIMEOUT: Duration = Duration::from_secs(15);

/// The log line and the count of failures of a gateway with one FTP backend, after two failed logins.
fn outage(keys: &str) -> (Value, u64) {
    let yaml = configuration(&[("back", keys.to_owned())]);
    let gateway = Gateway::start(&format!("{yaml}metrics: {{ address: \"127.0.0.1:0\" }}\n"));
    for _ in 0..2 {
        let mut client = greeted(&gateway, "back");
        client.expect(&format!("USER {USER}"), 331);
        client.expect(&format!("PASS {PASSWORD}"), 421);
    }
    let line = gateway.await_log(|event| event["event"] == "backend", TIMEOUT);
    let log = gateway.log_tail(1000);
    assert_eq!(log.matches("\"event\":\"backend\"").count(), 1, "{log}");
    let outcome = line["outcome"].as_str().expect("an outcome");
    let series =
        format!("lockgate_backend_failures_total{{backend=\"back\",reason=\"{outcome}\"}}");
    let count = gateway.metric(&series).expect("the count of failures");
    (line, count)
}

#[track_caller]
fn assert_log_line(keys: &str, address: &str, outcome: &str, parts: &[&str]) {
    let (line, count) = outage(keys);
    let fields = ["level", "backend", "address", "outcome"].map(|name| line[name].as_str());
    assert_eq!(fields, ["WARN", "back", address, outcome].map(Some), "{line}");
    assert_eq!((line["suppressed"].as_u64(), count), (Some(0), 2), "{line}");
    let detail = line["detail"].as_str().expect("a detail");
    assert!(parts.iter().all(|part| detail.contains(part)), "{detail}");
}

#[test]
fn a_backend_that_is_down_is_unreachable() {
    let address = format!("127.0.0.1:{}", ports::one());
    let keys = format!("address: \"{address}\"");
    assert_log_line(&keys, &address, "unreachable", &[&address, "refused"]);
}

#[test]
fn a_backend_of_another_protocol_is_an_unexpected_answer() {
    let backend = Scripted::start(|peer| {
        peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")?;
        peer.serve()
    });
    let keys = format!("address: \"{}\"", backend.address);
    assert_log_line(&keys, &backend.address.to_string(), "unexpected-answer", &[]);
}

#[test]
fn a_silent_backend_times_out() {
    let backend = Scripted::start(|peer| peer.serve());
    let keys = format!("address: \"{}\", reply_timeout: 1s", backend.address);
    assert_log_line(&keys, &backend.address.to_string(), "timeout", &["no reply within 1s"]);
}

/// A server whose certificate for `files.example.com` is signed by its own CA, which is
/// written to `ca.pem` in the folder.
fn server(folder: &Path, years: [i32; 2]) -> Scripted {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "an authority");
    let authority_key = KeyPair::generate().expect("a key");
    let root = authority.self_signed(&authority_key).expect("signing");
    std::fs::write(folder.join("ca.pem"), root.pem()).expect("writing the authority");
    let mut params = CertificateParams::new(["files.example.com".to_owned()]).expect("a name");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "files");
    params.not_before = date_time_ymd(years[0], 2, 3);
    params.not_after = date_time_ymd(years[1], 4, 5);
    let key = KeyPair::generate().expect("a key");
    let signed = params.signed_by(&key, &Issuer::new(authority, authority_key)).expect("signing");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = config(signed.der().clone(), key);
    Scripted::start(move |peer| {
        peer.greet()?;
        peer.until("AUTH")?;
        peer.reply("234 go on")?;
        peer.start_tls(config.clone())?;
        peer.serve()
    })
}

#[test]
fn an_untrusted_certificate_is_logged_with_its_dates_and_the_setting() {
    let (own, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("one"));
    let _other = server(other.path(), [2020, 2150]);
    let whose = "certificate, \"CN=files\" for files.example.com, issued by \"CN=an authority\"";
    for (years, ca, name, outcome, parts) in [
        (
            [2020, 2021],
            &own,
            "files.example.com",
            "certificate-expired",
            ["from 2020-02-03 to 2021-04-05 (UTC)", "has expired"],
        ),
        (
            [2140, 2150],
            &own,
            "files.example.com",
            "certificate-not-yet-valid",
            ["from 2140-02-03 to 2150-04-05 (UTC)", "not valid yet"],
        ),
        (
            [2020, 2150],
            &other,
            "files.example.com",
            "certificate-authority",
            ["from 2020-02-03 to 2150-04-05 (UTC)", "`tls.ca`"],
        ),
        (
            [2020, 2150],
            &own,
            "mirror.example.com",
            "certificate-name",
            ["it is not valid for \"mirror.example.com\"", "`tls.server_name`"],
        ),
    ] {
        let backend = server(own.path(), years);
        let address = backend.address.to_string();
        let keys = format!(
            "address: \"{address}\", tls: {{ mode: required, ca: {:?}, server_name: {name} }}",
            ca.path().join("ca.pem")
        );
        assert_log_line(&keys, &address, outcome, &[&address, whose, parts[0], parts[1]]);
    }
}

#[test]
fn a_backend_without_auth_tls_is_a_tls_failure() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.answer("AUTH", "502 no");
        peer.serve()
    });
    let keys = format!("address: \"{}\", tls: {{ mode: required }}", backend.address);
    assert_log_line(&keys, &backend.address.to_string(), "tls", &["AUTH TLS"]);
}
