//! The SSH algorithms that russh has, by name (RFC 4250 section 4.11), and their known weaknesses.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{cipher, kex, mac};

/// An algorithm of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum NamedAlgorithm {
    /// A key exchange method.
    Kex(kex::Name),
    /// A signature algorithm, of host keys and users' keys.
    Key(Algorithm),
    /// A cipher, with or without authentication of its own.
    Cipher(cipher::Name),
    /// A MAC; ciphers with authentication of their own need none.
    Mac(mac::Name),
}

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    Algorithm::Rsa { hash: None },
];

/// The algorithm of this name, except "none" and the names that only announce an extension.
pub fn algorithm_by_name(name: &str) -> Option<NamedAlgorithm> {
    all_algorithms().find(|algorithm| algorithm.as_str() == name)
}

/// All algorithms.
pub fn all_algorithms() -> impl Iterator<Item = NamedAlgorithm> {
    let kex = kex::ALL_KEX_ALGORITHMS.iter().filter(|name| ***name != kex::NONE);
    let is_cipher = |name: &&&cipher::Name| ![cipher::NONE, cipher::CLEAR].contains(name);
    let cipher = cipher::ALL_CIPHERS.iter().filter(is_cipher);
    let mac = mac::ALL_MAC_ALGORITHMS.iter().filter(|name| ***name != mac::NONE);
    (kex.map(|name| NamedAlgorithm::Kex(**name)))
        .chain(KEYS.iter().cloned().map(NamedAlgorithm::Key))
        .chain(cipher.map(|name| NamedAlgorithm::Cipher(**name)))
        .chain(mac.map(|name| NamedAlgorithm::Mac(**name)))
}

impl NamedAlgorithm {
    /// The name that is negotiated.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Kex(name) => name.as_ref(),
            Self::Key(name) => name.as_str(),
            Self::Cipher(name) => name.as_ref(),
            Self::Mac(name) => name.as_ref(),
        }
    }

    /// Why it is weak, and since when; `None` if it is not.
    pub fn weakness(&self) -> Option<&'static str> {
        Some(match self {
            Self::Kex(kex::DH_G1_SHA1) => {
                "its group of 1024 bits can be broken (Logjam, 2015; disabled in OpenSSH since 7.0, \
                 2015), which reveals everything that was sent"
            }
            Self::Kex(kex::DH_G14_SHA1 | kex::DH_GEX_SHA1) => {
                "SHA-1 is broken (collisions since 2017; disabled in OpenSSH since 8.2, 2020)"
            }
            Self::Key(Algorithm::Rsa { hash: None }) => {
                "its signatures use SHA-1, which is broken (collisions since 2017; disabled in OpenSSH \
                 since 8.8, 2021): an attacker who can compute collisions can impersonate others"
            }
            Self::Cipher(cipher::AES_128_CBC | cipher::AES_192_CBC | cipher::AES_256_CBC) => {
                "CBC reveals parts of the plaintext to an attacker who can tamper with the connection \
                 (CVE-2008-5161; disabled in OpenSSH's server since 6.7, 2014)"
            }
            Self::Cipher(cipher::TRIPLE_DES_CBC) => {
                "its blocks of 64 bits reveal plaintext in long transfers (Sweet32, CVE-2016-2183), and \
                 CBC to an attacker who can tamper with the connection (CVE-2008-5161)"
            }
            Self::Mac(mac::HMAC_SHA1 | mac::HMAC_SHA1_ETM) => {
                "SHA-1 is broken (collisions since 2017), though no attack on it as a MAC is known"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_found_by_name_and_none_is_not_an_algorithm() {
        let all: Vec<NamedAlgorithm> = all_algorithms().collect();
        for algorithm in &all {
            assert_eq!(algorithm_by_name(algorithm.as_str()).as_ref(), Some(algorithm));
        }
        for name in ["none", "clear", "ext-info-s", "kex-strict-s-v00@openssh.com", ""] {
            assert_eq!(algorithm_by_name(name), None, "{name}");
        }
        assert!(algorithm_by_name("ssh-rsa").unwrap().weakness().is_some());
        assert!(algorithm_by_name("rsa-sha2-512").unwrap().weakness().is_none());
    }
}
