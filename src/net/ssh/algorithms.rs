use std::borrow::Cow;

use russh::Preferred;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{cipher, kex, mac};

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_GEX_SHA256,
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

/// What is offered to everybody: no SHA-1, no CBC, strict key exchange, post-quantum first.
pub fn modern() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Borrowed(KEYS),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[russh::compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// As [`modern`], and behind it what old servers need: SHA-1, CBC and small groups.
pub fn legacy() -> Preferred {
    let modern = modern();
    let behind = |first: &[kex::Name], more: &[kex::Name]| [first, more].concat();
    Preferred {
        kex: behind(
            KEX,
            &[kex::DH_G14_SHA256, kex::DH_GEX_SHA1, kex::DH_G14_SHA1, kex::DH_G1_SHA1],
        )
        .into(),
        key: [KEYS, &[Algorithm::Rsa { hash: None }]].concat().into(),
        cipher: [CIPHERS, &[cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC]]
            .concat()
            .into(),
        mac: [MACS, &[mac::HMAC_SHA1_ETM, mac::HMAC_SHA1]].concat().into(),
        ..modern
    }
}
