//! SSH algorithms, fingerprints and sizes.

use std::time::Duration;

use russh::keys::ssh_key::Fingerprint as Digest;
use russh::keys::{HashAlg, PublicKey};
use serde_json::{Value as Json, json};

use super::common::{Text, parse_bytes};
use crate::config::leaf::{Invalid, Value};
use crate::config::nearest::nearest;
use crate::net::ssh::{algorithm_by_name, all_algorithms};
use crate::route::{AccountName, USER_PLACEHOLDER};

const VALIDITY_MIN: Duration = Duration::from_secs(30);
const VALIDITY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The SHA-256 fingerprint of a host key, in OpenSSH's form.
#[derive(Clone)]
pub(in crate::config) struct Fingerprint(pub String);

impl Value for Fingerprint {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if fits(text) {
            return Ok(Self(text.into()));
        }
        let message =
            format!("\"{text}\" is not a SHA-256 fingerprint (\"SHA256:\" and 43 characters)");
        if let Some(key) = public_key(text) {
            let suggestion = key.fingerprint(HashAlg::Sha256).to_string();
            return Invalid::with_suggestion("is a host key; write its fingerprint", suggestion);
        }
        let hexadecimal = text.strip_prefix("MD5:").unwrap_or(text);
        if hexadecimal.split(':').all(|pair| pair.len() == 2) {
            return Invalid::new(format!(
                "\"{text}\" is an MD5 fingerprint, which is not secure; `ssh-keyscan HOST | ssh-keygen \
                 -lf -` prints the SHA-256 one"
            ));
        }
        let bare = text.trim().trim_end_matches('=');
        let bare = bare.split_once(':').map_or(bare, |(_, base64)| base64);
        let suggestion = Some(format!("SHA256:{bare}")).filter(|suggestion| fits(suggestion));
        Err(Invalid { message, suggestion })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a fingerprint", "pattern": "^SHA256:[A-Za-z0-9+/]{43}$" })
    }
}

/// An SSH algorithm of any kind.
#[derive(Clone)]
pub(in crate::config) struct AlgorithmName(pub String);

impl Value for AlgorithmName {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if algorithm_by_name(text).is_some() {
            return Ok(Self(text.into()));
        }
        if text == "none" {
            return Invalid::new(
                "\"none\" cannot be added: it would leave connections unprotected",
            );
        }
        let all: Vec<_> = all_algorithms().collect();
        let suggestion = nearest(text, all.iter().map(|algorithm| algorithm.as_str()));
        Err(Invalid { message: format!("\"{text}\" is not a known SSH algorithm"), suggestion })
    }

    fn schema() -> Json {
        let all: Vec<_> = all_algorithms().map(|algorithm| algorithm.as_str().to_owned()).collect();
        json!({ "enum": all })
    }
}

/// A name at a server, perhaps with `{user}`.
impl Value for AccountName {
    fn parse(text: &str) -> Result<Self, Invalid> {
        Text::parse(text)?;
        Self::from_text(text).or_else(|wrong| {
            Invalid::new(format!(
                "`{wrong}` is not replaced: only `{USER_PLACEHOLDER}` is, by the user's name"
            ))
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a name", "pattern": r"^([^{}]|\{user\})+$" })
    }
}

/// How long a signed certificate is valid: long enough to connect, too short to be of use to a thief.
#[derive(Clone, Copy)]
pub(in crate::config) struct Validity(pub Duration);

impl Value for Validity {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let valid = Duration::parse(text)?;
        if (VALIDITY_MIN..=VALIDITY_MAX).contains(&valid) {
            return Ok(Self(valid));
        }
        Invalid::new(format!("\"{text}\" is not between 30s and 24h"))
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a duration" })
    }
}

fn fits(text: &str) -> bool {
    text.parse::<Digest>().is_ok_and(|digest| digest.is_sha256() && digest.to_string() == text)
}

/// `ssh-ed25519 AAAA…`, or a line of ssh-keyscan with the host before it.
fn public_key(text: &str) -> Option<PublicKey> {
    let after_host = || PublicKey::from_openssh(text.split_once(' ')?.1).ok();
    PublicKey::from_openssh(text).ok().or_else(after_host)
}

/// "512MiB": from 1 MiB, so that key exchanges do not dominate, to 1 GiB, the most that SSH should
/// transfer with one key (RFC 4253 section 9).
#[derive(Clone, Copy)]
pub(in crate::config) struct RekeyBytes(pub u64);

impl Value for RekeyBytes {
    fn parse(text: &str) -> Result<Self, Invalid> {
        match parse_bytes(text)? {
            Some(bytes) if ((1 << 20)..=(1 << 30)).contains(&bytes) => Ok(Self(bytes)),
            _ => Invalid::new(format!("\"{text}\" is not between 1MiB and 1GiB")),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a size", "pattern": "^[0-9]+(KiB|MiB|GiB)$" })
    }
}
