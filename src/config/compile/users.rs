use std::collections::HashMap;

use super::{entries, value};
use crate::auth::{AuthorizedKeys, User, UserTable};
use crate::config::report::Problems;
use crate::config::schema::File;

pub(super) fn compile(file: &File, problems: &mut Problems) -> UserTable {
    let mut users = HashMap::new();
    for (name, user) in entries(&file.users) {
        if name.is_empty() || name.chars().any(char::is_control) {
            problems.error(&user.at, "a user's name must not be empty nor hold control characters");
        }
        let groups = user.groups.iter().flat_map(|groups| groups.values());
        let groups = groups.map(|(_, group)| group.0.clone()).collect();
        if let Some(hash) = value(&user.password_hash) {
            users.insert(
                name.clone().into_bytes(),
                User { password_hash: hash.0.clone(), groups, keys: AuthorizedKeys::default() },
            );
        }
    }
    UserTable::new(users)
}
