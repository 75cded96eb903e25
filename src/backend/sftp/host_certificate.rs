//! The check of a server's host certificate (PROTOCOL.certkeys) against `@cert-authority` lines.

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

use super::known_hosts::{KnownHosts, wildcard};
use crate::net::ssh::Algorithms;

/// Why a host certificate is refused; fault: the backend's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostCertificateRefused {
    #[error("is a user certificate; a host certificate is required (ssh-keygen -s with -h)")]
    ForUser,
    #[error(
        "is signed by {0}, which no `@cert-authority` line of `known_hosts` names for this server; if it is \
         the right authority, add the line `@cert-authority {1} KEY`"
    )]
    Authority(String, String),
    #[error("or its authority is @revoked in `known_hosts`")]
    Revoked,
    #[error("is signed with {0}, which can be forged; its authority must use -t rsa-sha2-512")]
    SignatureAlgorithm(String),
    #[error("has a wrong signature: it was changed")]
    Signature,
    #[error("is not valid yet: check the clocks of the gateway and of its authority")]
    NotYetValid,
    #[error("has expired: the server's operator must renew it")]
    Expired,
    #[error(
        "is for {0}, not for this server; the name in the backend's `address` must be among them"
    )]
    Name(String),
    #[error("has the critical option \"{0}\", which is not known")]
    CriticalOption(String),
}

/// Checks the certificate that `host` presented, at `now` in seconds since the epoch. russh checks that the
/// server has its private key.
pub(super) fn check(
    known: &KnownHosts,
    (host, port): (&str, u16),
    certificate: &Certificate,
    algorithms: &Algorithms,
    now: u64,
) -> Result<(), HostCertificateRefused> {
    if certificate.cert_type() != CertType::Host {
        return Err(HostCertificateRefused::ForUser);
    }
    let authority = certificate.signature_key();
    let fingerprint = authority.fingerprint(HashAlg::Sha256);
    if [authority, certificate.public_key()].iter().any(|key| known.revokes(host, port, key)) {
        return Err(HostCertificateRefused::Revoked);
    }
    if !known.trusts(host, port, authority) {
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        return Err(HostCertificateRefused::Authority(fingerprint.to_string(), name));
    }
    let signature = certificate.signature().algorithm();
    let is_sha1 = matches!(signature, Algorithm::Rsa { hash: None });
    if is_sha1 && !algorithms.accepts_signature(&signature) {
        return Err(HostCertificateRefused::SignatureAlgorithm(signature.to_string()));
    }
    if now < certificate.valid_after() {
        return Err(HostCertificateRefused::NotYetValid);
    }
    if now >= certificate.valid_before() {
        return Err(HostCertificateRefused::Expired);
    }
    if certificate.validate_at(now, [&fingerprint]).is_err() {
        return Err(HostCertificateRefused::Signature);
    }
    if let Some(name) = certificate.critical_options().keys().next() {
        return Err(HostCertificateRefused::CriticalOption(name.clone()));
    }
    check_name(host, certificate)
}

/// Names may be patterns, as ssh(1) accepts them. A certificate without names would be valid for every host.
fn check_name(host: &str, certificate: &Certificate) -> Result<(), HostCertificateRefused> {
    let host = host.to_ascii_lowercase();
    let names = certificate.valid_principals();
    let is_for = |name: &String| wildcard(name.to_ascii_lowercase().as_bytes(), host.as_bytes());
    if names.iter().any(is_for) {
        return Ok(());
    }
    let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
    Err(HostCertificateRefused::Name(names))
}

#[cfg(test)]
mod tests {
    use russh::keys::PrivateKey;
    use russh::keys::key::safe_rng;
    use russh::keys::ssh_key::certificate::Builder;

    use super::*;
    use crate::net::ssh::{Base, Side};

    const NOW: u64 = 1_800_000_000;

    fn key() -> PrivateKey {
        PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap()
    }

    fn certificate(
        authority: &PrivateKey,
        key: &PrivateKey,
        change: impl FnOnce(&mut Builder),
        (from, until): (u64, u64),
    ) -> Certificate {
        let public = key.public_key();
        let mut builder =
            Builder::new_with_random_nonce(&mut safe_rng(), public, from, until).unwrap();
        change(&mut builder);
        builder.sign(authority).unwrap()
    }

    fn host(builder: &mut Builder) {
        builder.cert_type(CertType::Host).unwrap();
        builder.valid_principal("sftp.Example.com").unwrap();
    }

    fn line(marker: &str, names: &str, key: &PrivateKey) -> String {
        format!("{marker} {names} {}\n", key.public_key().to_openssh().unwrap())
    }

    fn verdict(
        text: &str,
        at: (&str, u16),
        it: &Certificate,
    ) -> Result<(), HostCertificateRefused> {
        let known = KnownHosts::parse(text).unwrap();
        check(&known, at, it, &Algorithms::new(Side::Backend, Base::Modern), NOW)
    }

    #[test]
    fn a_certificate_is_for_the_hosts_that_it_names() {
        use HostCertificateRefused::Name;
        let (authority, server) = (key(), key());
        let text = line("@cert-authority", "*", &authority);
        let times = (NOW - 10, NOW + 10);
        let it = certificate(&authority, &server, host, times);
        assert_eq!(verdict(&text, ("sftp.example.com", 22), &it), Ok(()));
        assert_eq!(verdict(&text, ("SFTP.example.com", 2222), &it), Ok(()));
        let other = Name("sftp.Example.com".into());
        assert_eq!(verdict(&text, ("example.com", 22), &it), Err(other));
        let pattern = certificate(
            &authority,
            &server,
            |builder| {
                builder.cert_type(CertType::Host).unwrap();
                builder.valid_principal("*.example.com").unwrap();
            },
            times,
        );
        assert_eq!(verdict(&text, ("b.example.com", 22), &pattern), Ok(()));
        let nobody = |builder: &mut Builder| {
            builder.cert_type(CertType::Host).unwrap().all_principals_valid().unwrap();
        };
        let nobody = certificate(&authority, &server, nobody, times);
        let refused = Err(Name("no host".into()));
        assert_eq!(verdict(&text, ("sftp.example.com", 22), &nobody), refused);
    }

    #[test]
    fn the_authority_must_be_trusted_for_the_host_and_not_revoked() {
        use HostCertificateRefused::{Authority, Revoked};
        let (authority, server, stranger) = (key(), key(), key());
        let it = certificate(&authority, &server, host, (NOW - 10, NOW + 10));
        let at = ("sftp.example.com", 22);
        let print = authority.public_key().fingerprint(HashAlg::Sha256).to_string();
        let unknown = Err(Authority(print, "sftp.example.com".into()));
        for (text, expected) in [
            (line("@cert-authority", "*.example.com", &authority), Ok(())),
            (line("@cert-authority", "*.example.org", &authority), unknown.clone()),
            (line("@cert-authority", "[*.example.com]:2222", &authority), unknown.clone()),
            (line("@cert-authority", "*", &stranger), unknown.clone()),
            // A plain line makes the key a host's, not an authority's.
            (line("", "sftp.example.com", &authority), unknown),
            (
                line("@cert-authority", "*", &authority) + &line("@revoked", "*", &server),
                Err(Revoked),
            ),
            (
                line("@cert-authority", "*", &authority) + &line("@revoked", "*", &authority),
                Err(Revoked),
            ),
            (line("@cert-authority", "*", &authority) + &line("@revoked", "*", &stranger), Ok(())),
        ] {
            assert_eq!(verdict(text.trim_start(), at, &it), expected, "{text}");
        }
    }

    #[test]
    fn dates_the_kind_options_and_the_signature_count() {
        use HostCertificateRefused::{CriticalOption, Expired, ForUser, NotYetValid, Signature};
        let (authority, server) = (key(), key());
        let text = line("@cert-authority", "*", &authority);
        let at = ("sftp.example.com", 22);
        let made = |times| certificate(&authority, &server, host, times);
        assert_eq!(verdict(&text, at, &made((NOW + 1, NOW + 9))), Err(NotYetValid));
        assert_eq!(verdict(&text, at, &made((NOW - 9, NOW))), Err(Expired));
        assert_eq!(verdict(&text, at, &made((NOW, NOW + 1))), Ok(()));
        assert_eq!(verdict(&text, at, &made((0, u64::MAX))), Ok(()));
        let user = |builder: &mut Builder| {
            builder.valid_principal("sftp.example.com").unwrap();
        };
        let times = (0, u64::MAX);
        let user = certificate(&authority, &server, user, times);
        assert_eq!(verdict(&text, at, &user), Err(ForUser));
        let with_option = |builder: &mut Builder| {
            host(builder);
            builder.critical_option("unknown@example.com", "x").unwrap();
        };
        let with_option = certificate(&authority, &server, with_option, times);
        let refused = Err(CriticalOption("unknown@example.com".into()));
        assert_eq!(verdict(&text, at, &with_option), refused);
        // The last byte belongs to the signature.
        let mut bytes = made(times).to_bytes().unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let forged = Certificate::from_bytes(&bytes).unwrap();
        assert_eq!(verdict(&text, at, &forged), Err(Signature));
    }
}
