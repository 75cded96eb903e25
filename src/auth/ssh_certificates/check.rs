//! The check of a user's certificate (PROTOCOL.certkeys): all that does not depend on who trusts its
//! authority.

use std::net::IpAddr;

use ipnet::IpNet;
use russh::keys::Certificate;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg};

use super::authority::PublicKeys;
use crate::auth::authorized_keys::RSA_BITS_MIN;
use crate::op::escape::shortened;

/// Of a name in messages.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// The only program that clients get.
const INTERNAL_SFTP: &str = "internal-sftp";

/// Why a certificate is refused; fault: the client's, or that of who signed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// The listener trusts no authority.
    #[error("the listener has no `trusted_user_ca_keys`")]
    NoAuthorities,
    /// It is for a host.
    #[error("it is a host certificate; a user certificate is required (ssh-keygen -s without -h)")]
    ForHost,
    /// Its authority is not one of the trusted ones: the fingerprint.
    #[error("it is signed by {0}, which is not in the listener's `trusted_user_ca_keys`")]
    Authority(String),
    /// The authority's signature is none of the accepted kinds: its name.
    #[error(
        "its authority signed it with {0}, which can be forged; use -t rsa-sha2-512 or an Ed25519 key"
    )]
    SignatureAlgorithm(String),
    /// The authority's signature is wrong.
    #[error("its authority's signature is wrong: the certificate was changed")]
    Signature,
    /// The user's RSA key can be broken: its bits.
    #[error("its RSA key has {0} bits; the minimum is {RSA_BITS_MIN}")]
    Weak(u32),
    /// Before `valid after`.
    #[error("it is not valid yet: check the clocks of the gateway and of the authority")]
    NotYetValid,
    /// `valid before` has passed.
    #[error("it has expired")]
    Expired,
    /// It names nobody, which would be everybody.
    #[error("it has no principals, so it would be valid for every user; sign it with `-n NAME`")]
    NoPrincipals,
    /// It names others: some of them.
    #[error(
        "none of its principals ({0}) is one of the user's (the name, or `principals` of the user)"
    )]
    Principal(String),
    /// `source-address` excludes the client, or cannot be read.
    #[error("its source-address does not include the client's address")]
    Source,
    /// A `force-command` that cannot be enforced here.
    #[error(
        "it has a force-command other than internal-sftp: only SFTP is served, without options"
    )]
    ForceCommand,
    /// A critical option that is not known here: its name.
    #[error("it has the critical option \"{0}\", which the gateway does not support")]
    CriticalOption(String),
    /// The key, its certificate or its authority is in `revoked_keys`.
    #[error("it is revoked (the listener's `revoked_keys`)")]
    Revoked,
    /// `revoked_keys` cannot be read now.
    #[error("`revoked_keys` cannot be used, so no key is accepted: {0}")]
    RevokedUnreadable(String),
}

/// Checks a certificate for one of `principals` from a client at `source`, at `now` in seconds since the
/// epoch. That the client has its private key was checked before.
pub(super) fn check(
    certificate: &Certificate,
    authorities: &PublicKeys,
    principals: &[&[u8]],
    source: IpAddr,
    now: u64,
) -> Result<(), CertificateRefused> {
    if authorities.is_empty() {
        return Err(CertificateRefused::NoAuthorities);
    }
    if certificate.cert_type() != CertType::User {
        return Err(CertificateRefused::ForHost);
    }
    check_signature(certificate, authorities, now)?;
    check_dates(certificate, now)?;
    check_principals(certificate, principals)?;
    for (name, value) in certificate.critical_options().iter() {
        match name.as_str() {
            "source-address" if includes(value, source) => {}
            "source-address" => return Err(CertificateRefused::Source),
            "force-command" if value == INTERNAL_SFTP => {}
            "force-command" => return Err(CertificateRefused::ForceCommand),
            _ => {
                return Err(CertificateRefused::CriticalOption(shortened(
                    name,
                    SHOWN_CHARACTERS_MAX,
                )));
            }
        }
    }
    Ok(())
}

fn check_signature(
    certificate: &Certificate,
    authorities: &PublicKeys,
    now: u64,
) -> Result<(), CertificateRefused> {
    let authority = certificate.signature_key();
    let fingerprint = authority.fingerprint(HashAlg::Sha256);
    if !authorities.contains(authority) {
        return Err(CertificateRefused::Authority(fingerprint.to_string()));
    }
    let algorithm = certificate.signature().algorithm();
    if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(CertificateRefused::SignatureAlgorithm(algorithm.to_string()));
    }
    if let KeyData::Rsa(rsa) = certificate.public_key()
        && rsa.key_size() < RSA_BITS_MIN
    {
        return Err(CertificateRefused::Weak(rsa.key_size()));
    }
    if certificate.valid_after() >= certificate.valid_before() {
        return Err(CertificateRefused::Expired);
    }
    // It also checks the dates, for which a reason of their own follows.
    let within = now.clamp(certificate.valid_after(), certificate.valid_before().saturating_sub(1));
    certificate.validate_at(within, [&fingerprint]).map_err(|_| CertificateRefused::Signature)
}

/// `valid after <= now < valid before`, all 64 bits.
fn check_dates(certificate: &Certificate, now: u64) -> Result<(), CertificateRefused> {
    if now < certificate.valid_after() {
        Err(CertificateRefused::NotYetValid)
    } else if now >= certificate.valid_before() {
        Err(CertificateRefused::Expired)
    } else {
        Ok(())
    }
}

fn check_principals(
    certificate: &Certificate,
    principals: &[&[u8]],
) -> Result<(), CertificateRefused> {
    const SHOWN_MAX: usize = 5;
    let named = certificate.valid_principals();
    if named.is_empty() {
        return Err(CertificateRefused::NoPrincipals);
    }
    if named.iter().any(|name| principals.contains(&name.as_bytes())) {
        return Ok(());
    }
    let mut shown: Vec<_> =
        named.iter().take(SHOWN_MAX).map(|name| shortened(name, SHOWN_CHARACTERS_MAX)).collect();
    if named.len() > SHOWN_MAX {
        shown.push("…".to_owned());
    }
    Err(CertificateRefused::Principal(shown.join(", ")))
}

/// Addresses and networks, separated by commas, as sshd reads them: without patterns. An entry that is
/// neither excludes everybody.
fn includes(list: &str, source: IpAddr) -> bool {
    let source = source.to_canonical();
    let networks = list.split(',').map(|entry| {
        let address = || entry.parse::<IpAddr>().map(|address| address.to_canonical().into());
        entry.parse::<IpNet>().or_else(|_| address())
    });
    let networks: Result<Vec<IpNet>, _> = networks.collect();
    networks.is_ok_and(|networks| networks.iter().any(|network| network.contains(&source)))
}
