//! The conditions of rules and limits.

use ipnet::IpNet;
use jiff::civil::Weekday;

use crate::config::compile::conditions::{
    check_groups, check_listeners, check_names, globs, lists, texts,
};
use crate::config::compile::{entries, value};
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
    check_listeners(file, given.listeners, problems);
    let backends = entries(&file.backends).iter().map(|(name, _)| name.as_str());
    check_names("backend", given.backends, backends, problems);
    // A login hook tells groups that the file need not know.
    if entries(&file.login_hooks).is_empty() {
        check_groups(file, given.groups, problems);
    }
    warn_of_protocols(file, given, problems);
    SessionConditions {
        users: globs(given.users, |pattern| &pattern.0, problems),
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

/// Warns if no listener of a rule speaks one of its protocols.
fn warn_of_protocols(file: &File, given: &Given<'_>, problems: &mut Problems) {
    let Some(protocols) = given.protocols else { return };
    let speaks = |protocol: Protocol| {
        let expected = match protocol {
            Protocol::Ftp => ListenerProtocol::Ftp,
            Protocol::Sftp => ListenerProtocol::Sftp,
        };
        entries(&file.listeners).iter().any(|(name, listener)| {
            lists(given.listeners, name)
                && value(&listener.protocol).is_none_or(|it| *it == expected)
        })
    };
    if protocols.values().all(|(_, protocol)| !speaks(*protocol)) {
        problems.warning(&protocols.at, "never matches: none of the listeners speaks it");
    }
}
