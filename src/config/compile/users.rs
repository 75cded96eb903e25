//! `users`, those of `users_file` among them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::conditions::texts;
use super::key_files::warn_if_exposed;
use super::{entries, methods, user_keys, value};
use crate::auth::{AuthorizedKeys, PasswordHash, User, UserCertificate, UserTable};
use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::{FileName, Method};

pub(super) fn compile(file: &File, folder: &Path, problems: &mut Problems) -> UserTable {
    let mut users = HashMap::new();
    let certified = methods::certificates_are_accepted(file);
    for (name, user) in entries(&file.users) {
        let compiled = compile_user(name, user, (folder, certified), problems);
        users.insert(name.clone().into_bytes(), compiled);
    }
    warn_of_weak_hashes(file, problems);
    for (at, name) in file.users_file.iter().flat_map(|files| files.values()) {
        warn_if_exposed(&folder.join(&name.0), at, problems);
    }
    UserTable::new(users)
}

/// `folder`: of relative file names; `certified`: a listener accepts certificates.
pub(in crate::config) fn compile_user(
    name: &str,
    user: &schema::User,
    (folder, certified): (&Path, bool),
    problems: &mut Problems,
) -> User {
    if name.is_empty() || name.chars().any(char::is_control) {
        problems.error(&user.at, "a user name must not be empty or contain control characters");
    }
    let certificate = value(&user.certificate).copied();
    if user.password_hash.is_none()
        && user.authorized_keys.is_none()
        && certificate != Some(UserCertificate::Sufficient)
        && !certified
    {
        let message = "has neither `password_hash` nor `authorized_keys` nor `certificate: \
                       sufficient`, and no listener accepts SSH certificates \
                       (`trusted_user_ca_keys`): this user could never log in";
        problems.error(&user.at, message);
    }
    if let Some(principals) = &user.principals
        && !certified
    {
        let message = "principals are those of certificates, which no listener accepts: set \
                       `trusted_user_ca_keys` on an SFTP listener";
        problems.warning(&principals.at, message);
    }
    check_required(user, certified, problems);
    let keys = match &user.authorized_keys {
        Some(files) => authorized_keys(files, folder, problems),
        None => AuthorizedKeys::default(),
    };
    let groups = user.groups.iter().flat_map(|groups| groups.values());
    User {
        password_hash: value(&user.password_hash).cloned().map(Arc::new),
        groups: groups.map(|(_, group)| group.0.clone()).collect(),
        keys,
        principals: texts(&user.principals).unwrap_or_default(),
        required: methods::set(&user.require),
        certificate,
    }
}

/// Reports a method that is required and that the user has not.
fn check_required(user: &schema::User, certified: bool, problems: &mut Problems) {
    let Some(require) = &user.require else { return };
    for (at, method) in require.values() {
        let (has, missing) = match method {
            Method::Password => (user.password_hash.is_some(), "no `password_hash`"),
            Method::PublicKey => (
                certified || user.authorized_keys.is_some(),
                "no `authorized_keys`, and no listener accepts certificates (`trusted_user_ca_keys`)",
            ),
        };
        if !has {
            let message = format!("is required, but the user has {missing}: nobody could log in");
            problems.error(at, message);
        }
    }
}

/// One warning for all.
fn warn_of_weak_hashes(file: &File, problems: &mut Problems) {
    let leaves = entries(&file.users).iter().filter_map(|(_, user)| user.password_hash.as_ref());
    let weak =
        |leaf: &&Leaf<PasswordHash>| leaf.value.as_ref().is_some_and(|it| it.weakness().is_some());
    let mut weak = leaves.filter(weak);
    let Some(first) = weak.next() else { return };
    let why = first.value.as_ref().and_then(PasswordHash::weakness).unwrap_or_default();
    let others = match weak.count() {
        0 => String::new(),
        count => format!(" ({count} more users have such a hash)"),
    };
    problems.warning(&first.at, format!("{why}{others}"));
}

fn authorized_keys(
    files: &OneOrMore<FileName>,
    folder: &Path,
    problems: &mut Problems,
) -> AuthorizedKeys {
    let mut keys = AuthorizedKeys::default();
    for (at, name) in files.values() {
        let path = folder.join(&name.0);
        keys.extend(read(&path, at, problems));
    }
    keys
}

fn read(path: &Path, at: &Location, problems: &mut Problems) -> AuthorizedKeys {
    let shown = path.display();
    let text = match super::text(path, super::KEYS_MAX) {
        Ok(text) => text,
        Err(reason) => {
            problems.error(at, reason);
            return AuthorizedKeys::default();
        }
    };
    if text.contains("PRIVATE KEY-----") {
        let message = format!("{shown} contains a private key; name the public key (\".pub\")");
        problems.error(at, message);
        return AuthorizedKeys::default();
    }
    user_keys::refuse_writable(path, at, problems);
    match AuthorizedKeys::parse(&text) {
        Ok(keys) => {
            if keys.is_empty() {
                problems.error(at, format!("{shown} contains no key"));
            }
            keys
        }
        Err(bad) => {
            for bad in bad {
                problems.error(at, format!("{shown}: {bad}"));
            }
            AuthorizedKeys::default()
        }
    }
}
