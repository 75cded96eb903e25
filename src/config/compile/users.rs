//! `users`.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{entries, value};
use crate::auth::{AuthorizedKeys, User, UserTable};
use crate::config::leaf::OneOrMore;
use crate::config::report::{Location, Problems};
use crate::config::schema::File;
use crate::config::values::FileName;

pub(super) fn compile(file: &File, folder: &Path, problems: &mut Problems) -> UserTable {
    let mut users = HashMap::new();
    for (name, user) in entries(&file.users) {
        if name.is_empty() || name.chars().any(char::is_control) {
            problems.error(&user.at, "a user name must not be empty or contain control characters");
        }
        if user.password_hash.is_none() && user.authorized_keys.is_none() {
            let message =
                "has neither `password_hash` nor `authorized_keys`: this user could never log in";
            problems.error(&user.at, message);
        }
        let keys = match &user.authorized_keys {
            Some(files) => authorized_keys(files, folder, problems),
            None => AuthorizedKeys::default(),
        };
        let groups = user.groups.iter().flat_map(|groups| groups.values());
        let groups = groups.map(|(_, group)| group.0.clone()).collect();
        let password_hash = value(&user.password_hash).map(|hash| hash.0.clone());
        users.insert(
            name.clone().into_bytes(),
            User { password_hash, groups, keys, ..User::default() },
        );
    }
    UserTable::new(users)
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
