//! Key revocation lists (OpenSSH's PROTOCOL.krl), as `ssh-keygen -k` writes them.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PublicKey};
use sha1::{Digest, Sha1};

/// Serials of one bitmap: ssh-keygen writes far smaller ones.
const BITMAP_BYTES_MAX: usize = 64 * 1024;

/// The content of a key revocation list.
#[derive(Clone, Default)]
pub(super) struct Krl {
    /// Blobs of revoked keys.
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
    authorities: Vec<RevokedCertificates>,
}

/// The revoked certificates of an authority.
#[derive(Clone, Default)]
struct RevokedCertificates {
    /// `None`: of every authority.
    authority: Option<Vec<u8>>,
    serials: Vec<RangeInclusive<u64>>,
    key_ids: HashSet<Vec<u8>>,
}

/// Why a list cannot be read; fault: the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    /// It ends within a field, or a length is wrong.
    #[error("it is damaged or incomplete")]
    Damaged,
    /// Another version of the format.
    #[error("it has format {0} of key revocation lists; only 1 is supported")]
    Format(u32),
    /// A section that might revoke keys and is not known here.
    #[error("it has a section of type {0}, which is not supported")]
    Section(u8),
}

impl Krl {
    /// The first bytes of every list.
    pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, KrlError> {
        let mut rest = Reader(bytes.strip_prefix(Self::MAGIC).ok_or(KrlError::Damaged)?);
        match rest.u32()? {
            1 => {}
            other => return Err(KrlError::Format(other)),
        }
        // Version, date and flags of the list.
        rest.take(3 * 8)?;
        let (_reserved, _comment) = (rest.string()?, rest.string()?);
        let mut krl = Self::default();
        while !rest.0.is_empty() {
            let (kind, mut section) = (rest.u8()?, Reader(rest.string()?));
            match kind {
                1 => krl.authorities.push(certificates(section)?),
                2 => section.strings_into(&mut krl.keys)?,
                3 => section.strings_into(&mut krl.sha1)?,
                // A signature over the list, which OpenSSH ignores, too.
                4 => {}
                5 => section.strings_into(&mut krl.sha256)?,
                255 => skip_extension(section)?,
                other => return Err(KrlError::Section(other)),
            }
        }
        Ok(krl)
    }

    /// Whether the key itself is revoked.
    pub(super) fn has_key(&self, key: &KeyData) -> bool {
        let Ok(blob) = PublicKey::from(key.clone()).to_bytes() else { return true };
        let sha256 = key.fingerprint(HashAlg::Sha256);
        self.sha256.contains(sha256.as_bytes())
            || self.sha1.contains(Sha1::digest(&blob).as_slice())
            || self.keys.contains(&blob)
    }

    /// Whether the certificate is revoked by its serial or key id. A serial of 0 means that its authority
    /// does not number certificates.
    pub(super) fn has_certificate(&self, certificate: &Certificate) -> bool {
        let authority = PublicKey::from(certificate.signature_key().clone()).to_bytes();
        let serial = certificate.serial();
        self.authorities.iter().any(|revoked| {
            let concerned = match (&revoked.authority, &authority) {
                (None, _) | (_, Err(_)) => true,
                (Some(revoked), Ok(authority)) => revoked == authority,
            };
            let listed = serial != 0 && revoked.serials.iter().any(|range| range.contains(&serial));
            concerned && (listed || revoked.key_ids.contains(certificate.key_id().as_bytes()))
        })
    }
}

fn certificates(mut section: Reader) -> Result<RevokedCertificates, KrlError> {
    let (authority, _reserved) = (section.string()?, section.string()?);
    let mut revoked = RevokedCertificates::default();
    if !authority.is_empty() {
        revoked.authority = Some(authority.to_vec());
    }
    while !section.0.is_empty() {
        let (kind, mut part) = (section.u8()?, Reader(section.string()?));
        match kind {
            0x20 => {
                while !part.0.is_empty() {
                    let serial = part.u64()?;
                    revoked.serials.push(serial..=serial);
                }
            }
            0x21 => revoked.serials.push(part.u64()?..=part.u64()?),
            0x22 => bitmap(part, &mut revoked.serials)?,
            0x23 => part.strings_into(&mut revoked.key_ids)?,
            0x39 => skip_extension(part)?,
            other => return Err(KrlError::Section(other)),
        }
    }
    Ok(revoked)
}

/// An offset, and a number whose bits are the serials from there on.
fn bitmap(mut part: Reader, serials: &mut Vec<RangeInclusive<u64>>) -> Result<(), KrlError> {
    let (offset, bits) = (part.u64()?, part.string()?);
    if bits.len() > BITMAP_BYTES_MAX {
        return Err(KrlError::Damaged);
    }
    for (index, byte) in bits.iter().rev().enumerate() {
        for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
            let serial = offset.checked_add(index as u64 * 8 + bit).ok_or(KrlError::Damaged)?;
            match serials.last_mut() {
                Some(last) if last.end().checked_add(1) == Some(serial) => {
                    *last = *last.start()..=serial;
                }
                _ => serials.push(serial..=serial),
            }
        }
    }
    Ok(())
}

/// Extensions that are not critical may be ignored.
fn skip_extension(mut section: Reader) -> Result<(), KrlError> {
    let (_name, critical) = (section.string()?, section.u8()?);
    if critical == 0 { Ok(()) } else { Err(KrlError::Section(255)) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], KrlError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(KrlError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], KrlError> {
        self.take(N)?.try_into().map_err(|_| KrlError::Damaged)
    }

    fn u8(&mut self) -> Result<u8, KrlError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, KrlError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, KrlError> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], KrlError> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn strings_into(&mut self, set: &mut HashSet<Vec<u8>>) -> Result<(), KrlError> {
        while !self.0.is_empty() {
            set.insert(self.string()?.to_vec());
        }
        Ok(())
    }
}
