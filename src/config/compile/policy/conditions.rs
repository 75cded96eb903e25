//! The conditions of rules and limits.

use std::collections::BTreeSet;

use globset::{GlobSet, GlobSetBuilder};
use ipnet::IpNet;
use jiff::civil::Weekday;

use crate::config::compile::{entries, unknown_name, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::{ListenerProtocol, Text, UserGlob};
use crate::policy::{Protocol, Scope, SessionConditions, TimeWindow};

/// The conditions on a session, which rules and limits share.
pub(in crate::config::compile) struct Given<'a> {
    pub users: &'a Option<OneOrMore<UserGlob>>,
    pub groups: &'a Option<OneOrMore<Text>>,
    pub listeners: &'a Option<OneOrMore<Text>>,
    pub backends: &'a Option<OneOrMore<Text>>,
    pub protocols: &'a Option<OneOrMore<Protocol>>,
    pub sources: &'a Option<OneOrMore<IpNet>>,
}

/// Compiles them; reports names that do not exist, and conditions that never hold.
pub(in crate::config::compile) fn session(
    file: &File,
    given: &Given<'_>,
    problems: &mut Problems,
) -> SessionConditions {
    let listeners = entries(&file.listeners).iter().map(|(name, _)| name.as_str());
    check_names("listener", given.listeners, listeners, problems);
    let backends = entries(&file.backends).iter().map(|(name, _)| name.as_str());
    check_names("backend", given.backends, backends, problems);
    let groups: BTreeSet<&str> = entries(&file.users)
        .iter()
        .flat_map(|(_, user)| &user.groups)
        .flat_map(|groups| groups.values())
        .map(|(_, group)| group.0.as_str())
        .collect();
    check_names("user with the group", given.groups, groups.iter().copied(), problems);
    warn_of_protocols(file, given, problems);
    SessionConditions {
        users: given.users.as_ref().and_then(|users| globs(users, problems)),
        groups: texts(given.groups),
        listeners: texts(given.listeners),
        backends: texts(given.backends),
        protocols: given.protocols.as_ref().map(|list| list.values().map(|(_, it)| *it).collect()),
        sources: given.sources.as_ref().map(|nets| nets.values().map(|(_, net)| *net).collect()),
    }
}

pub(super) fn scope(
    file: &File,
    given: &schema::RuleMatch,
    problems: &mut Problems,
) -> Option<Scope> {
    let schema::RuleMatch { users, groups, listeners, backends, protocols, sources, .. } = given;
    let of_session = Given { users, groups, listeners, backends, protocols, sources };
    let session = session(file, &of_session, problems);
    if let Some(leaf) = &given.encrypted
        && leaf.value == Some(false)
        && session.protocols.as_deref() == Some(&[Protocol::Sftp])
    {
        problems.warning(&leaf.at, "never matches: SFTP is always encrypted");
    }
    let times = given.times.as_ref().map(|times| times_of(times, problems));
    Some(Scope {
        session,
        encrypted: value(&given.encrypted).copied(),
        paths: given.paths.as_ref().map(|list| list.values().map(|(_, it)| it.clone()).collect()),
        extensions: given
            .extensions
            .as_ref()
            .map(|list| list.values().map(|(_, it)| it.0.clone()).collect()),
        times: match times {
            None => None,
            Some(times) => Some(times?),
        },
    })
}

fn times_of(times: &schema::Times, problems: &mut Problems) -> Option<TimeWindow> {
    if times.days.is_none() && times.hours.is_none() {
        problems.error(&times.at, "has no effect: write days, hours or both");
    }
    let days = times
        .days
        .as_ref()
        .map(|days| days.values().flat_map(|(_, days)| days.0.iter().copied()).collect::<Vec<_>>());
    Some(TimeWindow {
        days: days.unwrap_or_else(|| Weekday::Monday.cycle_forward().take(7).collect()),
        hours: value(&times.hours).map(|hours| (hours.0, hours.1)),
        zone: value(&times.zone)?.clone(),
    })
}

fn check_names<'a>(
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

/// Warns if no listener of a rule speaks one of its protocols.
fn warn_of_protocols(file: &File, given: &Given<'_>, problems: &mut Problems) {
    let Some(protocols) = given.protocols else { return };
    let is_listed = |name: &str| {
        let listed = |names: &OneOrMore<Text>| names.values().any(|(_, it)| it.0 == name);
        given.listeners.as_ref().is_none_or(listed)
    };
    let speaks = |protocol: Protocol| {
        let expected = match protocol {
            Protocol::Ftp => ListenerProtocol::Ftp,
            Protocol::Sftp => ListenerProtocol::Sftp,
        };
        entries(&file.listeners).iter().any(|(name, listener)| {
            is_listed(name) && value(&listener.protocol).is_none_or(|it| *it == expected)
        })
    };
    if protocols.values().all(|(_, protocol)| !speaks(*protocol)) {
        problems.warning(&protocols.at, "never matches: none of the listeners speaks it");
    }
}

fn globs(users: &OneOrMore<UserGlob>, problems: &mut Problems) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for (_, pattern) in users.values() {
        set.add(pattern.0.clone());
    }
    set.build().map_err(|e| problems.error(&users.at, e.to_string())).ok()
}

fn texts(list: &Option<OneOrMore<Text>>) -> Option<Vec<String>> {
    Some(list.as_ref()?.values().map(|(_, text)| text.0.clone()).collect())
}
