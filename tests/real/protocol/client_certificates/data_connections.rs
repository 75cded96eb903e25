//! A data connection resumes its control session, or has the same certificate.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::{Fixture, start};
use crate::support::client_pki::ClientCa;
use crate::support::raw::{Raw, Wire, client_config};
use crate::support::{PASSWORD, pattern};

/// A transfer whose data connection is refused.
#[track_caller]
fn expect_refused(raw: &mut Raw, line: &str, theirs: &Arc<ClientConfig>) {
    let tcp = raw.begin(line);
    if let Ok(mut data) = Wire::try_tls(tcp, theirs.clone()) {
        // It may be reset already.
        let _ = data.write_all(b"bytes").and_then(|()| data.finish());
        let mut bytes = Vec::new();
        let _ = data.read_to_end(&mut bytes);
        assert_eq!(bytes, b"", "{line}");
    }
    let reply = raw.read();
    assert_eq!(reply.code, 425, "{line}: {}", reply.text);
    raw.expect("NOOP", 200);
}

#[track_caller]
fn expect_transfers(fixture: &Fixture, raw: &mut Raw, name: &str) {
    let bytes = pattern(70_000);
    assert_eq!(raw.upload(&format!("STOR {name}"), &bytes).code, 226);
    assert_eq!(raw.download(&format!("RETR {name}")).0, bytes);
    assert_eq!(std::fs::read(fixture.folder.path().join(name)).expect("the file"), bytes);
}

#[test]
fn the_same_certificate_or_the_resumed_session_is_needed() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    std::fs::write(fixture.folder.path().join("there"), "secret").expect("writing a file");
    let (alice, bob) = (ca.client("alice"), ca.client("bob"));
    for (listener, version) in [("required", &TLS12), ("implicit", &TLS13), ("optional", &TLS13)] {
        let mut raw = fixture.client(listener, "alice", &alice.config(version));
        raw.protect();
        expect_transfers(&fixture, &mut raw, listener);
        // A store of its own: nothing to resume.
        let (line, upload) = ("RETR there", "STOR stolen");
        for theirs in [bob.config(version), client_config(&[version])] {
            expect_refused(&mut raw, line, &theirs);
            expect_refused(&mut raw, upload, &theirs);
        }
        // Another certificate of the same user is another one.
        expect_refused(&mut raw, line, &ca.client("alice").config(version));
        // Bob's own session, resumed.
        let thief = bob.config(version);
        let mut of_thief = fixture.connect(listener, &thief);
        of_thief.login("bob", PASSWORD);
        expect_refused(&mut raw, line, &thief);
        raw.set_tls(alice.config(version));
        expect_transfers(&fixture, &mut raw, listener);
    }
    assert!(!fixture.folder.path().join("stolen").exists());
}

/// The first answers only, then none.
#[derive(Debug)]
struct Once(Arc<dyn ResolvesClientCert>, std::sync::atomic::AtomicBool);

impl ResolvesClientCert for Once {
    fn resolve(
        &self,
        issuers: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let is_first = !self.1.swap(true, std::sync::atomic::Ordering::Relaxed);
        is_first.then(|| self.0.resolve(issuers, schemes)).flatten()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_resumed_data_connection_needs_no_certificate() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    std::fs::write(fixture.folder.path().join("there"), "secret").expect("writing a file");
    for version in [&TLS12, &TLS13] {
        let mut tls = ClientConfig::clone(&ca.client("alice").config(version));
        let once = Once(tls.client_auth_cert_resolver.clone(), false.into());
        tls.client_auth_cert_resolver = Arc::new(once);
        let mut raw = fixture.client("optional", "alice", &Arc::new(tls));
        raw.protect();
        for _ in 0..3 {
            let tcp = raw.begin("RETR there");
            let mut data = raw.data(tcp);
            assert!(data.resumed());
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes).expect("reading a data connection");
            assert_eq!((bytes, raw.read().code), (b"secret".to_vec(), 226));
        }
    }
}

/// All listeners have the same single data port.
#[test]
fn listeners_with_and_without_certificates_share_a_data_port() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    for name in ["alice-file", "bob-file"] {
        std::fs::write(fixture.folder.path().join(name), name).expect("writing a file");
    }
    for version in [&TLS12, &TLS13] {
        let tls = ca.client("alice").config(version);
        let mut alice = fixture.client("required", "alice", &tls);
        let mut bob = fixture.connect("without", &client_config(&[version]));
        alice.protect();
        bob.login("bob", PASSWORD);
        bob.expect("TYPE I", 200);
        for _ in 0..4 {
            assert_eq!(alice.download("RETR alice-file").0, b"alice-file");
            assert_eq!(bob.download("RETR bob-file").0, b"bob-file");
        }
        // Two control sessions of one certificate, and one store for both.
        let mut second = fixture.client("required", "alice", &tls);
        second.protect();
        for _ in 0..4 {
            assert_eq!(second.download("RETR alice-file").0, b"alice-file");
            assert_eq!(alice.download("RETR bob-file").0, b"bob-file");
        }
    }
}

/// `data_sessions: resumed`: the certificate alone is not enough, a session of the same one is.
#[test]
fn data_connections_resume_a_session_of_the_same_certificate_where_they_must() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, ", data_sessions: resumed");
    std::fs::write(fixture.folder.path().join("there"), "secret").expect("writing a file");
    let identity = ca.client("alice");
    for version in [&TLS12, &TLS13] {
        let tls = identity.config(version);
        let mut raw = fixture.client("required", "alice", &tls);
        raw.protect();
        assert_eq!(raw.download("RETR there").0, b"secret");
        let mut second = fixture.client("required", "alice", &tls);
        second.protect();
        for _ in 0..3 {
            assert_eq!(second.download("RETR there").0, b"secret");
            assert_eq!(raw.download("RETR there").0, b"secret");
        }
        expect_refused(&mut raw, "RETR there", &identity.config(version));
    }
}
