//! Compiles `routes[].rewrite`.

use crate::config::compile::value;
use crate::config::report::{Location, Problems};
use crate::config::schema::{self, Route};
use crate::op::RemotePath;
use crate::policy::Names;
use crate::route::{FolderSetting, MapError, PathMap, Rewrite, RewriteSetting};

/// Each path of an operation is compared with all of them.
const REWRITES_MAX: usize = 32;

/// A valid entry, with the locations of its keys.
struct Entry<'a> {
    from: &'a RemotePath,
    from_at: &'a Location,
    to: &'a FolderSetting,
    to_at: &'a Location,
}

pub(super) fn compile(route: &Route, problems: &mut Problems) -> Vec<RewriteSetting> {
    let Some(list) = &route.rewrite else { return Vec::new() };
    if list.items.is_empty() && !problems.has_error_at(&list.at) {
        let message =
            "is empty; write at least one entry: - { from: /PATH, to: /PATH }, or remove it";
        problems.error(&list.at, message);
    }
    if list.items.len() > REWRITES_MAX {
        let message =
            format!("has {} entries; at most {REWRITES_MAX} are possible", list.items.len());
        problems.error(&list.at, message);
    }
    let entries: Vec<_> = list.items.iter().filter_map(entry).collect();
    for (index, entry) in entries.iter().enumerate() {
        check(entry, &entries[..index], problems);
    }
    refuse_hidden_parents(&entries, problems);
    let setting = |it: &Entry| RewriteSetting { from: it.from.clone(), to: it.to.clone() };
    entries.iter().map(setting).collect()
}

fn entry(given: &schema::Rewrite) -> Option<Entry<'_>> {
    Some(Entry {
        from: value(&given.from)?,
        from_at: &given.from.as_ref()?.at,
        to: value(&given.to)?,
        to_at: &given.to.as_ref()?.at,
    })
}

fn check(entry: &Entry, earlier: &[Entry], problems: &mut Problems) {
    let Entry { from, from_at, to, to_at } = entry;
    let root = "is the whole of the route's folder; use `root` for that";
    for (is_root, at) in [(from.is_root(), from_at), (is_same(to, &RemotePath::root()), to_at)] {
        if is_root {
            problems.error(at, root);
        }
    }
    if is_same(to, from) {
        problems
            .error(to_at, "is the same as `from`, so nothing would be rewritten; remove the entry");
        return;
    }
    if let Some(first) = earlier.iter().find(|it| it.from == *from) {
        let line = first.from_at.mark.line;
        problems.error(from_at, format!("is a duplicate (first in line {line})"));
    }
    if let Some(first) = earlier.iter().find(|it| it.to == *to) {
        let message = format!(
            "leads to the folder of {} (line {}), which then would have two paths, so that a rule for one \
             could be evaded by the other; remove one of the entries",
            first.from, first.to_at.mark.line
        );
        problems.error(to_at, message);
    }
}

/// Reports folders that clients would not come to, as those above them are shown under another path.
fn refuse_hidden_parents(entries: &[Entry], problems: &mut Problems) {
    let rewrite = |it: &Entry| match it.to {
        FolderSetting::Same(to) if !to.is_root() && !it.from.is_root() => {
            Some(Rewrite { from: it.from.clone(), to: to.clone() })
        }
        _ => None,
    };
    let map = PathMap::new(
        RemotePath::root(),
        entries.iter().filter_map(rewrite).collect(),
        Names::Exact,
    );
    for Entry { from, from_at, .. } in entries {
        let Some(parent) = from.parent() else { continue };
        let Err(MapError::Hidden(shown)) = map.to_backend(&parent) else { continue };
        let message = match shown {
            Some(shown) if shown.strip_root(from).is_none() => format!(
                "is in {parent}, which clients see as {shown} only; write {shown}{}",
                from.strip_root(&parent).map_or(String::new(), |name| name.to_string())
            ),
            _ => format!("is in {parent}, which is hidden as it is in a `to`; write another path"),
        };
        problems.error(from_at, message);
    }
}

fn is_same(folder: &FolderSetting, path: &RemotePath) -> bool {
    matches!(folder, FolderSetting::Same(it) if it == path)
}
