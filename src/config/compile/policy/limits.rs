//! Compiles `policy.limits`.

use super::conditions::{self, Given};
use super::refuse_same_names;
use crate::config::compile::{check_name, value};
use crate::config::leaf::Leaf;
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::Bandwidth;
use crate::policy::SessionConditions;
use crate::policy::limits::{Limit, Per};

pub(in crate::config::compile) fn compile(file: &File, problems: &mut Problems) -> Vec<Limit> {
    let Some(limits) = file.policy.as_ref().and_then(|policy| policy.limits.as_ref()) else {
        return Vec::new();
    };
    if limits.items.is_empty() {
        problems.error(&limits.at, "is empty; add a limit or remove the key");
    }
    refuse_same_names(limits.items.iter().map(|limit| &limit.name), problems);
    // Names are labels of metrics.
    for name in limits.items.iter().filter_map(|limit| limit.name.as_ref()) {
        if let Some(text) = &name.value {
            check_name(&text.0, &name.at, problems);
        }
    }
    limits.items.iter().map(|given| limit(file, given, problems)).collect()
}

fn limit(file: &File, given: &schema::PolicyLimit, problems: &mut Problems) -> Limit {
    let rate = |leaf: &Option<Leaf<Bandwidth>>| value(leaf).map(|rate| rate.0);
    let limit = Limit {
        name: value(&given.name).map(|name| name.0.clone()).unwrap_or_default(),
        is_answered: false,
        matches: matches(file, given.r#match.as_ref(), problems),
        per: value(&given.per).copied().unwrap_or_default(),
        bandwidth: rate(&given.bandwidth),
        upload_bandwidth: rate(&given.upload_bandwidth),
        download_bandwidth: rate(&given.download_bandwidth),
        sessions: value(&given.sessions).map(|count| count.0),
        transfers: value(&given.transfers).map(|count| count.0),
        operations: value(&given.operations).copied(),
        bytes_per_day: value(&given.bytes_per_day).map(|bytes| bytes.0),
        files_per_day: value(&given.files_per_day).map(|count| count.0.into()),
    };
    refuse_nothing(given, problems);
    refuse_per_session(given, &limit, problems);
    warn_without_effect(file, given, &limit, problems);
    limit
}

fn matches(
    file: &File,
    given: Option<&schema::LimitMatch>,
    problems: &mut Problems,
) -> SessionConditions {
    let Some(given) = given else { return SessionConditions::default() };
    let schema::LimitMatch { users, groups, listeners, backends, protocols, sources, .. } = given;
    let given = Given { users, groups, listeners, backends, protocols, sources };
    conditions::session(file, &given, problems)
}

fn refuse_nothing(given: &schema::PolicyLimit, problems: &mut Problems) {
    // An invalid value has been reported.
    let is_given = given.bandwidth.is_some()
        || given.upload_bandwidth.is_some()
        || given.download_bandwidth.is_some()
        || given.sessions.is_some()
        || given.transfers.is_some()
        || given.operations.is_some()
        || given.bytes_per_day.is_some()
        || given.files_per_day.is_some();
    if !is_given {
        let message = "limits nothing: add bandwidth, upload_bandwidth, download_bandwidth, sessions, \
                       transfers, operations, bytes_per_day or files_per_day, or remove it";
        problems.error(&given.at, message);
    }
}

fn refuse_per_session(given: &schema::PolicyLimit, limit: &Limit, problems: &mut Problems) {
    let Some(per) = given.per.as_ref().filter(|_| limit.per == Per::Session) else { return };
    let mut refuse = |key: &str, why: &str| {
        let message = format!(
            "`{key}` cannot be limited per session: {why}; write `per: user`, or move it to another limit"
        );
        problems.error_with_suggestion(&per.at, message, Some("user".into()));
    };
    if limit.sessions.is_some() {
        refuse("sessions", "each session is one");
    }
    if limit.bytes_per_day.is_some() {
        refuse("bytes_per_day", "a new session would start the day again");
    }
    if limit.files_per_day.is_some() {
        refuse("files_per_day", "a new session would start the day again");
    }
}

fn warn_without_effect(
    file: &File,
    given: &schema::PolicyLimit,
    limit: &Limit,
    problems: &mut Problems,
) {
    for leaf in [&given.upload_bandwidth, &given.download_bandwidth].into_iter().flatten() {
        if let (Some(one_way), Some(both)) = (&leaf.value, limit.bandwidth)
            && one_way.0 >= both
        {
            let message = "has no effect: `bandwidth` of this limit, for uploads and downloads \
                           together, is not higher";
            problems.warning(&leaf.at, message);
        }
    }
    if let Some(Leaf { at, value: Some(sessions) }) = &given.sessions
        && let Some(all) = file.limits.as_ref().and_then(|limits| value(&limits.sessions))
        && sessions.0 >= all.0
    {
        let message = format!(
            "has no effect: `limits: {{ sessions: {} }}` refuses more sessions before",
            all.0
        );
        problems.warning(at, message);
    }
}
