use std::borrow::Cow;

use russh::Preferred;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{cipher, kex, mac};

use crate::wire::ssh::{self, ClientOffer};

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
];

/// For backends only: finite fields cost a client nothing to ask for, and a server much to answer,
/// before any login (CVE-2002-20001).
const FINITE_FIELDS: &[kex::Name] = &[kex::DH_G16_SHA512, kex::DH_GEX_SHA256];

const OLD_KEX: &[kex::Name] =
    &[kex::DH_G14_SHA256, kex::DH_GEX_SHA1, kex::DH_G14_SHA1, kex::DH_G1_SHA1];

const MARKERS: &[kex::Name] = &[
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// AES first: both usual architectures have it in hardware.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

const MACS: &[mac::Name] =
    &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// What a front offers: no SHA-1, no CBC, strict key exchange, post-quantum first.
pub fn server() -> Preferred {
    Preferred {
        kex: [KEX, MARKERS].concat().into(),
        key: Cow::Borrowed(KEYS),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[russh::compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// What a front and a client with this offer agree on, for the log.
pub fn describe(offer: &ClientOffer) -> String {
    let key_exchanges: Vec<&str> = KEX.iter().map(AsRef::as_ref).collect();
    let ciphers: Vec<&str> = CIPHERS.iter().map(AsRef::as_ref).collect();
    let key_exchange = ssh::chosen(&offer.key_exchanges, &key_exchanges).unwrap_or("?");
    let cipher = ssh::chosen(&offer.ciphers, &ciphers).unwrap_or("?");
    format!("SSH {key_exchange} {cipher}")
}

/// Whether a user's signature may be made this way: russh takes all that it knows, SHA-1 too.
pub fn is_modern_signature(algorithm: &Algorithm) -> bool {
    KEYS.contains(algorithm)
}

/// What backends are offered: as [`server`], and large finite-field groups.
pub fn client() -> Preferred {
    Preferred { kex: [KEX, FINITE_FIELDS, MARKERS].concat().into(), ..server() }
}

/// As [`client`], and behind it what old servers need: SHA-1, CBC and small groups.
pub fn legacy_client() -> Preferred {
    Preferred {
        kex: [KEX, FINITE_FIELDS, OLD_KEX, MARKERS].concat().into(),
        key: [KEYS, &[Algorithm::Rsa { hash: None }]].concat().into(),
        cipher: [CIPHERS, &[cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC]]
            .concat()
            .into(),
        mac: [MACS, &[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]].concat().into(),
        ..client()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_backends_are_offered_finite_fields() {
        let finite = |offered: &Preferred| {
            offered.kex.iter().filter(|name| name.as_ref().starts_with("diffie-hellman")).count()
        };
        assert_eq!(finite(&server()), 0);
        assert_eq!(finite(&client()), 2);
        assert!(finite(&legacy_client()) > 2);
        assert_eq!(server().kex[0], kex::MLKEM768X25519_SHA256);
    }
}
