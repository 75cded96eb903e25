//! `users`, those of `users_file` among them.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::key_files::warn_if_exposed;
use super::{entries, value};
use crate::auth::{AuthorizedKeys, PasswordHash, User, UserCertificate, UserTable};
use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, File};
use crate::config::values::FileName;

pub(super) fn compile(file: &File, folder: &Path, problems: &mut Problems) -> UserTable {
    let mut users = HashMap::new();
    for (name, user) in entries(&file.users) {
        users.insert(name.clone().into_bytes(), compile_user(name, user, folder, problems));
    }
    warn_of_weak_hashes(file, problems);
    for (at, name) in file.users_file.iter().flat_map(|files| files.values()) {
        warn_if_exposed(&folder.join(&name.0), at, problems);
    }
    UserTable::new(users)
}

/// `folder`: of relative file names.
pub(in crate::config) fn compile_user(
    name: &str,
    user: &schema::User,
    folder: &Path,
    problems: &mut Problems,
) -> User {
    if name.is_empty() || name.chars().any(char::is_control) {
        problems.error(&user.at, "a user name must not be empty or contain control characters");
    }
    let certificate = value(&user.certificate).copied();
    if user.password_hash.is_none()
        && user.authorized_keys.is_none()
        && certificate != Some(UserCertificate::Sufficient)
    {
        let message = "has neither `password_hash` nor `authorized_keys` nor `certificate: \
                       sufficient`: this user could never log in";
        problems.error(&user.at, message);
    }
    let keys = match &user.authorized_keys {
        Some(files) => authorized_keys(files, folder, problems),
        None => AuthorizedKeys::default(),
    };
    let groups = user.groups.iter().flat_map(|groups| groups.values());
    let groups = groups.map(|(_, group)| group.0.clone()).collect();
    let password_hash = value(&user.password_hash).cloned().map(Arc::new);
    User { password_hash, groups, keys, certificate }
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
    let text = match super::text(path) {
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
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o002 != 0 {
        problems.error(
            at,
            format!("{shown} can be changed by every user of this machine; chmod 644 it"),
        );
    }
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
