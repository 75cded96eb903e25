//! Certificates that the gateway signs.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::HashAlg;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::private::RsaKeypair;

use super::*;
use crate::auth::ssh_certificates::{CertificateAuthority, CertificateRequest};

fn request() -> CertificateRequest {
    CertificateRequest {
        principal: "alice".into(),
        key_id: "lockgate session 7".into(),
        valid_for: Duration::from_secs(300),
        source_addresses: Vec::new(),
        force_command: Some("internal-sftp".into()),
    }
}

#[test]
fn a_certificate_says_what_was_requested_and_no_more() {
    let authority = CertificateAuthority::new(Arc::new(key()));
    let made = authority.sign_at(&request(), NOW).unwrap();
    let it = made.certificate.unwrap();
    assert_eq!(it.cert_type(), CertType::User);
    assert_eq!(it.valid_principals(), ["alice"]);
    assert_eq!(it.key_id(), "lockgate session 7");
    assert_eq!((it.valid_after(), it.valid_before()), (NOW - 60, NOW + 300));
    assert_eq!(it.public_key(), made.key.public_key().key_data());
    let options: Vec<_> = it.critical_options().iter().collect();
    assert_eq!(options, [(&"force-command".to_owned(), &"internal-sftp".to_owned())]);
    assert!(it.extensions().is_empty());
    let signed_by = it.signature_key().fingerprint(HashAlg::Sha256).to_string();
    assert_eq!(signed_by, authority.fingerprint());
    assert!(it.validate_at(NOW, [&it.signature_key().fingerprint(HashAlg::Sha256)]).is_ok());
}

#[test]
fn the_source_addresses_and_the_command_are_as_configured() {
    let authority = CertificateAuthority::new(Arc::new(key()));
    let networks = vec!["192.0.2.7/32".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let request =
        CertificateRequest { source_addresses: networks, force_command: None, ..request() };
    let it = authority.sign(&request).unwrap().certificate.unwrap();
    let options: Vec<_> = it.critical_options().iter().collect();
    let expected = ("source-address".to_owned(), "192.0.2.7/32,2001:db8::/32".to_owned());
    assert_eq!(options, [(&expected.0, &expected.1)]);
}

#[test]
fn every_session_has_a_key_and_a_serial_of_its_own() {
    let rsa = PrivateKey::from(RsaKeypair::random(&mut safe_rng(), 2048).unwrap());
    for authority in [key(), rsa] {
        let authority = CertificateAuthority::new(Arc::new(authority));
        let (one, other) =
            (authority.sign(&request()).unwrap(), authority.sign(&request()).unwrap());
        assert_ne!(one.key.public_key(), other.key.public_key());
        let serial = |made: &crate::auth::LoginKey| made.certificate.as_ref().unwrap().serial();
        assert_ne!(serial(&one), serial(&other));
        assert!(serial(&one) != 0 && serial(&other) != 0);
    }
}
