//! Accounts with a certificate that the gateway signs for each login.

use std::time::Duration;

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::root::{USER_PLACEHOLDER, UserFolderError, check_name};
use super::root_text::other_braces;
use crate::auth::{CertificateAuthority, CertificateRequest, Credentials, MintError};

/// The longest name, in bytes: more than any system's accounts have.
const NAME_MAX: usize = 256;

/// `login: { certificate_authority: … }`: an account whose key and certificate are made for each login.
#[derive(Clone)]
pub struct MintedAccount {
    /// Who signs the certificates.
    pub authority: CertificateAuthority,
    /// The account at the server (`user`).
    pub user: AccountName,
    /// The certificate's one principal (`principal`).
    pub principal: AccountName,
    /// How long the certificate is valid (`valid_for`).
    pub valid_for: Duration,
    /// From where it may be used (`source_address`); empty: from anywhere.
    pub source_addresses: Vec<IpNet>,
    /// The program that the server runs instead of what is requested (`force_command`).
    pub force_command: Option<String>,
}

/// A name at a server, perhaps with `{user}` for the user's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName(String);

/// Why a user cannot have an account of its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountNameError {
    /// As for a folder.
    #[error(transparent)]
    Name(#[from] UserFolderError),
    /// SSH carries names in UTF-8 only.
    #[error("is not UTF-8")]
    NotUtf8,
    /// sshd takes what follows a colon for something else, and logs in as what stands before it.
    #[error("contains a colon, where servers end the name")]
    Colon,
    /// More than 256 bytes.
    #[error("makes an account's name longer than {NAME_MAX} bytes")]
    TooLong,
    /// The name would be that of the administrator.
    #[error("would be root at the server; if that is meant, write `root` into the configuration")]
    Root,
}

/// Why an account could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintedAccountError {
    /// The user's name cannot be used; fault: the client's.
    #[error("the user's name cannot replace `{{user}}` in the backend's `login`: it {0}")]
    Name(#[from] AccountNameError),
    /// The authority's key cannot sign; fault: the gateway's.
    #[error(transparent)]
    Mint(#[from] MintError),
}

impl MintedAccount {
    /// The credentials for one login of `user`: with a new key. `key_id` is for the server's log.
    ///
    /// # Errors
    /// If the user's name cannot be that of an account, or the authority's key cannot sign.
    pub fn mint(&self, user: &[u8], key_id: String) -> Result<Credentials, MintedAccountError> {
        let account = self.user.of(user)?;
        let request = CertificateRequest {
            principal: self.principal.of(user)?,
            key_id,
            valid_for: self.valid_for,
            source_addresses: self.source_addresses.clone(),
            force_command: self.force_command.clone(),
        };
        let key = Some(self.authority.sign(&request)?);
        let password = Zeroizing::default();
        Ok(Credentials {
            user: account.into_bytes(),
            password,
            account: None,
            sent: Default::default(),
            key,
        })
    }
}

impl AccountName {
    /// A name as configured.
    ///
    /// # Errors
    /// For braces other than those of `{user}`: the first such part.
    pub fn from_text(text: &str) -> Result<Self, &str> {
        other_braces(text).map_or_else(|| Ok(Self::new(text)), Err)
    }

    /// A name: `{user}` in it is replaced at each login.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it is another for each user.
    pub fn is_for_each_user(&self) -> bool {
        self.0.contains(USER_PLACEHOLDER)
    }

    /// The name for this user.
    pub fn of(&self, user: &[u8]) -> Result<String, AccountNameError> {
        if !self.is_for_each_user() {
            return Ok(self.0.clone());
        }
        check_name(user)?;
        let user = std::str::from_utf8(user).map_err(|_| AccountNameError::NotUtf8)?;
        if user.contains(':') {
            return Err(AccountNameError::Colon);
        }
        // What the name itself contains is not replaced.
        let name = self.0.split(USER_PLACEHOLDER).collect::<Vec<_>>().join(user);
        match name.as_str() {
            "root" => Err(AccountNameError::Root),
            "." | ".." => Err(UserFolderError::Dots.into()),
            _ if name.len() > NAME_MAX => Err(AccountNameError::TooLong),
            _ => Ok(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_name_replaces_the_placeholder() {
        for (configured, user, expected) in [
            ("{user}", &b"alice"[..], "alice"),
            ("sftp-{user}", b"alice", "sftp-alice"),
            ("{user}", "M\u{fc}ller".as_bytes(), "M\u{fc}ller"),
            ("{user}", b"a,b", "a,b"),
            ("{user}", b"alice@example.com", "alice@example.com"),
            ("{user}.{user}", b"{user}", "{user}.{user}"),
            // Written by the operator.
            ("root", b"alice", "root"),
            ("gateway", b"../x", "gateway"),
        ] {
            let name = AccountName::new(configured);
            assert_eq!(name.of(user), Ok(expected.to_owned()), "{configured}");
        }
    }

    #[test]
    fn names_that_could_be_another_account_are_refused() {
        use AccountNameError::{Colon, Name, NotUtf8, Root, TooLong};
        use UserFolderError::{Control, Dots, Empty, Separator};
        for (configured, user, expected) in [
            ("{user}", &b""[..], Name(Empty)),
            ("sftp-{user}", b"", Name(Empty)),
            ("{user}", b".", Name(Dots)),
            ("{user}", b"..", Name(Dots)),
            (".{user}", b".", Name(Dots)),
            ("{user}", b"a/b", Name(Separator)),
            ("{user}", b"DOMAIN\\alice", Name(Separator)),
            ("{user}", b"alice\0", Name(Control)),
            ("{user}", b"alice\nroot", Name(Control)),
            ("{user}", b"\x7f", Name(Control)),
            ("{user}", b"alice\xff", NotUtf8),
            ("{user}", b"root:x", Colon),
            ("{user}", b"root", Root),
            ("ro{user}", b"ot", Root),
            ("{user}", &[b'a'; NAME_MAX + 1], TooLong),
        ] {
            assert_eq!(AccountName::new(configured).of(user), Err(expected), "{configured}");
        }
    }
}
