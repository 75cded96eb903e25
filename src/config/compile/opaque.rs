//! What does not go together with `dialect: opaque`: the gateway does not read the paths of such a server.

use super::route_lookups::{leads, named_backends};
use super::{conditions, entries, value};
use crate::backend::PartialUploads;
use crate::backend::ftp::Dialect;
use crate::config::leaf::OneOrMore;
use crate::config::read::Read;
use crate::config::report::{Location, Problems};
use crate::config::schema::{Backend, File, Route, RuleMatch};
use crate::config::values::{Authenticate, ListenerProtocol, Text};
use crate::op::RemotePath;
use crate::policy::Protocol;
use crate::route::{Root, RootSetting};

/// Whether a server has `dialect: opaque`, or a group consists of such servers.
pub(super) fn is_opaque(file: &File, backend: &Backend) -> bool {
    let has_member = |(name, it): &(String, Backend)| {
        let mut members = backend.servers.iter().flat_map(|list| list.values());
        has_dialect(it) && members.any(|(_, member)| member.0 == *name)
    };
    has_dialect(backend) || entries(&file.backends).iter().any(has_member)
}

/// Whether some server has `dialect: opaque`.
pub(super) fn is_used(file: &File) -> bool {
    entries(&file.backends).iter().any(|(_, backend)| has_dialect(backend))
}

fn has_dialect(backend: &Backend) -> bool {
    value(&backend.dialect) == Some(&Dialect::Opaque)
}

/// Refuses all that would need paths or files which the gateway understands.
pub(super) fn check(file: &File, problems: &mut Problems) {
    if !is_used(file) {
        return;
    }
    for (_, backend) in entries(&file.backends).iter().filter(|(_, it)| has_dialect(it)) {
        check_backend(backend, problems);
    }
    let names: Vec<&str> = entries(&file.backends)
        .iter()
        .filter(|(_, backend)| is_opaque(file, backend))
        .map(|(name, _)| name.as_str())
        .collect();
    for route in routes(file) {
        let to_opaque = named_backends(route).find(|(_, name)| names.contains(name));
        if let Some((at, name)) = to_opaque {
            check_route(file, route, (at, name), problems);
        }
    }
    check_policy(file, &sessions(file, &names), problems);
}

fn check_backend(backend: &Backend, problems: &mut Problems) {
    fn at<T: Read>(key: &Option<T>) -> Option<&Location> {
        key.as_ref().map(Read::at)
    }
    let paths = "paths go to the server as clients write them";
    let without_effect = [
        (at(&backend.login_folder), paths),
        (at(&backend.names), paths),
        (at(&backend.unchecked_rename), "it is for SFTP clients, which cannot use this server"),
        (at(&backend.tail_copy_max), "it is for SFTP clients, which cannot use this server"),
        (at(&backend.connections), "a session has one control connection, whose state counts"),
        (at(&backend.unsupported_attributes), "the server's own reply is relayed"),
    ];
    for (at, why) in without_effect {
        if let Some(at) = at {
            problems.error(at, format!("has no effect with `dialect: opaque`: {why}"));
        }
    }
    if let Some(leaf) = &backend.partial_uploads
        && leaf.value.is_some_and(|it| it != PartialUploads::Keep)
    {
        let message = "cannot be used with `dialect: opaque`: the gateway cannot name a temporary file there, \
                       and does not know which file it would delete; the server decides what remains of an \
                       interrupted upload";
        problems.error(&leaf.at, message);
    }
}

fn check_route(
    file: &File,
    route: &Route,
    (at, backend): (&Location, &str),
    problems: &mut Problems,
) {
    let is_whole = |root: &RootSetting| *root == RootSetting::Same(Root::Path(RemotePath::root()));
    if let Some(leaf) = &route.root
        && !leaf.value.as_ref().is_none_or(is_whole)
    {
        problems.error(&leaf.at, no_folders(backend));
    }
    if let Some(list) = &route.rewrite {
        problems.error(&list.at, no_folders(backend));
    }
    for (name, _) in entries(&file.listeners).iter().filter(|(name, listener)| {
        value(&listener.protocol) == Some(&ListenerProtocol::Sftp) && reaches_sftp(route, name)
    }) {
        let listed = route.r#match.as_ref().and_then(|given| given.listeners.as_ref());
        let named = listed.and_then(|list| list.values().find(|(_, listed)| listed.0 == *name));
        let advice = match named {
            Some(_) => "remove it",
            None => "name the FTP listeners in `match.listeners`",
        };
        let message = format!(
            "backend \"{backend}\" has `dialect: opaque`, and clients of the SFTP listener \"{name}\" could come \
             there: SFTP cannot name its files; {advice}"
        );
        problems.error(named.map_or(at, |(at, _)| at), message);
    }
}

fn no_folders(backend: &str) -> String {
    format!(
        "cannot be used with backend \"{backend}\", which has `dialect: opaque`: the gateway does not read its \
         paths, so it cannot put a folder before them"
    )
}

/// Whether clients of an SFTP listener may get this route.
fn reaches_sftp(route: &Route, listener: &str) -> bool {
    let has_server_names = route.r#match.as_ref().is_some_and(|it| it.server_names.is_some());
    let is_anonymous = value(&route.authenticate) == Some(&Authenticate::Anonymous);
    leads(route, listener) && !has_server_names && !is_anonymous
}

/// The FTP listeners and opaque backends of possible sessions.
fn sessions<'a>(file: &'a File, names: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut sessions = Vec::new();
    for (listener, _) in entries(&file.listeners)
        .iter()
        .filter(|(_, listener)| value(&listener.protocol) == Some(&ListenerProtocol::Ftp))
    {
        for route in routes(file).iter().filter(|route| leads(route, listener)) {
            // The answer of a login hook may lead to any backend.
            let is_any = value(&route.authenticate) == Some(&Authenticate::Http);
            let named = |name: &str| named_backends(route).any(|(_, it)| it == name);
            let reached = names.iter().filter(|name| is_any || named(name));
            sessions.extend(reached.map(|name| (listener.as_str(), *name)));
        }
    }
    sessions
}

fn check_policy(file: &File, sessions: &[(&str, &str)], problems: &mut Problems) {
    let Some(policy) = &file.policy else { return };
    let session_of = |given: Option<&RuleMatch>| {
        sessions.iter().find(|session| given.is_none_or(|given| may_apply(given, **session)))
    };
    for rule in policy.rules.iter().flat_map(|rules| &rules.items) {
        let given = rule.r#match.as_ref();
        let Some((_, backend)) = session_of(given) else { continue };
        let lists = given.map(|given| {
            [given.paths.as_ref().map(|it| &it.at), given.extensions.as_ref().map(|it| &it.at)]
        });
        for at in lists.into_iter().flatten().flatten() {
            problems.error(at, not_read(backend, "names of files"));
        }
        if let Some(list) = &rule.hide {
            problems.error(&list.at, not_read(backend, "listings"));
        }
    }
    for entry in policy.uploads.iter().flat_map(|uploads| &uploads.items) {
        if let Some((_, backend)) = session_of(entry.r#match.as_ref()) {
            problems.error(&entry.at, not_read(backend, "names and sizes of files"));
        }
    }
}

fn not_read(backend: &str, what: &str) -> String {
    format!(
        "applies to sessions at backend \"{backend}\", which has `dialect: opaque`, so the gateway does not read \
         {what} there; name the other backends in `match.backends`, or the other listeners in \
         `match.listeners`"
    )
}

/// Whether a rule can apply to a session of FTP; conditions on users, addresses and times may hold.
fn may_apply(given: &RuleMatch, (listener, backend): (&str, &str)) -> bool {
    let is_named = |list: &Option<OneOrMore<Text>>, name| conditions::lists(list, name);
    let mut protocols = given.protocols.iter().flat_map(|list| list.values());
    is_named(&given.listeners, listener)
        && is_named(&given.backends, backend)
        && (given.protocols.is_none() || protocols.any(|(_, it)| *it == Protocol::Ftp))
}

fn routes(file: &File) -> &[Route] {
    file.routes.as_ref().map_or(&[], |routes| &routes.items)
}
