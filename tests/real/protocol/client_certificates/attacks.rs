//! Certificates that the handshake refuses, and tickets of sessions whose certificate was accepted once.

use std::sync::Arc;

use rcgen::{DnType, ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use super::{Fixture, start};
use crate::support::client_pki::ClientCa;
use crate::support::raw::{Raw, client_config};
use crate::support::wait::becomes_true;

#[test]
fn certificates_that_are_not_valid_are_refused_with_the_reason_in_the_log() {
    let ca = ClientCa::new("partners");
    let crl = ca.write_crl(&[66], 10);
    let fixture = start(&ca, &format!(", client_crl: {}", crl.display()));
    let alice = |change: fn(&mut rcgen::CertificateParams)| {
        ca.client_with(|params| {
            params.distinguished_name.push(DnType::CommonName, "alice");
            change(params);
        })
    };
    let expired = alice(|params| params.not_after = date_time_ymd(2021, 1, 1));
    let early = alice(|params| params.not_before = date_time_ymd(2090, 1, 1));
    let revoked = alice(|params| params.serial_number = Some(SerialNumber::from(66_u64)));
    let server = alice(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    // Of the same name, with another key.
    let [own_name, others_name] = ["partners", "strangers"].map(ClientCa::new);
    let (forged, stranger) = (own_name.client("alice"), others_name.client("alice"));
    for version in [&TLS12, &TLS13] {
        for (identity, reason) in [
            (&expired, "\"CN=alice\", issued by \"CN=partners"),
            (&expired, "has expired: the client needs a new one"),
            (&early, "is not valid yet"),
            (&revoked, "it is revoked (tls.client_crl)"),
            (&server, "was not issued for clients"),
            (&forged, "no authority of `tls.client_ca` has issued it"),
            (&stranger, "no authority of `tls.client_ca` has issued it"),
        ] {
            fixture.expect_refused(&identity.config(version), "client-certificate", reason);
        }
        let none = client_config(&[version]);
        fixture.expect_refused(
            &none,
            "no-client-certificate",
            "`tls.client_certificate: required`",
        );
        fixture.client("required", "alice", &alice(|_| {}).config(version));
    }
}

#[test]
fn an_old_list_of_revoked_certificates_refuses_all() {
    let ca = ClientCa::new("partners");
    let crl = ca.write_crl(&[], -1);
    let fixture = start(&ca, &format!(", client_crl: {}", crl.display()));
    for version in [&TLS12, &TLS13] {
        let alice = ca.client("alice").config(version);
        fixture.expect_refused(&alice, "client-certificate", "(tls.client_crl) has expired");
    }
}

#[test]
fn a_control_connection_is_verified_anew_though_it_has_a_ticket() {
    let ca = ClientCa::new("partners");
    let crl = ca.write_crl(&[], 10);
    let keys = format!(", client_crl: {}", crl.display());
    let fixture = start(&ca, &keys);
    let serial = 1234_u64;
    let alice = ca.client_with(|params| {
        params.serial_number = Some(SerialNumber::from(serial));
        params.distinguished_name.push(DnType::CommonName, "alice");
    });
    for version in [&TLS12, &TLS13] {
        let tls = alice.config(version);
        for _ in 0..3 {
            let raw = fixture.client("required", "alice", &tls);
            assert!(!raw.resumed(), "{version:?}");
        }
        // Its tickets are good ones: where no certificates are asked for, they are resumed.
        fixture.connect("without", &tls).expect("NOOP", 200);
        assert!(fixture.connect("without", &tls).resumed(), "{version:?}");
    }
    let stores = [&TLS12, &TLS13].map(|version| {
        let tls = alice.config(version);
        fixture.client("required", "alice", &tls).expect("QUIT", 221);
        tls
    });
    // The file is read again, and after a restart.
    ca.write_crl(&[serial], 10);
    await_refusal(&fixture, &stores[1]);
    for tls in &stores {
        fixture.expect_refused(tls, "client-certificate", "it is revoked (tls.client_crl)");
    }
    drop(fixture);
    let fixture = start(&ca, &keys);
    for tls in &stores {
        fixture.expect_refused(tls, "client-certificate", "it is revoked (tls.client_crl)");
    }
}

/// Connects until the gateway has read the list again.
fn await_refusal(fixture: &Fixture, tls: &Arc<ClientConfig>) {
    let is_refused = || {
        let (mut raw, _) = Raw::connect(fixture.gateway.address("required"));
        raw.expect("AUTH TLS", 234);
        raw.set_tls(tls.clone());
        raw.try_start_tls().is_err()
            || raw.try_send(b"NOOP\r\n").is_err()
            || raw.try_read().is_err()
    };
    assert!(becomes_true(is_refused), "the list is not read again");
}
