//! `login`: accounts of the gateway at backends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use zeroize::Zeroizing;

use super::key_files::{self, Passphrase, warn_if_exposed};
use super::{SECRET_MAX, value};
use crate::auth::{CertificateAuthority, Credentials};
use crate::config::leaf::{Invalid, Leaf, Value};
use crate::config::report::Problems;
use crate::config::schema::Account;
use crate::config::values::{BackendProtocol, FileName, Text};
use crate::files::small_file;
use crate::route::{AccountName, MintedAccount, USER_PLACEHOLDER};

/// The default of `force_command`.
const INTERNAL_SFTP: &str = "internal-sftp";
/// The value of `force_command` for none.
const NO_COMMAND: &str = "none";
const DEFAULT_VALIDITY: Duration = Duration::from_secs(300);

/// An account whose key and certificate are made for each login; reads the authority's key.
pub(super) fn minted(
    account: &Account,
    authority: &Leaf<FileName>,
    protocol: BackendProtocol,
    folder: &Path,
    problems: &mut Problems,
) -> Option<MintedAccount> {
    if protocol != BackendProtocol::Sftp {
        let message = "belongs to `protocol: sftp`; FTP has no certificates of SSH";
        problems.error(&authority.at, message);
        return None;
    }
    let others = [&account.password_file, &account.private_key];
    let others = others.into_iter().flatten().map(|leaf| &leaf.at);
    if let Some(at) = others.chain(account.password_env.as_ref().map(|leaf| &leaf.at)).next() {
        problems.error(at, "`certificate_authority` is set, too; keep one of them");
        return None;
    }
    let user = match &account.user {
        None => Some(AccountName::new(USER_PLACEHOLDER)),
        Some(leaf) => account_name(leaf, problems),
    };
    let key = private_key(authority, account, folder, problems);
    let (user, key) = (user?, key?);
    let principal = value(&account.principal).cloned().unwrap_or_else(|| user.clone());
    let sources = account.source_address.iter().flat_map(|list| list.values());
    let command = value(&account.force_command).map_or(INTERNAL_SFTP, |text| text.0.as_str());
    Some(MintedAccount {
        authority: CertificateAuthority::new(Arc::new(key)),
        user,
        principal,
        valid_for: value(&account.valid_for).map_or(DEFAULT_VALIDITY, |time| time.0),
        source_addresses: sources.map(|(_, network)| *network).collect(),
        force_command: (command != NO_COMMAND).then(|| command.to_owned()),
    })
}

fn account_name(leaf: &Leaf<Text>, problems: &mut Problems) -> Option<AccountName> {
    let parsed = <AccountName as Value>::parse(&leaf.value.as_ref()?.0);
    let report = |Invalid { message, suggestion }| {
        problems.error_with_suggestion(&leaf.at, message, suggestion);
    };
    parsed.map_err(report).ok()
}

/// The account of a mapped login; reads its password or key.
pub(super) fn credentials(
    account: &Account,
    protocol: BackendProtocol,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Credentials> {
    refuse_without_authority(account, problems);
    let secret = secret(account, protocol, folder, problems);
    let Some(user) = &account.user else {
        problems.error(&account.at.absent("user"), "is missing");
        return None;
    };
    let user = user.value.as_ref()?.0.clone().into_bytes();
    let (password, key) = match secret? {
        Secret::Password(password) => (password, None),
        Secret::Key(key) => (Zeroizing::default(), Some((*key).into())),
    };
    Some(Credentials { user, password, account: None, sent: Default::default(), key })
}

/// Reports keys that belong to `certificate_authority`.
fn refuse_without_authority(account: &Account, problems: &mut Problems) {
    let given = [
        account.principal.as_ref().map(|leaf| &leaf.at),
        account.valid_for.as_ref().map(|leaf| &leaf.at),
        account.source_address.as_ref().map(|list| &list.at),
        account.force_command.as_ref().map(|leaf| &leaf.at),
    ];
    for at in given.into_iter().flatten() {
        problems.error(at, "has no effect without `certificate_authority`");
    }
    if let Some(leaf) = &account.user
        && leaf.value.as_ref().is_some_and(|user| user.0.contains(USER_PLACEHOLDER))
    {
        let message = format!(
            "`{USER_PLACEHOLDER}` is replaced with `certificate_authority` only: a password or key is that of \
             one account"
        );
        problems.error(&leaf.at, message);
    }
}

enum Secret {
    Password(Zeroizing<Vec<u8>>),
    Key(Box<PrivateKey>),
}

/// Reads `password_file`, `password_env` or `private_key`, whichever is set.
fn secret(
    account: &Account,
    protocol: BackendProtocol,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Secret> {
    let with_keys = protocol == BackendProtocol::Sftp;
    for leaf in [&account.private_key, &account.passphrase_file].into_iter().flatten() {
        if !with_keys {
            let message = "belongs to `protocol: sftp`; FTP supports passwords only";
            problems.error(&leaf.at, message);
        } else if account.private_key.is_none() {
            let message = "has no effect without `private_key` or `certificate_authority`";
            problems.error(&leaf.at, message);
        }
    }
    let file = account.password_file.as_ref().map(|leaf| ("password_file", &leaf.at));
    let env = account.password_env.as_ref().map(|leaf| ("password_env", &leaf.at));
    let key = account.private_key.as_ref().filter(|_| with_keys);
    let key_at = key.map(|leaf| ("private_key", &leaf.at));
    let given: Vec<_> = [file, env, key_at].into_iter().flatten().collect();
    if let [(first, _), (_, second), ..] = given[..] {
        problems.error(second, format!("`{first}` is set, too; keep one of them"));
        return None;
    }
    if let Some(leaf) = &account.password_file {
        let path = folder.join(&leaf.value.as_ref()?.0);
        let password = from_file(&path).map_err(|reason| problems.error(&leaf.at, reason));
        warn_if_exposed(&path, &leaf.at, problems);
        password.ok().map(Secret::Password)
    } else if let Some(leaf) = &account.password_env {
        let password = from_environment(&leaf.value.as_ref()?.0);
        password.map_err(|reason| problems.error(&leaf.at, reason)).ok().map(Secret::Password)
    } else if let Some(leaf) = key {
        private_key(leaf, account, folder, problems).map(|key| Secret::Key(Box::new(key)))
    } else {
        // A private key for FTP has been reported.
        if account.private_key.is_none() {
            let or_key =
                if with_keys { ", `password_env` or `private_key`" } else { " or `password_env`" };
            problems.error(&account.at, format!("requires `password_file`{or_key}"));
        }
        None
    }
}

fn private_key(
    leaf: &Leaf<FileName>,
    account: &Account,
    folder: &Path,
    problems: &mut Problems,
) -> Option<PrivateKey> {
    let passphrase = match &account.passphrase_file {
        Some(leaf) => {
            let path = folder.join(&leaf.value.as_ref()?.0);
            let passphrase = from_file(&path).and_then(|bytes| {
                let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
                text.map_err(|_| format!("{} is not UTF-8 text", path.display()))
            });
            warn_if_exposed(&path, &leaf.at, problems);
            Some(passphrase.map_err(|reason| problems.error(&leaf.at, reason)).ok()?)
        }
        None => None,
    };
    let path = folder.join(&leaf.value.as_ref()?.0);
    let passphrase = passphrase.as_ref().map_or(Passphrase::Absent, |p| Passphrase::Given(p));
    key_files::private_key(&path, passphrase, &leaf.at, problems)
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = path.display();
    let read =
        small_file::read(path, SECRET_MAX).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let mut password = Zeroizing::new(read);
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    sendable(password, &format!("{shown}"))
}

fn from_environment(name: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    use std::os::unix::ffi::OsStringExt;
    match std::env::var_os(name) {
        Some(password) => {
            sendable(Zeroizing::new(password.into_vec()), &format!("the variable {name}"))
        }
        None => Err(format!("the environment variable {name} is not set")),
    }
}

fn sendable(password: Zeroizing<Vec<u8>>, what: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    if password.is_empty() {
        return Err(format!("{what} is empty and has no password"));
    }
    if password.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(format!("{what} must contain one line, the password"));
    }
    Ok(password)
}
