//! Warns of `{user}`, `%u` and the like in paths and greetings: other servers expand them, this gateway expands
//! only `{user}`, in a route's `root` and `rewrite`.

use std::path::Path;

use super::{entries, listener_tls};
use crate::config::leaf::{Leaf, OneOrMore};
use crate::config::report::{Location, Problems};
use crate::config::schema::{File, Route};
use crate::op::Greeting;
use crate::route::USER_PLACEHOLDER;

pub(super) fn warn(file: &File, problems: &mut Problems) {
    let routes = file.routes.as_ref().map_or(&[][..], |routes| &routes.items);
    for route in routes {
        rewrites(route, problems);
        greeting(route.greeting.as_ref(), problems);
        let Some(leaf) = &route.root else { continue };
        let Some(root) = &leaf.value else { continue };
        // Other braces are errors.
        let rest = root.to_string().replace(USER_PLACEHOLDER, "");
        let shared = "only `{user}` is replaced by the user's name; `root: home` is the folder of the \
                      backend's account";
        hint(&leaf.at, &rest, shared, problems);
    }
    for (_, backend) in entries(&file.backends) {
        let shared = "all users of this backend share a folder of that name; `{user}` in a route's \
                      `root` gives each a folder";
        one(backend.folder.as_ref(), shared, problems);
        if let Some(leaf) = &backend.login_folder
            && let Some(path) = &leaf.value
        {
            let shared = "all users share a folder of that name; `{user}` in a route's `root` gives each \
                          a folder";
            hint(&leaf.at, &String::from_utf8_lossy(path.as_bytes()), shared, problems);
        }
    }
    for (_, listener) in entries(&file.listeners) {
        greeting(listener.greeting.as_ref(), problems);
    }
    files(file, problems);
}

fn rewrites(route: &Route, problems: &mut Problems) {
    for rewrite in route.rewrite.iter().flat_map(|list| &list.items) {
        if let Some(leaf) = &rewrite.from
            && let Some(path) = &leaf.value
        {
            let same = "clients see a folder of that name; they all see the same paths";
            hint(&leaf.at, &path.to_string(), same, problems);
        }
        if let Some(leaf) = &rewrite.to
            && let Some(folder) = &leaf.value
        {
            let rest = folder.to_string().replace(USER_PLACEHOLDER, "");
            hint(&leaf.at, &rest, "only `{user}` is replaced by the user's name", problems);
        }
    }
}

fn greeting(leaf: Option<&Leaf<Greeting>>, problems: &mut Problems) {
    let lines = leaf.and_then(|leaf| leaf.value.as_ref()).map(Greeting::lines);
    if let Some(leaf) = leaf
        && let Some(line) = lines.into_iter().flatten().find(|line| placeholder(line).is_some())
    {
        hint(&leaf.at, line, "nothing in a greeting is replaced", problems);
    }
}

fn files(file: &File, problems: &mut Problems) {
    let plain = "it is not replaced";
    for (_, listener) in entries(&file.listeners) {
        if let Some(tls) = &listener.tls {
            for (certificate, key) in listener_tls::files(tls) {
                one(certificate, plain, problems);
                one(key, plain, problems);
            }
        }
        list(&listener.host_keys, plain, problems);
        list(&listener.host_certificates, plain, problems);
        list(&listener.trusted_user_ca_keys, plain, problems);
        list(&listener.revoked_keys, plain, problems);
    }
    for (_, backend) in entries(&file.backends) {
        one(backend.tls.as_ref().and_then(|tls| tls.ca.as_ref()), plain, problems);
        one(backend.known_hosts.as_ref(), plain, problems);
        if let Some(account) = backend.login.as_ref().and_then(|login| login.account.as_ref()) {
            let leaves = [
                &account.password_file,
                &account.private_key,
                &account.passphrase_file,
                &account.certificate_authority,
            ];
            leaves.into_iter().for_each(|leaf| one(leaf.as_ref(), plain, problems));
        }
    }
    for (_, user) in entries(&file.users) {
        list(&user.authorized_keys, plain, problems);
    }
    for (_, hook) in entries(&file.login_hooks) {
        one(hook.socket.as_ref(), plain, problems);
        one(hook.ca.as_ref(), plain, problems);
        one(hook.token_file.as_ref(), plain, problems);
    }
    list(&file.users_file, plain, problems);
    if let Some(admin) = &file.admin {
        one(admin.socket.as_ref(), plain, problems);
        for leaf in [&admin.certificate, &admin.key, &admin.token_file] {
            one(leaf.as_ref(), plain, problems);
        }
    }
}

fn list<T: AsRef<Path>>(files: &Option<OneOrMore<T>>, consequence: &str, problems: &mut Problems) {
    for (at, name) in files.iter().flat_map(|files| files.values()) {
        hint(at, &name.as_ref().to_string_lossy(), consequence, problems);
    }
}

fn one<T: AsRef<Path>>(leaf: Option<&Leaf<T>>, consequence: &str, problems: &mut Problems) {
    if let Some(leaf) = leaf
        && let Some(name) = &leaf.value
    {
        hint(&leaf.at, &name.as_ref().to_string_lossy(), consequence, problems);
    }
}

/// Adds to an error about the path, since this may be its reason.
fn hint(at: &Location, path: &str, consequence: &str, problems: &mut Problems) {
    if let Some(placeholder) = placeholder(path) {
        problems.hint(at, format_args!("`{placeholder}` is taken literally: {consequence}"));
    }
}

/// The first part of a path that other programs expand: `{user}`, `${USER}`, `$USER`, `%u`, `%{user}`, or
/// `~` at its start.
fn placeholder(path: &str) -> Option<&str> {
    if path == "~" || path.starts_with("~/") {
        return Some("~");
    }
    path.char_indices().find_map(|(at, c)| {
        let rest = &path[at..];
        let length = match c {
            '{' => braces(rest).filter(|end| is_name(&rest[..*end]))?,
            '$' | '%' if rest[1..].starts_with('{') => 1 + braces(&rest[1..])?,
            '$' => 1 + word(&rest[1..])?,
            '%' => escape(&rest[1..])?,
            _ => return None,
        };
        Some(&rest[..length])
    })
}

/// `{…}` within one path component.
fn braces(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let inside = &text[1..end];
    (!inside.is_empty() && !inside.contains('/')).then_some(())?;
    // `{{user}}`
    Some(end + 1 + usize::from(inside.starts_with('{') && text[end + 1..].starts_with('}')))
}

/// Not a GUID such as `{3F2504E0-4F89-11D3-9A0C-0305E82C3301}`.
fn is_name(braces: &str) -> bool {
    let inside = braces.trim_matches(['{', '}', ' ']);
    inside.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && inside.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.')
}

/// `%u`, but not the start of a word as in `100%uniform`.
fn escape(text: &str) -> Option<usize> {
    let mut chars = text.chars();
    let is_escape = "uUhdngi".contains(chars.next()?);
    let ends = chars.next().is_none_or(|c| !c.is_alphanumeric());
    (is_escape && ends).then_some(2)
}

/// The name of a variable.
fn word(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    (first.is_ascii_alphabetic() || first == '_').then_some(())?;
    Some(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_other_programs_are_found() {
        for (path, expected) in [
            ("/srv/{user}", Some("{user}")),
            ("/srv/{{ user }}/in", Some("{{ user }}")),
            ("/srv/${USER}", Some("${USER}")),
            ("/srv/$USER/in", Some("$USER")),
            ("/home/%u", Some("%u")),
            ("%h/.ssh/authorized_keys", Some("%h")),
            ("/srv/%{user}", Some("%{user}")),
            ("~/keys", Some("~")),
            ("/srv/~backup~", None),
            ("/srv/100%", None),
            ("/srv/50%off", None),
            ("/srv/50%discount/a%20b", None),
            ("/srv/%u-in", Some("%u")),
            ("/srv/{user.name}", Some("{user.name}")),
            ("/srv/{A2504E0-4F89-11D3}/{0}", None),
            ("/srv/{}", None),
            ("/srv/{a/b}", None),
            ("/srv/a}b{", None),
            ("/srv/c$", None),
            ("/srv/$5", None),
            ("/srv/größe-{größe}", Some("{größe}")),
            ("/srv/plain", None),
        ] {
            assert_eq!(placeholder(path), expected, "{path}");
        }
    }
}
