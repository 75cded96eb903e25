//! Revoked keys and certificates; lists that ssh-keygen wrote are in tests/real.

use std::fs;
use std::path::Path;

use super::*;
use crate::auth::ssh_certificates::check::CertificateRefused;
use crate::auth::ssh_certificates::krl::KrlError;
use crate::auth::ssh_certificates::{
    KeyTrust, NotAdmitted, PresentedKey, PublicKeys, Revoked, RevokedError, RevokedFile,
};
use crate::auth::{AuthorizedKeys, User};
use crate::op::Timestamp;

fn read(folder: &Path, content: &[u8]) -> Result<Revoked, RevokedError> {
    let path = folder.join("revoked");
    fs::write(&path, content).unwrap();
    Revoked::read(&path)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn section(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &string(content)].concat()
}

/// A key revocation list (PROTOCOL.krl).
fn list(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"SSHKRL\n\0\0\0\0\x01".to_vec();
    bytes.extend([0; 24]);
    bytes.extend([string(b""), string(b"comment")].concat());
    bytes.extend(sections.concat());
    bytes
}

fn of_authority(authority: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
    section(1, &[string(authority), string(b""), parts.concat()].concat())
}

fn numbered(authority: &PrivateKey, serial: u64, id: &str) -> Certificate {
    certificate(authority, &key(), |builder| {
        for_alice(builder);
        builder.serial(serial).unwrap().key_id(id).unwrap();
    })
}

#[test]
fn text_lists_keys_and_fingerprints() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, one, two, three, free) = (key(), key(), key(), key(), key());
    let print = PresentedKey::Key(two.public_key().clone()).fingerprint();
    let certified = certificate(&authority, &three, for_alice).to_openssh().unwrap();
    let text = format!("# lost laptops\n\n{} alice@laptop\n{print} bob\n{certified}\n", line(&one));
    let revoked = read(folder.path(), text.as_bytes()).unwrap();
    for key in [&one, &two, &three] {
        assert!(revoked.has_key(key.public_key().key_data()));
        assert!(revoked.has_certificate(&certificate(&authority, key, for_alice)));
    }
    assert!(!revoked.has_key(free.public_key().key_data()));
    assert!(!revoked.has_certificate(&certificate(&authority, &free, for_alice)));
    // With the authority, all of its certificates.
    let revoked = read(folder.path(), line(&authority).as_bytes()).unwrap();
    assert!(revoked.has_certificate(&certificate(&authority, &free, for_alice)));
}

#[test]
fn a_bad_line_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    for bad in ["serial: 7", "alice", "SHA256:short", "MD5:00:11", "ssh-ed25519 AAAA", "\u{fffd}"] {
        let text = format!("{}\n{bad}\n", line(&key()));
        let error = read(folder.path(), text.as_bytes()).err();
        assert!(matches!(error, Some(RevokedError::Line(_, 2))), "{bad}: {error:?}");
    }
    let private = key().to_openssh(russh::keys::ssh_key::LineEnding::LF).unwrap();
    let error = read(folder.path(), private.as_bytes()).err();
    assert!(matches!(error, Some(RevokedError::PrivateKey(_))));
    let missing = Revoked::read(&folder.path().join("missing")).err();
    assert!(matches!(missing, Some(RevokedError::Unreadable(..))));
}

/// Each login would wait for its end, with the list locked.
#[test]
fn a_fifo_or_device_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    for path in [Path::new("/dev/zero"), &fifo] {
        let refused = Revoked::read(path).err().unwrap().to_string();
        assert!(refused.contains("not a regular file"), "{refused}");
    }
}

#[test]
fn lists_revoke_serials_and_key_ids_of_an_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (key(), key());
    let blob = authority.public_key().to_bytes().unwrap();
    let serials = [7u64.to_be_bytes(), 9u64.to_be_bytes()].concat();
    let range = [100u64.to_be_bytes(), 199u64.to_be_bytes()].concat();
    // Bits 0, 1 and 9 from 1000.
    let bitmap = [&1000u64.to_be_bytes()[..], &string(&[0b10, 0b11])].concat();
    let parts = [
        section(0x20, &serials),
        section(0x21, &range),
        section(0x22, &bitmap),
        section(0x23, &[string(b"laptop"), string(b"phone")].concat()),
    ];
    let revoked = read(folder.path(), &list(&[of_authority(&blob, &parts)])).unwrap();
    for (serial, id, expected) in [
        (7, "", true),
        (8, "", false),
        (9, "", true),
        (99, "", false),
        (100, "", true),
        (199, "", true),
        (200, "", false),
        (1000, "", true),
        (1001, "", true),
        (1002, "", false),
        (1009, "", true),
        (1, "laptop", true),
        (1, "laptop2", false),
        (0, "phone", true),
    ] {
        let it = numbered(&authority, serial, id);
        assert_eq!(revoked.has_certificate(&it), expected, "{serial} {id}");
        assert!(!revoked.has_certificate(&numbered(&other, serial, id)));
    }
    // Without an authority: of all. A serial of 0 is none.
    let zero = [section(0x20, &0u64.to_be_bytes()), section(0x23, &string(b"x"))];
    let revoked = read(folder.path(), &list(&[of_authority(b"", &zero)])).unwrap();
    assert!(revoked.has_certificate(&numbered(&other, 5, "x")));
    assert!(!revoked.has_certificate(&numbered(&other, 0, "y")));
}

#[test]
fn damaged_and_unknown_lists_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |bytes: &[u8]| match read(folder.path(), bytes) {
        Err(RevokedError::Krl(_, why)) => Some(why),
        _ => None,
    };
    let whole = list(&[section(2, &string(&key().public_key().to_bytes().unwrap()))]);
    assert_eq!(refused(&whole), None);
    let empty = list(&[]).len();
    for end in (8..whole.len()).filter(|end| *end != empty) {
        assert_eq!(refused(&whole[..end]), Some(KrlError::Damaged), "{end}");
    }
    let mut version = whole.clone();
    version[11] = 2;
    assert_eq!(refused(&version), Some(KrlError::Format(2)));
    assert_eq!(refused(&list(&[section(6, b"")])), Some(KrlError::Section(6)));
    let part = of_authority(b"", &[section(0x24, b"")]);
    assert_eq!(refused(&list(&[part])), Some(KrlError::Section(0x24)));
    let extension = |critical: u8| [string(b"x"), vec![critical], string(b"")].concat();
    assert_eq!(refused(&list(&[section(255, &extension(0))])), None);
    assert_eq!(refused(&list(&[section(255, &extension(1))])), Some(KrlError::Section(255)));
    let overflow = [&u64::MAX.to_be_bytes()[..], &string(&[0b10])].concat();
    let part = of_authority(b"", &[section(0x22, &overflow)]);
    assert_eq!(refused(&list(&[part])), Some(KrlError::Damaged));
}

#[test]
fn a_changed_file_applies_at_once_and_a_missing_one_refuses_all_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("revoked");
    fs::write(&path, "").unwrap();
    let alice = key();
    let file = RevokedFile::new(path.clone());
    let trust = KeyTrust { authorities: PublicKeys::default(), revoked: vec![file.into()] };
    let user = User { keys: AuthorizedKeys::parse(&line(&alice)).unwrap(), ..User::default() };
    let presented = PresentedKey::Key(alice.public_key().clone());
    let source = "192.0.2.7".parse().unwrap();
    let admitted = || trust.admits(&user, b"alice", &presented, source, Timestamp::now());
    assert_eq!(admitted(), Ok(()));
    fs::write(&path, line(&alice)).unwrap();
    assert_eq!(admitted(), Err(NotAdmitted::Certificate(CertificateRefused::Revoked)));
    // Replaced by a file of the same length.
    let next = folder.path().join("next");
    fs::write(&next, line(&key())).unwrap();
    fs::rename(&next, &path).unwrap();
    assert_eq!(admitted(), Ok(()));
    fs::remove_file(&path).unwrap();
    let unreadable = |error| {
        matches!(error, Err(NotAdmitted::Certificate(CertificateRefused::RevokedUnreadable(_))))
    };
    assert!(unreadable(admitted()));
    fs::write(&path, "nonsense").unwrap();
    assert!(unreadable(admitted()));
}
