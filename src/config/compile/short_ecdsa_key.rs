//! P-256 keys in OpenSSH's format (its PROTOCOL.key) whose private number is short.
//!
//! OpenSSH writes that number as an mpint (RFC 4251 section 5), without leading zeros. Of 512 such
//! keys one takes less than 32 bytes, and the library refuses it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use russh::keys::ssh_encoding::Decode as _;
use russh::keys::ssh_key::private::{EcdsaKeypair, KeypairData};
use russh::keys::ssh_key::public::{EcdsaPublicKey, KeyData};
use russh::keys::ssh_key::{Cipher, Error, Kdf};
use russh::keys::{self, PrivateKey};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Of P-256.
const SCALAR_SIZE: usize = 32;
/// Of the ciphers that have a tag.
const TAG_SIZE: usize = 16;

/// Decodes `text` as [`keys::decode_secret_key`] does, also if the private number is short.
pub(super) fn decode_secret_key(
    text: &str,
    passphrase: Option<&str>,
) -> Result<PrivateKey, keys::Error> {
    keys::decode_secret_key(text, passphrase).or_else(|e| match e {
        keys::Error::SshKey(Error::Encoding(keys::ssh_encoding::Error::Length)) => {
            short_key(text, passphrase).ok_or(e)
        }
        other => Err(other),
    })
}

/// `None` if `text` is no such key.
fn short_key(text: &str, passphrase: Option<&str>) -> Option<PrivateKey> {
    let section = private_section(text, passphrase).ok()?;
    let keypair = keypair(&mut section.as_slice()).ok()?;
    PrivateKey::new(KeypairData::Ecdsa(keypair), "").ok()
}

/// The private section, decrypted.
fn private_section(text: &str, passphrase: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let begin = text.find(BEGIN).ok_or(Error::FormatEncoding)? + BEGIN.len();
    let end = text.find(END).ok_or(Error::FormatEncoding)?;
    let base64 = text.get(begin..end).ok_or(Error::FormatEncoding)?;
    let base64: Zeroizing<Vec<u8>> =
        Zeroizing::new(base64.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let bytes = BASE64_STANDARD.decode(&base64).map_err(|_| Error::FormatEncoding)?;
    let bytes = Zeroizing::new(bytes);
    let mut reader = bytes.strip_prefix(MAGIC).ok_or(Error::FormatEncoding)?;

    let cipher = Cipher::new(&String::decode(&mut reader)?)?;
    let kdf = Kdf::decode(&mut reader)?;
    let _keys = u32::decode(&mut reader)?;
    let _public = Vec::<u8>::decode(&mut reader)?;
    let mut section = Zeroizing::new(Vec::<u8>::decode(&mut reader)?);
    if cipher.is_some() {
        let tag = |rest| <[u8; TAG_SIZE]>::try_from(rest).map_err(|_| Error::FormatEncoding);
        let tag = cipher.has_tag().then(|| tag(reader)).transpose()?;
        let (key, iv) = kdf.derive_key_and_iv(cipher, passphrase.ok_or(Error::Encrypted)?)?;
        cipher.decrypt(&key, &iv, &mut section, tag.map(Into::into))?;
    }
    Ok(section)
}

/// The first keypair of a private section, PROTOCOL.key section 3.
fn keypair(reader: &mut &[u8]) -> Result<EcdsaKeypair, Error> {
    if u32::decode(reader)? != u32::decode(reader)? {
        return Err(Error::Crypto);
    }
    let KeyData::Ecdsa(EcdsaPublicKey::NistP256(public)) = KeyData::decode(reader)? else {
        return Err(Error::FormatEncoding);
    };
    let number = Zeroizing::new(Vec::<u8>::decode(reader)?);
    let zeros = SCALAR_SIZE.checked_sub(number.len()).ok_or(Error::FormatEncoding)?;
    let mut scalar = Zeroizing::new([0; SCALAR_SIZE]);
    scalar[zeros..].copy_from_slice(&number);
    Ok(EcdsaKeypair::NistP256 { public, private: (*scalar).into() })
}

#[cfg(test)]
mod tests {
    use russh::keys::HashAlg;

    use super::*;

    const PLAIN: &str = include_str!("../tests/keys/short_ecdsa");
    const LOCKED: [&str; 2] = [
        include_str!("../tests/keys/short_ecdsa_locked"),
        include_str!("../tests/keys/short_ecdsa_locked_gcm"),
    ];

    #[test]
    fn short_private_numbers_are_read() {
        // If this fails, the library reads such keys by itself, and this file can go.
        assert!(keys::decode_secret_key(PLAIN, None).is_err());

        let plain = decode_secret_key(PLAIN, None).unwrap();
        let locked = LOCKED.map(|text| decode_secret_key(text, Some("passphrase")).unwrap());
        for key in locked.iter().chain([&plain]) {
            let signature = key.sign("test", HashAlg::Sha256, b"message").unwrap();
            plain.public_key().verify("test", b"message", &signature).unwrap();
        }
    }

    #[test]
    fn what_is_damaged_stays_an_error() {
        for text in LOCKED {
            assert!(decode_secret_key(text, Some("Passphrase")).is_err());
            assert!(decode_secret_key(text, None).is_err());
        }
        let lines: Vec<&str> = PLAIN.lines().collect();
        for left_out in 0..lines.len() {
            let mut kept = lines.clone();
            kept.remove(left_out);
            assert!(decode_secret_key(&kept.join("\n"), None).is_err(), "without line {left_out}");
        }
        for end in 0..PLAIN.trim_end().len() {
            assert!(decode_secret_key(&PLAIN[..end], None).is_err(), "cut after {end} bytes");
        }
    }
}
