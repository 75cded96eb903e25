//! What a login hook is asked: a JSON object (docs/login-hook.schema.json).

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use russh::keys::{HashAlg, PublicKey};
use serde::Serialize;
use zeroize::Zeroizing;

/// The longest user name, in bytes.
pub(super) const USER_MAX: usize = 512;
/// The longest password, in bytes: some are tokens.
const PASSWORD_MAX: usize = 16 * 1024;
/// The version of the protocol. A field with another meaning raises it; a new one does not.
const VERSION: u32 = 1;

/// A login that a hook decides about.
pub struct Question<'a> {
    /// The user name in bytes; without the backend's name on a route with `user_at_backend`.
    pub user: &'a [u8],
    /// What the client shows to prove who it is.
    pub shown: Shown<'a>,
    /// The client's TLS certificate, in DER, if the listener has verified one.
    pub certificate: Option<&'a [u8]>,
    /// The client's address.
    pub source: IpAddr,
    /// The listener's name in the configuration.
    pub listener: &'a str,
    /// `ftp`, `ftps` or `sftp`.
    pub protocol: &'a str,
    /// Whether the connection is under TLS or SSH.
    pub encrypted: bool,
    /// The backend's name in the configuration: the route's, or what the client named.
    pub backend: &'a str,
}

/// What a client shows.
pub enum Shown<'a> {
    /// A password in bytes.
    Password(&'a [u8]),
    /// A public key that it would sign with. An answer logs nobody in.
    OfferedKey(&'a PublicKey),
    /// A public key whose signature the gateway has verified.
    ProvedKey(&'a PublicKey),
}

/// A login that no hook can be asked about. Fault: the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadQuestion {
    /// JSON is UTF-8.
    #[error("the user name is not UTF-8, so a login hook cannot be asked")]
    UserNotUtf8,
    /// Names with line ends or NUL are traps for the programs behind a hook.
    #[error("the user name is empty or contains a control character")]
    UserControl,
    /// Longer than 512 bytes.
    #[error("the user name is longer than {USER_MAX} bytes")]
    UserTooLong,
    /// JSON is UTF-8.
    #[error("the password is not UTF-8, so a login hook cannot be asked")]
    PasswordNotUtf8,
    /// Longer than 16 KiB.
    #[error("the password is longer than {PASSWORD_MAX} bytes")]
    PasswordTooLong,
    /// OpenSSH's format cannot express the key.
    #[error("the public key cannot be written in OpenSSH's format")]
    Key,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    stage: &'static str,
    method: &'static str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<String>,
    source: IpAddr,
    listener: &'a str,
    protocol: &'a str,
    encrypted: bool,
    backend: &'a str,
}

impl Question<'_> {
    /// The JSON text. It is the same for the same question: nothing in it differs from one connection of a
    /// client to the next.
    pub(super) fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, BadQuestion> {
        let user = std::str::from_utf8(self.user).map_err(|_| BadQuestion::UserNotUtf8)?;
        if user.len() > USER_MAX {
            return Err(BadQuestion::UserTooLong);
        }
        if !is_name(user) {
            return Err(BadQuestion::UserControl);
        }
        let (stage, key) = match self.shown {
            Shown::Password(_) => ("login", None),
            Shown::OfferedKey(key) => ("offer", Some(key)),
            Shown::ProvedKey(key) => ("login", Some(key)),
        };
        let password = match self.shown {
            Shown::Password(password) if password.len() > PASSWORD_MAX => {
                return Err(BadQuestion::PasswordTooLong);
            }
            Shown::Password(password) => {
                Some(std::str::from_utf8(password).map_err(|_| BadQuestion::PasswordNotUtf8)?)
            }
            _ => None,
        };
        let document = Document {
            version: VERSION,
            stage,
            method: if key.is_some() { "publickey" } else { "password" },
            user,
            password,
            public_key: key.map(openssh).transpose()?,
            fingerprint: key.map(|key| key.fingerprint(HashAlg::Sha256).to_string()),
            client_certificate: self.certificate.map(|der| BASE64_STANDARD.encode(der)),
            source: self.source,
            listener: self.listener,
            protocol: self.protocol,
            encrypted: self.encrypted,
            backend: self.backend,
        };
        // Enough for every escape, so that no copy of the password is left where the text has grown.
        let password_max = password.map_or(0, |password| 6 * password.len());
        let mut text = Zeroizing::new(Vec::with_capacity(password_max + 16 * 1024));
        serde_json::to_writer(&mut *text, &document).map_err(|_| BadQuestion::Key)?;
        Ok(text)
    }
}

/// Not empty, without control characters.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

/// A line of authorized_keys without the comment, which nobody has signed.
fn openssh(key: &PublicKey) -> Result<String, BadQuestion> {
    let line = key.to_openssh().map_err(|_| BadQuestion::Key)?;
    Ok(line.split(' ').take(2).collect::<Vec<_>>().join(" "))
}
