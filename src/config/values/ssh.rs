use russh::keys::ssh_key::Fingerprint as Digest;
use russh::keys::{HashAlg, PublicKey};
use serde_json::{Value as Json, json};

use super::common::parse_bytes;
use crate::config::leaf::{Value, Wrong};
use crate::config::nearest::nearest;
use crate::net::ssh::{algorithm_by_name, all_algorithms};

/// The SHA-256 fingerprint of a host key, in OpenSSH's form.
#[derive(Clone)]
pub(in crate::config) struct Fingerprint(pub String);

impl Value for Fingerprint {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if fits(text) {
            return Ok(Self(text.into()));
        }
        let message =
            format!("\"{text}\" is no SHA-256 fingerprint (\"SHA256:\" and 43 characters)");
        if let Some(key) = whole_key(text) {
            let meant = key.fingerprint(HashAlg::Sha256).to_string();
            return Wrong::meant("is a host key, and its fingerprint is expected", meant);
        }
        let hexadecimal = text.strip_prefix("MD5:").unwrap_or(text);
        if hexadecimal.split(':').all(|pair| pair.len() == 2) {
            return Wrong::new(format!(
                "\"{text}\" is an MD5 fingerprint, which no longer proves anything; \
                 `ssh-keyscan HOST | ssh-keygen -lf -` prints the SHA-256 one"
            ));
        }
        let bare = text.trim().trim_end_matches('=');
        let bare = bare.split_once(':').map_or(bare, |(_, base64)| base64);
        let meant = Some(format!("SHA256:{bare}")).filter(|meant| fits(meant));
        Err(Wrong { message, meant })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^SHA256:[A-Za-z0-9+/]{43}$" })
    }
}

/// An SSH algorithm of any kind that can be offered.
#[derive(Clone)]
pub(in crate::config) struct AlgorithmName(pub String);

impl Value for AlgorithmName {
    fn parse(text: &str) -> Result<Self, Wrong> {
        if algorithm_by_name(text).is_some() {
            return Ok(Self(text.into()));
        }
        if text == "none" {
            return Wrong::new("\"none\" cannot be added: it would leave connections unprotected");
        }
        let all: Vec<_> = all_algorithms().collect();
        let meant = nearest(text, all.iter().map(|algorithm| algorithm.as_str()));
        Err(Wrong { message: format!("\"{text}\" is no SSH algorithm that is known here"), meant })
    }

    fn schema() -> Json {
        let all: Vec<_> = all_algorithms().map(|algorithm| algorithm.as_str().to_owned()).collect();
        json!({ "enum": all })
    }
}

fn fits(text: &str) -> bool {
    text.parse::<Digest>().is_ok_and(|digest| digest.is_sha256() && digest.to_string() == text)
}

/// `ssh-ed25519 AAAA…`, or a line of ssh-keyscan with the host before it.
fn whole_key(text: &str) -> Option<PublicKey> {
    let behind_host = || PublicKey::from_openssh(text.split_once(' ')?.1).ok();
    PublicKey::from_openssh(text).ok().or_else(behind_host)
}

/// "512MiB": from 1 MiB, so that exchanges of keys are not all that happens, to 1 GiB, which is the
/// most that SSH should go on with one key (RFC 4253, section 9).
#[derive(Clone, Copy)]
pub(in crate::config) struct RekeyBytes(pub u64);

impl Value for RekeyBytes {
    fn parse(text: &str) -> Result<Self, Wrong> {
        match parse_bytes(text)? {
            Some(bytes) if ((1 << 20)..=(1 << 30)).contains(&bytes) => Ok(Self(bytes)),
            _ => Wrong::new(format!("\"{text}\" is not between 1MiB and 1GiB")),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)$" })
    }
}
