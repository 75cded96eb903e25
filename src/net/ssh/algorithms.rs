//! The SSH algorithms that listeners and backends offer (RFC 4253 section 7.1).

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::{Preferred, cipher, client, kex, mac};

use super::names::{NamedAlgorithm, algorithm_by_name};
use crate::net::{Protection, Protocol};
use crate::wire::ssh::{self, ClientOffer};

/// Passes ssh-audit without a finding: no key exchange that a quantum computer breaks, no NIST curves, no
/// MAC over plaintext.
const STRICT: Lists = Lists {
    kex: Cow::Borrowed(&[kex::MLKEM768X25519_SHA256]),
    key: Cow::Borrowed(&[
        Algorithm::Ed25519,
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]),
    // Without chacha20-poly1305: it is open to the Terrapin attack (CVE-2023-48795) with a client that
    // does not support strict key exchange.
    cipher: Cow::Borrowed(&[
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::AES_128_CTR,
        cipher::AES_192_CTR,
        cipher::AES_256_CTR,
    ]),
    mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
};

/// No SHA-1, no CBC, post-quantum first. With NIST curves and plain hmac-sha2, since old Java clients
/// (JSch 0.1.54) support nothing newer.
const MODERN: Lists = Lists {
    kex: Cow::Borrowed(&[
        kex::MLKEM768X25519_SHA256,
        kex::CURVE25519,
        kex::CURVE25519_PRE_RFC_8731,
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
    ]),
    key: Cow::Borrowed(&[
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]),
    // AES first: both usual architectures have it in hardware.
    cipher: Cow::Borrowed(&[
        cipher::AES_128_GCM,
        cipher::AES_256_GCM,
        cipher::CHACHA20_POLY1305,
        cipher::AES_128_CTR,
        cipher::AES_192_CTR,
        cipher::AES_256_CTR,
    ]),
    mac: Cow::Borrowed(&[
        mac::HMAC_SHA256_ETM,
        mac::HMAC_SHA512_ETM,
        mac::HMAC_SHA256,
        mac::HMAC_SHA512,
    ]),
};

/// `modern` has them towards backends only: finite fields cost a client nothing to request, and a server
/// much to compute, before any login (CVE-2002-20001).
const FINITE_FIELDS: &[kex::Name] = &[kex::DH_G16_SHA512, kex::DH_GEX_SHA256];

/// `legacy` adds these to `modern`, after the finite fields.
const LEGACY_ADDITIONS: Lists = Lists {
    kex: Cow::Borrowed(&[kex::DH_G14_SHA256, kex::DH_GEX_SHA1, kex::DH_G14_SHA1, kex::DH_G1_SHA1]),
    key: Cow::Borrowed(&[Algorithm::Rsa { hash: None }]),
    cipher: Cow::Borrowed(&[
        cipher::AES_256_CBC,
        cipher::AES_192_CBC,
        cipher::AES_128_CBC,
        cipher::TRIPLE_DES_CBC,
    ]),
    mac: Cow::Borrowed(&[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]),
};

const MARKERS: &[kex::Name] = &[
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// ssh-audit accepts no smaller RSA key.
const STRICT_RSA_BITS_MIN: u32 = 3072;

/// Group exchange towards old servers, in bits: russh's minimum, OpenSSH's preference with the usual
/// ciphers, and the largest group of servers.
const LEGACY_GROUP_BITS: (usize, usize, usize) = (2048, 3072, 8192);

/// Which end of a connection offers the algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// An SFTP listener, towards clients.
    Listener,
    /// An SFTP backend, towards its server.
    Backend,
}

/// A predefined list of algorithms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Base {
    /// Passes ssh-audit without a finding.
    Strict,
    /// The default: without known weaknesses; finite fields towards backends only.
    #[default]
    Modern,
    /// [`Modern`](Self::Modern), followed by finite fields, SHA-1, CBC and `ssh-rsa`.
    Legacy,
}

/// What one end offers and accepts: a base and the additions to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Algorithms {
    side: Side,
    base: Base,
    lists: Lists,
}

/// Why an algorithm cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The base already contains it.
    #[error("the base already contains it")]
    InBase,
    /// The additions already contain it.
    #[error("it is listed twice")]
    Twice,
    /// A finite field of more than 4096 bits, at a listener.
    #[error(
        "a listener does not offer it: a key exchange with a group of this size occupies a core for \
         seconds, before any login; the largest allowed is diffie-hellman-group16-sha512"
    )]
    TooLarge,
}

#[derive(Debug, Clone, PartialEq)]
struct Lists {
    kex: Cow<'static, [kex::Name]>,
    key: Cow<'static, [Algorithm]>,
    cipher: Cow<'static, [cipher::Name]>,
    mac: Cow<'static, [mac::Name]>,
}

impl Algorithms {
    /// The algorithms of `base` for this side, without additions.
    pub fn new(side: Side, base: Base) -> Self {
        let mut lists = match base {
            Base::Strict => STRICT,
            Base::Modern | Base::Legacy => MODERN,
        };
        if base == Base::Legacy || (base == Base::Modern && side == Side::Backend) {
            lists.kex.to_mut().extend(FINITE_FIELDS);
        }
        if base == Base::Legacy {
            lists.kex.to_mut().extend_from_slice(&LEGACY_ADDITIONS.kex);
            lists.key.to_mut().extend_from_slice(&LEGACY_ADDITIONS.key);
            lists.cipher.to_mut().extend_from_slice(&LEGACY_ADDITIONS.cipher);
            lists.mac.to_mut().extend_from_slice(&LEGACY_ADDITIONS.mac);
        }
        Self { side, base, lists }
    }

    /// Appends an algorithm to those of its kind.
    ///
    /// # Errors
    /// When it is present already, or too costly for a listener.
    pub fn add(&mut self, added: &NamedAlgorithm) -> Result<(), AddError> {
        if self.side == Side::Listener
            && let NamedAlgorithm::Kex(kex::DH_G17_SHA512 | kex::DH_G18_SHA512) = added
        {
            return Err(AddError::TooLarge);
        }
        if self.has(added) {
            let in_base = Self::new(self.side, self.base).has(added);
            return Err(if in_base { AddError::InBase } else { AddError::Twice });
        }
        match added.clone() {
            NamedAlgorithm::Kex(name) => self.lists.kex.to_mut().push(name),
            NamedAlgorithm::Key(name) => self.lists.key.to_mut().push(name),
            NamedAlgorithm::Cipher(name) => self.lists.cipher.to_mut().push(name),
            NamedAlgorithm::Mac(name) => self.lists.mac.to_mut().push(name),
        }
        Ok(())
    }

    fn has(&self, name: &NamedAlgorithm) -> bool {
        match name {
            NamedAlgorithm::Kex(name) => self.lists.kex.contains(name),
            NamedAlgorithm::Key(name) => self.lists.key.contains(name),
            NamedAlgorithm::Cipher(name) => self.lists.cipher.contains(name),
            NamedAlgorithm::Mac(name) => self.lists.mac.contains(name),
        }
    }

    /// The setting that would add the first of the peer's `offered` algorithms that can be added.
    pub fn suggestion(&self, offered: &[String]) -> Option<String> {
        let is_possible = |name: &&String| {
            algorithm_by_name(name).is_some_and(|algorithm| self.clone().add(&algorithm).is_ok())
        };
        let base = match self.base {
            Base::Strict => "strict",
            Base::Modern => "modern",
            Base::Legacy => "legacy",
        };
        let name = offered.iter().find(is_possible)?;
        Some(format!("`algorithms: {{ base: {base}, add: [{name}] }}`"))
    }

    /// For russh, as server or client.
    pub fn preferred(&self) -> Preferred {
        let Lists { kex, key, cipher, mac } = self.lists.clone();
        Preferred {
            // Strict key exchange (kex-strict-*) is always offered.
            kex: [&kex[..], MARKERS].concat().into(),
            key,
            cipher,
            mac,
            compression: Cow::Borrowed(&[russh::compression::NONE]),
            ..Preferred::DEFAULT
        }
    }

    /// The group sizes to request from a server in a group exchange.
    pub fn group_exchange(&self) -> client::GexParams {
        let (min, preferred, max) = LEGACY_GROUP_BITS;
        match self.base {
            Base::Legacy => client::GexParams::new(min, preferred, max).unwrap_or_default(),
            Base::Strict | Base::Modern => client::GexParams::default(),
        }
    }

    /// Whether an offered key exchange uses a finite field, which is costly.
    pub fn has_finite_fields(&self) -> bool {
        self.lists.kex.iter().any(is_finite_field)
    }

    /// Whether the key exchange that is negotiated with this client uses a finite field.
    pub fn negotiates_finite_field(&self, offer: &ClientOffer) -> bool {
        let negotiated = ssh::negotiated(&offer.key_exchanges, &names(&self.lists.kex));
        negotiated.is_some_and(|name| {
            self.lists.kex.iter().any(|k| k.as_ref() == name && is_finite_field(k))
        })
    }

    /// Whether a host's or user's signature with this algorithm (RFC 8332) is accepted: russh itself
    /// accepts all, SHA-1 too.
    pub fn accepts_signature(&self, signature: &Algorithm) -> bool {
        self.lists.key.contains(signature)
    }

    /// Whether this host key is offered to clients.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check_host_key(&self, key: &PrivateKey) -> Result<(), String> {
        let kind = key.algorithm();
        if !self.accepts_host_key(&kind) {
            return Err(format!("{kind} keys are not offered"));
        }
        let bits = key.public_key().key_data().rsa().map(|rsa| rsa.key_size());
        match bits {
            Some(bits) if self.base == Base::Strict && bits < STRICT_RSA_BITS_MIN => Err(format!(
                "an RSA key of {bits} bits is not offered; at least {STRICT_RSA_BITS_MIN} are required"
            )),
            _ => Ok(()),
        }
    }

    /// Whether host keys of this kind are accepted; an RSA key signs with any hash.
    pub fn accepts_host_key(&self, kind: &Algorithm) -> bool {
        let is_rsa = |kind: &Algorithm| matches!(kind, Algorithm::Rsa { .. });
        self.lists.key.iter().any(|taken| taken == kind || (is_rsa(taken) && is_rsa(kind)))
    }

    /// The key exchange and cipher that are negotiated with this client.
    pub fn protection(&self, offer: &ClientOffer) -> Protection {
        let key_exchange = ssh::negotiated(&offer.key_exchanges, &names(&self.lists.kex));
        let cipher = ssh::negotiated(&offer.ciphers, &names(&self.lists.cipher));
        Protection {
            protocol: Protocol::Ssh,
            version: Some("2.0"),
            cipher: cipher.map(str::to_owned),
            key_exchange: key_exchange.map(str::to_owned),
        }
    }
}

fn names<T: AsRef<str>>(list: &[T]) -> Vec<&str> {
    list.iter().map(AsRef::as_ref).collect()
}

fn is_finite_field(name: &kex::Name) -> bool {
    name.as_ref().starts_with("diffie-hellman-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finite(algorithms: &Algorithms) -> usize {
        algorithms.lists.kex.iter().filter(|name| is_finite_field(name)).count()
    }

    #[test]
    fn finite_fields_are_offered_by_legacy_listeners_and_by_backends() {
        assert_eq!(finite(&Algorithms::new(Side::Listener, Base::Modern)), 0);
        assert!(!Algorithms::new(Side::Listener, Base::Modern).has_finite_fields());
        assert_eq!(finite(&Algorithms::new(Side::Backend, Base::Modern)), 2);
        for side in [Side::Listener, Side::Backend] {
            assert_eq!(finite(&Algorithms::new(side, Base::Strict)), 0);
            assert_eq!(finite(&Algorithms::new(side, Base::Legacy)), 6);
            for base in [Base::Strict, Base::Modern, Base::Legacy] {
                let offered = Algorithms::new(side, base).preferred();
                assert_eq!(offered.kex[0], kex::MLKEM768X25519_SHA256);
                assert!(offered.kex.contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER));
            }
        }
    }

    #[test]
    fn added_algorithms_are_offered_last_and_once() {
        let mut algorithms = Algorithms::new(Side::Listener, Base::Modern);
        let offered =
            ["curve25519-sha256", "nonsense", "diffie-hellman-group14-sha256", "hmac-sha1"]
                .map(str::to_owned);
        let suggestion = "`algorithms: { base: modern, add: [diffie-hellman-group14-sha256] }`";
        assert_eq!(algorithms.suggestion(&offered).as_deref(), Some(suggestion));
        assert_eq!(algorithms.suggestion(&offered[..2]), None);
        let mut add = |name: &str| algorithms.add(&algorithm_by_name(name).unwrap());
        assert_eq!(add("diffie-hellman-group14-sha256"), Ok(()));
        assert_eq!(add("diffie-hellman-group14-sha256"), Err(AddError::Twice));
        assert_eq!(add("curve25519-sha256"), Err(AddError::InBase));
        assert_eq!(add("diffie-hellman-group18-sha512"), Err(AddError::TooLarge));
        for name in ["ssh-rsa", "aes128-cbc", "hmac-sha1"] {
            assert_eq!(add(name), Ok(()));
        }
        let offered = algorithms.preferred();
        assert_eq!(offered.kex[offered.kex.len() - MARKERS.len() - 1], kex::DH_G14_SHA256);
        assert_eq!(offered.key.last(), Some(&Algorithm::Rsa { hash: None }));
        assert_eq!(offered.cipher.last(), Some(&cipher::AES_128_CBC));
        assert_eq!(offered.mac.last(), Some(&mac::HMAC_SHA1));
        assert!(algorithms.has_finite_fields());
        let mut backend = Algorithms::new(Side::Backend, Base::Modern);
        assert_eq!(
            backend.add(&algorithm_by_name("diffie-hellman-group18-sha512").unwrap()),
            Ok(())
        );
    }

    #[test]
    fn the_clients_first_supported_choice_decides_about_finite_fields() {
        let legacy = Algorithms::new(Side::Listener, Base::Legacy);
        let offer = |key_exchanges: &[&str]| ClientOffer {
            identification: Vec::new(),
            key_exchanges: key_exchanges.iter().map(|&name| name.to_owned()).collect(),
            host_keys: Vec::new(),
            ciphers: Vec::new(),
        };
        let (old, new) = ("diffie-hellman-group1-sha1", "curve25519-sha256");
        assert!(legacy.negotiates_finite_field(&offer(&["unknown", "ext-info-c", old, new])));
        assert!(!legacy.negotiates_finite_field(&offer(&[new, old])));
        assert!(!legacy.negotiates_finite_field(&offer(&["unknown"])));
        let modern = Algorithms::new(Side::Listener, Base::Modern);
        assert!(!modern.negotiates_finite_field(&offer(&[old, new])));
    }
}
