//! Certificates of users.

use std::net::IpAddr;

use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::RsaKeypair;

use super::*;
use crate::auth::ssh_certificates::check::{CertificateRefused as Refused, check};
use crate::auth::ssh_certificates::{KeyTrust, NotAdmitted, PresentedKey, PublicKeys};
use crate::auth::{AuthorizedKeys, User};
use crate::op::Timestamp;

fn verdict_from(
    certificate: &Certificate,
    authority: &PrivateKey,
    source: &str,
) -> Result<(), Refused> {
    let authorities = PublicKeys::parse(&line(authority)).unwrap();
    let source: IpAddr = source.parse().unwrap();
    check(certificate, &authorities, &[b"alice", b"ops"], source, NOW)
}

fn verdict(certificate: &Certificate, authority: &PrivateKey) -> Result<(), Refused> {
    verdict_from(certificate, authority, "192.0.2.7")
}

#[test]
fn one_of_the_principals_must_be_the_users() {
    let (authority, alice) = (key(), key());
    let with = |names: &[&str]| {
        certificate(&authority, &alice, |builder| {
            for name in names {
                builder.valid_principal(*name).unwrap();
            }
            if names.is_empty() {
                builder.all_principals_valid().unwrap();
            }
        })
    };
    assert_eq!(verdict(&with(&["alice"]), &authority), Ok(()));
    assert_eq!(verdict(&with(&["bob", "ops"]), &authority), Ok(()));
    assert_eq!(verdict(&with(&[]), &authority), Err(Refused::NoPrincipals));
    // Principals are neither patterns nor lists.
    for names in [&["bob"][..], &["*"], &["alic?"], &["ALICE"], &["alice,bob"], &[""], &["alice "]]
    {
        let refused = Err(Refused::Principal(names.join(", ")));
        assert_eq!(verdict(&with(names), &authority), refused, "{names:?}");
    }
    let many = with(&["a", "b", "c", "d", "e", "f"]);
    let refused = Err(Refused::Principal("a, b, c, d, e, …".into()));
    assert_eq!(verdict(&many, &authority), refused);
}

#[test]
fn the_validity_is_from_the_first_second_to_before_the_last() {
    let (authority, alice) = (key(), key());
    for (times, expected) in [
        ((NOW, NOW + 1), Ok(())),
        ((NOW + 1, NOW + 50), Err(Refused::NotYetValid)),
        ((NOW - 50, NOW), Err(Refused::Expired)),
        ((0, u64::MAX), Ok(())),
        // Beyond what a signed number holds.
        ((u64::MAX - 1, u64::MAX), Err(Refused::NotYetValid)),
    ] {
        let it = signed(&authority, &alice, times, for_alice);
        assert_eq!(verdict(&it, &authority), expected, "{times:?}");
    }
}

#[test]
fn only_a_trusted_authoritys_intact_user_certificate_counts() {
    let (authority, alice, stranger) = (key(), key(), key());
    let it = certificate(&authority, &alice, for_alice);
    let unknown = |key: &PrivateKey| {
        let print = PresentedKey::Key(key.public_key().clone()).fingerprint();
        Err(Refused::Authority(print))
    };
    assert_eq!(verdict(&it, &stranger), unknown(&authority));
    // Signed by the user's own key.
    let own = certificate(&alice, &alice, for_alice);
    assert_eq!(verdict(&own, &authority), unknown(&alice));
    let none = PublicKeys::default();
    let source = "192.0.2.7".parse().unwrap();
    assert_eq!(check(&it, &none, &[b"alice"], source, NOW), Err(Refused::NoAuthorities));
    let host = certificate(&authority, &alice, |builder| {
        for_alice(builder);
        builder.cert_type(CertType::Host).unwrap();
    });
    assert_eq!(verdict(&host, &authority), Err(Refused::ForHost));
    // The last byte belongs to the signature.
    let mut bytes = it.to_bytes().unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(verdict(&forged, &authority), Err(Refused::Signature));
    // A changed principal of the same length.
    let mut bytes = certificate(&authority, &alice, |builder| {
        builder.valid_principal("bobby").unwrap();
    })
    .to_bytes()
    .unwrap();
    let at = bytes.windows(5).position(|part| part == b"bobby").unwrap();
    bytes[at..at + 5].copy_from_slice(b"alice");
    let forged = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(verdict(&forged, &authority), Err(Refused::Signature));
}

#[test]
fn rsa_authorities_sign_with_sha_2_and_weak_keys_are_refused() {
    let (authority, alice) = (key(), key());
    let rsa = PrivateKey::from(RsaKeypair::random(&mut safe_rng(), 2048).unwrap());
    let it = certificate(&rsa, &alice, for_alice);
    assert_eq!(verdict(&it, &rsa), Ok(()));
    // The name of the algorithm is not signed: a forger who found a SHA-1 collision would write this.
    let bytes = it.to_bytes().unwrap();
    let sha2 = b"\0\0\0\x0crsa-sha2-512";
    let at = bytes.windows(sha2.len()).rposition(|part| part == sha2).unwrap();
    let mut sha1 = bytes[..at].to_vec();
    sha1.extend_from_slice(b"\0\0\0\x07ssh-rsa");
    sha1.extend_from_slice(&bytes[at + sha2.len()..]);
    // The length of the signature before it.
    let length = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) - 5;
    sha1[at - 4..at].copy_from_slice(&length.to_be_bytes());
    let sha1 = Certificate::from_bytes(&sha1).unwrap();
    assert_eq!(verdict(&sha1, &rsa), Err(Refused::SignatureAlgorithm("ssh-rsa".into())));
    let weak = include_str!("../../../config/tests/keys/weak_rsa");
    let weak = PrivateKey::from_openssh(weak).unwrap();
    let it = certificate(&authority, &weak, for_alice);
    assert!(matches!(verdict(&it, &authority), Err(Refused::Weak(_))));
    // Nor is a weak authority accepted.
    assert!(PublicKeys::parse(&line(&weak)).is_err());
}

#[test]
fn the_source_address_must_include_the_client() {
    let (authority, alice) = (key(), key());
    let from = |list: &str| {
        certificate(&authority, &alice, |builder| {
            for_alice(builder);
            builder.critical_option("source-address", list).unwrap();
        })
    };
    for (list, source, admitted) in [
        ("192.0.2.0/24", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.0/24", "::ffff:192.0.2.7", true),
        ("198.51.100.0/24,192.0.2.7/32", "192.0.2.7", true),
        ("2001:db8::/32", "2001:db8::1", true),
        ("198.51.100.0/24", "192.0.2.7", false),
        ("192.0.2.8", "192.0.2.7", false),
        ("2001:db8::/32", "192.0.2.7", false),
        // What sshd cannot read excludes everybody.
        ("", "192.0.2.7", false),
        ("*", "192.0.2.7", false),
        ("192.0.2.*", "192.0.2.7", false),
        ("192.0.2.0/24,!198.51.100.1", "192.0.2.7", false),
        ("192.0.2.0/24, 198.51.100.1", "192.0.2.7", false),
        ("192.0.2.0/24,example.com", "192.0.2.7", false),
    ] {
        let expected = if admitted { Ok(()) } else { Err(Refused::Source) };
        assert_eq!(verdict_from(&from(list), &authority, source), expected, "{list} {source}");
    }
}

#[test]
fn other_commands_and_unknown_critical_options_are_refused() {
    let (authority, alice) = (key(), key());
    let with = |name: &str, value: &str| {
        certificate(&authority, &alice, |builder| {
            for_alice(builder);
            builder.critical_option(name, value).unwrap();
        })
    };
    assert_eq!(verdict(&with("force-command", "internal-sftp"), &authority), Ok(()));
    // Options restrict, too: -R is read only.
    for command in ["internal-sftp -R", "internal-sftp ", "/bin/true", "", "INTERNAL-SFTP"] {
        let refused = Err(Refused::ForceCommand);
        assert_eq!(verdict(&with("force-command", command), &authority), refused, "{command}");
    }
    for name in ["verify-required", "Source-Address", "x@example.com", ""] {
        let refused = Err(Refused::CriticalOption(name.into()));
        assert_eq!(verdict(&with(name, "192.0.2.7"), &authority), refused, "{name}");
    }
    // Extensions may be unknown.
    let extended = |builder: &mut Builder| {
        for_alice(builder);
        builder.extension("permit-pty", "").unwrap().extension("x@example.com", "y").unwrap();
    };
    assert_eq!(verdict(&certificate(&authority, &alice, extended), &authority), Ok(()));
}

/// The parser of certificates also reads a certificate in the place of a key.
#[test]
fn a_certificate_is_no_authority_and_no_authorized_key() {
    let (authority, middle, alice) = (key(), key(), key());
    let it = certificate(&authority, &middle, for_alice);
    let as_line = it.to_openssh().unwrap();
    assert!(PublicKeys::parse(&as_line).is_err());
    assert!(AuthorizedKeys::parse(&as_line).is_err());
    // A chain: alice's certificate by a key that the authority has only certified.
    let chained = certificate(&middle, &alice, for_alice);
    assert!(matches!(verdict(&chained, &authority), Err(Refused::Authority(_))));
}

#[test]
fn users_are_admitted_by_name_or_by_their_principals() {
    let (authority, alice) = (key(), key());
    let until = NOW + 1_000_000_000;
    let it = signed(&authority, &alice, (0, until), for_alice);
    let authorities = PublicKeys::parse(&line(&authority)).unwrap();
    let trust = KeyTrust { authorities, revoked: Vec::new() };
    let source = "192.0.2.7".parse().unwrap();
    let admits = |user: &User, name: &[u8], key: &PresentedKey| {
        trust.admits(user, name, key, source, Timestamp::now()).is_ok()
    };
    let certified = PresentedKey::Certificate(Box::new(it));
    let user = User::default();
    assert!(admits(&user, b"alice", &certified));
    assert!(!admits(&user, b"bob", &certified));
    let listed = User { principals: vec!["alice".into(), "team".into()], ..User::default() };
    assert!(admits(&listed, b"bob", &certified));
    let listed = User { principals: vec!["team".into()], ..User::default() };
    assert!(!admits(&listed, b"alice", &certified));
    // The same key without its certificate.
    let plain = PresentedKey::Key(alice.public_key().clone());
    assert!(!admits(&user, b"alice", &plain));
    let keys = AuthorizedKeys::parse(&line(&alice)).unwrap();
    assert!(admits(&User { keys, ..User::default() }, b"alice", &plain));
    let none = KeyTrust::default().admits(&user, b"alice", &certified, source, Timestamp::now());
    assert_eq!(none, Err(NotAdmitted::Certificate(Refused::NoAuthorities)));
}
