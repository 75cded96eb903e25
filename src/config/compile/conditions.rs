//! What the conditions of routes, rules and limits have in common.

use std::collections::BTreeSet;

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::{entries, unknown_name};
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::File;
use crate::config::values::Text;

/// Reports names of a condition that are not one of `known`, the names of each `what` ("listener").
pub(super) fn check_names<'a>(
    what: &str,
    list: &Option<OneOrMore<Text>>,
    known: impl Iterator<Item = &'a str> + Clone,
    problems: &mut Problems,
) {
    for (at, name) in list.iter().flat_map(|list| list.values()) {
        if !known.clone().any(|known| known == name.0) {
            unknown_name(what, &name.0, known.clone(), at, problems);
        }
    }
}

/// Reports listeners that do not exist.
pub(super) fn check_listeners(
    file: &File,
    list: &Option<OneOrMore<Text>>,
    problems: &mut Problems,
) {
    let names = entries(&file.listeners).iter().map(|(name, _)| name.as_str());
    check_names("listener", list, names, problems);
}

/// Reports groups that no user has.
pub(super) fn check_groups(file: &File, list: &Option<OneOrMore<Text>>, problems: &mut Problems) {
    let of_users = entries(&file.users).iter().flat_map(|(_, user)| &user.groups);
    let groups = of_users.flat_map(|groups| groups.values());
    let known: BTreeSet<&str> = groups.map(|(_, group)| group.0.as_str()).collect();
    if file.users_file.is_none() {
        return check_names("user with the group", list, known.iter().copied(), problems);
    }
    // The files may change.
    for (at, group) in list.iter().flat_map(|list| list.values()) {
        if !known.contains(group.0.as_str()) {
            problems.warning(at, format!("there is no user with the group \"{}\" yet", group.0));
        }
    }
}

/// Whether a condition holds for a name; an absent one does.
pub(super) fn lists(list: &Option<OneOrMore<Text>>, name: &str) -> bool {
    list.as_ref().is_none_or(|names| names.values().any(|(_, listed)| listed.0 == name))
}

pub(super) fn texts(list: &Option<OneOrMore<Text>>) -> Option<Vec<String>> {
    Some(list.as_ref()?.values().map(|(_, text)| text.0.clone()).collect())
}

/// The patterns as one set.
pub(super) fn globs<T>(
    list: &Option<OneOrMore<T>>,
    glob: impl Fn(&T) -> &Glob,
    problems: &mut Problems,
) -> Option<GlobSet> {
    let list = list.as_ref()?;
    let mut set = GlobSetBuilder::new();
    for (_, pattern) in list.values() {
        set.add(glob(pattern).clone());
    }
    set.build().map_err(|e| problems.error(&list.at, e.to_string())).ok()
}
