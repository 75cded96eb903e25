//! TLS client certificates at FTP listeners: whom they admit, and as whom.

mod attacks;
mod data_connections;
mod peers;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::Value;
use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::client_pki::{ClientCa, Identity};
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::raw::{Raw, client_config};
use crate::support::{PASSWORD, argon2_hash, ports};

/// A gateway with listeners that ask for certificates: `required`, `implicit`, `optional`, and one that does
/// not, `without`. They share one data port.
struct Fixture {
    gateway: Gateway,
    folder: TempDir,
}

/// `keys`: more keys of `tls`, where certificates are asked for, each with a comma before it.
fn start(ca: &ClientCa, keys: &str) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = |mode: &str, asks: &str| {
        let asked = match asks {
            "none" => String::new(),
            asks => {
                format!(", client_certificate: {asks}, client_ca: {}{keys}", ca.file().display())
            }
        };
        format!(
            "{{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, tls: {{ mode: {mode}, \
             certificate: {}, key: {}{asked} }} }}",
            pki().certificate.display(),
            pki().key.display(),
        )
    };
    let pool = ports::block(1);
    let hash = argon2_hash();
    let config = format!(
        "listeners:\n  required: {}\n  implicit: {}\n  optional: {}\n  without: {}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?}, partial_uploads: delete }}\n\
         users:\n  alice: {{ password_hash: \"{hash}\", certificate: sufficient, groups: staff }}\n\
         \x20 bob: {{ password_hash: \"{hash}\" }}\n\
         \x20 carol: {{ password_hash: \"{hash}\", certificate: required }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         limits: {{ sessions: 1000, sessions_per_address: 1000, login_attempts: 100 }}\n\
         audit: {{ file: audit.jsonl }}\n",
        listener("required", "required"),
        listener("implicit", "required"),
        listener("required", "optional"),
        listener("required", "none"),
        pool.start(),
        pool.end(),
        folder.path(),
    );
    Fixture { gateway: Gateway::start(&config), folder }
}

impl Fixture {
    /// A client that has not logged in.
    fn connect(&self, listener: &str, tls: &Arc<ClientConfig>) -> Raw {
        let address = self.gateway.address(listener);
        if listener == "implicit" {
            return Raw::connect_implicit_as(address, tls.clone(), "localhost").0;
        }
        let (mut raw, _) = Raw::connect(address);
        raw.set_tls(tls.clone());
        raw.auth_tls();
        raw
    }

    /// A client that has logged in with its certificate, without a password.
    fn client(&self, listener: &str, user: &str, tls: &Arc<ClientConfig>) -> Raw {
        let mut raw = self.connect(listener, tls);
        raw.expect(&format!("USER {user}"), 232);
        raw.expect("TYPE I", 200);
        raw.expect("PBSZ 0", 200);
        raw.expect("PROT P", 200);
        raw
    }

    /// A handshake that the gateway refuses. Under TLS 1.3 the client learns it only afterwards.
    #[track_caller]
    fn expect_refused(&self, tls: &Arc<ClientConfig>, refusal: &str, reason: &str) {
        let (mut raw, _) = Raw::connect(self.gateway.address("required"));
        raw.expect("AUTH TLS", 234);
        raw.set_tls(tls.clone());
        if raw.try_start_tls().is_ok() {
            let _ = raw.try_send(b"NOOP\r\n");
            assert!(raw.try_read().is_err(), "{reason}");
        }
        let refused = |line: &Value| {
            line["event"] == "client-refused"
                && line["refusal"] == refusal
                && line["reason"].as_str().is_some_and(|it| it.contains(reason))
        };
        self.gateway.await_log(refused, TIMEOUT);
    }

    /// A login with a password that is refused as any other, for this reason in the log.
    #[track_caller]
    fn expect_login_refused(&self, raw: &mut Raw, user: &str, why: &str) {
        raw.expect(&format!("USER {user}"), 331);
        let reply = raw.expect(&format!("PASS {PASSWORD}"), 530);
        assert!(
            reply.text.contains("Login incorrect") && !reply.text.contains("certificate"),
            "{}",
            reply.text
        );
        let refused = |line: &Value| {
            line["event"] == "login"
                && line["outcome"] == "refused"
                && line["detail"].as_str().is_some_and(|it| it.contains(why))
        };
        self.gateway.await_log(refused, TIMEOUT);
    }
}

#[test]
fn a_certificate_admits_the_user_whom_it_names() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| ca.client(name));
    for version in [&TLS12, &TLS13] {
        for listener in ["required", "implicit", "optional"] {
            // RFC 4217 section 4.
            let mut raw = fixture.client(listener, "alice", &alice.config(version));
            raw.expect("PWD", 257);
            // Some clients send it in any case.
            raw.expect("PASS x", 202);
            raw.expect("PWD", 257);
            raw.expect("REIN", 220);
            raw.expect("PWD", 530);
            raw.expect("USER alice", 232);
            raw.expect("QUIT", 221);
            for (identity, user) in [(&bob, "bob"), (&carol, "carol")] {
                let mut raw = fixture.connect(listener, &identity.config(version));
                raw.expect("PASS x", 503);
                raw.expect(&format!("USER {user}"), 331);
                raw.expect("PASS wrong", 530);
                raw.login(user, PASSWORD);
            }
        }
    }
    let by_certificate = |line: &Value| {
        line["event"] == "login"
            && line["user"] == "alice"
            && line["method"] == "certificate"
            && line["certificate"] == "CN=alice"
            && line["certificate_sha256"].as_str().is_some_and(|it| it.len() == 64)
            && line["outcome"] == "ok"
    };
    fixture.gateway.await_log(by_certificate, TIMEOUT);
    let both = |line: &Value| {
        line["event"] == "login"
            && line["user"] == "bob"
            && line["method"] == "password"
            && line["certificate"] == "CN=bob"
    };
    fixture.gateway.await_log(both, TIMEOUT);
    let audit = std::fs::read_to_string(fixture.gateway.folder().join("audit.jsonl"));
    let audit = audit.expect("the audit's records");
    assert!(audit.contains(r#""certificate":{"subject":"CN=alice","fingerprint":""#), "{audit}");
    assert!(audit.contains(r#""authentication":{"method":"certificate","checked_by":"gateway"}"#));
}

#[test]
fn a_certificate_of_one_user_is_none_of_another() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    let of = |name: &str| ca.client(name).config(&TLS13);
    for (name, user, why) in [
        ("bob", "alice", "is of the user \"bob\" (tls.certificate_user"),
        ("alice", "bob", "is of the user \"alice\""),
        ("Alice", "alice", "is of the user \"Alice\""),
        ("alice@example.com", "alice", "is of the user \"alice@example.com\""),
        // Not in `users`.
        ("mallory", "mallory", "unknown user or wrong password"),
        ("mallory", "alice", "is of the user \"mallory\""),
        ("alice\0", "alice", "names no user"),
    ] {
        let mut raw = fixture.connect("required", &of(name));
        fixture.expect_login_refused(&mut raw, user, why);
        // The right user can still log in, and only that one.
        if name == "alice" {
            raw.expect("USER alice", 232);
        }
    }
    // Without a certificate the password alone counts, unless the user needs both.
    let mut raw = fixture.connect("optional", &client_config(&[&TLS13]));
    raw.login("alice", PASSWORD);
    let mut raw = fixture.connect("optional", &client_config(&[&TLS13]));
    raw.login("bob", PASSWORD);
    for listener in ["optional", "without"] {
        let mut raw = fixture.connect(listener, &client_config(&[&TLS13]));
        fixture.expect_login_refused(&mut raw, "carol", "`certificate: required`");
    }
    // A listener that asks for none does not see it.
    let mut raw = fixture.connect("without", &of("bob"));
    raw.login("alice", PASSWORD);
}

#[test]
fn a_field_of_the_certificate_names_the_user() {
    use rcgen::{DnType, OtherNameValue, SanType};
    let ca = ClientCa::new("partners");
    let upn = vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3];
    let identity: Identity = ca.client_with(|params| {
        params.distinguished_name.push(DnType::CommonName, "carol");
        params.subject_alt_names = vec![
            SanType::Rfc822Name("alice".try_into().expect("ASCII")),
            SanType::DnsName("bob".try_into().expect("ASCII")),
            SanType::OtherName((upn, OtherNameValue::Utf8String("alice".into()))),
        ];
    });
    for (field, user, others) in [
        ("email", "alice", ["bob", "carol"]),
        ("dns", "bob", ["alice", "carol"]),
        ("upn", "alice", ["bob", "carol"]),
        ("common-name", "carol", ["alice", "bob"]),
    ] {
        let fixture = start(&ca, &format!(", certificate_user: {field}"));
        let mut raw = fixture.connect("required", &identity.config(&TLS13));
        for other in others {
            fixture.expect_login_refused(&mut raw, other, "certificate is of the user");
        }
        match user {
            "alice" => raw.expect("USER alice", 232),
            user => {
                raw.login(user, PASSWORD);
                raw.expect("PWD", 257)
            }
        };
    }
    // With `any` it only admits the client: it is no proof of a user.
    let fixture = start(&ca, ", certificate_user: any");
    for user in ["alice", "bob"] {
        fixture.connect("required", &identity.config(&TLS13)).login(user, PASSWORD);
    }
    let mut raw = fixture.connect("required", &identity.config(&TLS13));
    fixture.expect_login_refused(&mut raw, "carol", "`certificate: required`");
}
