//! `login` of a backend: `pass-through`, or an account.

use ipnet::IpNet;
use serde_json::{Value as Json, json};

use crate::config::leaf::{Invalid, Leaf, OneOrMore, Value};
use crate::config::nearest::nearest;
use crate::config::read::{Key, Read, section};
use crate::config::report::{Location, Problems};
use crate::config::tree::{Kind, Node};
use crate::config::values::{FileName, Text, Validity};
use crate::route::AccountName;

/// How the gateway logs in at a backend.
pub(in crate::config) struct Login {
    pub at: Location,
    /// `None` for `pass-through`.
    pub account: Option<Account>,
}

struct PassThrough;

impl Value for PassThrough {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "pass-through" {
            return Ok(Self);
        }
        let message = format!("\"{text}\" is neither pass-through nor an account ({{ user: … }})");
        Err(Invalid { message, suggestion: nearest(text, ["pass-through"]) })
    }

    fn schema() -> Json {
        json!({ "const": "pass-through" })
    }
}

impl Read for Login {
    fn read(node: &Node, at: Location, problems: &mut Problems) -> Self {
        let account = match &node.kind {
            Kind::Map(_) => Some(Account::read(node, at.clone(), problems)),
            _ => {
                Leaf::<PassThrough>::read(node, at.clone(), problems);
                None
            }
        };
        Self { at, account }
    }

    fn at(&self) -> &Location {
        &self.at
    }

    fn schema() -> Json {
        json!({ "anyOf": [PassThrough::schema(), Account::schema()] })
    }

    fn keys() -> Vec<&'static str> {
        Account::keys()
    }

    fn section_keys() -> Vec<Key> {
        Account::section_keys()
    }
}

section! {
    /// The account that the gateway uses at a server.
    Account {
        /// Its name. With certificate_authority, `{user}` in it is replaced by the user's name, and it may be
        /// absent: "{user}".
        user: Leaf<Text>,
        /// A file that contains only its password.
        password_file: Leaf<FileName>,
        /// The environment variable with its password.
        password_env: Leaf<Text>,
        /// sftp: instead of a password, the file with its private key (OpenSSH or PEM format).
        private_key: Leaf<FileName>,
        /// sftp: a file that contains only the private key's passphrase.
        passphrase_file: Leaf<FileName>,
        /// sftp: instead of a password or key, the file with the private key of a certificate authority
        /// that the server trusts (TrustedUserCAKeys): for each login the gateway makes a key, and signs a
        /// short-lived certificate for it.
        certificate_authority: Leaf<FileName>,
        /// sftp, with certificate_authority: the certificate's principal. `{user}` in it is replaced by the
        /// user's name. Absent: `user`.
        principal: Leaf<AccountName>,
        /// sftp, with certificate_authority: how long a certificate is valid, from 30s to 24h. Default: 5m.
        valid_for: Leaf<Validity>,
        /// sftp, with certificate_authority: the networks from which the certificate may be used: the
        /// gateway's address as the server sees it, or a list. Absent: anywhere.
        source_address: OneOrMore<IpNet>,
        /// sftp, with certificate_authority: the program that the server runs, whatever is requested, or
        /// none: what is requested. Default: internal-sftp.
        force_command: Leaf<Text>,
    }
    hints [
        "password" => "secrets do not belong in this file; use password_file or password_env",
        "passphrase" => "secrets do not belong in this file; use passphrase_file",
    ]
}
