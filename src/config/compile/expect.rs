//! Compiles `expect`.

use std::fmt::Write as _;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::policy::{Given, refuse_same_names, session_conditions};
use super::{check_name, entries, opaque, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::{OperationWord, Text, TimeOfDay};
use crate::expected::{Expectation, Schedule};
use crate::op::Effect;
use crate::policy::{PathPattern, PathPatterns, SessionConditions};

const MINUTES_PER_DAY: u16 = 24 * 60;
/// At least so much time is between `by` and the next `from`, also where a clock is set an hour forward.
const LATE_MIN: u16 = 60;
/// The effects by which a file comes under a path.
const ARRIVES_BY: [Effect; 5] =
    [Effect::Create, Effect::Overwrite, Effect::Append, Effect::Rename, Effect::Link];

pub(super) fn compile(file: &File, problems: &mut Problems) -> Vec<Expectation> {
    let Some(expect) = &file.expect else { return Vec::new() };
    if expect.items.is_empty() {
        problems.error(&expect.at, "is empty; add an entry or remove the key");
        return Vec::new();
    }
    refuse_same_names(expect.items.iter().map(|entry| &entry.name), problems);
    // Names are labels of metrics.
    for name in expect.items.iter().filter_map(|entry| entry.name.as_ref()) {
        if let Some(text) = &name.value {
            check_name(&text.0, &name.at, problems);
        }
    }
    if file.state_dir.is_none() {
        let message = "a restart forgets which files have arrived, and would report them as overdue: set \
                       `state_dir`";
        problems.warning(&expect.at, message);
    }
    expect.items.iter().filter_map(|entry| compile_entry(file, entry, problems)).collect()
}

fn compile_entry(
    file: &File,
    entry: &schema::Expect,
    problems: &mut Problems,
) -> Option<Expectation> {
    let matches = matches(file, entry, problems);
    let schedule = schedule(entry, problems);
    refuse_too_many(entry, problems);
    warn_of_opaque(file, entry, problems);
    warn_of_readers(file, entry, problems);
    let patterns = entry.path.as_ref()?;
    let paths = PathPatterns::new(patterns.values().map(|(_, it)| it.clone()).collect());
    Some(Expectation {
        name: value(&entry.name)?.0.clone(),
        matches,
        paths: paths.map_err(|e| problems.error(&patterns.at, e.to_string())).ok()?,
        counts: counts(entry),
        at_least: value(&entry.at_least).map_or(1, |count| count.0 as usize),
        schedule: schedule?,
    })
}

fn matches(file: &File, entry: &schema::Expect, problems: &mut Problems) -> SessionConditions {
    let Some(given) = &entry.r#match else { return SessionConditions::default() };
    let schema::ExpectMatch { users, groups, listeners, backends, protocols, sources, .. } = given;
    let given = Given { users, groups, listeners, backends, protocols, sources };
    session_conditions(file, &given, problems)
}

fn schedule(entry: &schema::Expect, problems: &mut Problems) -> Option<Schedule> {
    let days = entry.days.as_ref();
    let days = days.map(|days| days.values().flat_map(|(_, it)| it.0.iter().copied()).collect());
    let days: Vec<_> = days.unwrap_or_else(|| Weekday::Monday.cycle_forward().take(7).collect());
    let from = value(&entry.from).copied();
    if from == Some(TimeOfDay::END_OF_DAY)
        && let Some(leaf) = &entry.from
    {
        problems.error_with_suggestion(&leaf.at, "is the end of the day", Some("00:00".into()));
    }
    let (TimeOfDay(from), TimeOfDay(by)) = (from.unwrap_or(TimeOfDay(0)), *value(&entry.by)?);
    let length = if from < by { by - from } else { by + MINUTES_PER_DAY - from };
    let at = &entry.by.as_ref()?.at;
    if MINUTES_PER_DAY.saturating_sub(length) < LATE_MIN && has_neighbours(&days) {
        let message = "leaves no time in which missing files could be seen to be overdue, or arrive late: the \
                       next day's files count from `from` on (default \"00:00\"); write a `from` that is at \
                       least an hour later than `by`";
        problems.error(at, message);
    } else if entry.from.is_none() && length < LATE_MIN {
        let message = "only files that arrive from 00:00 on would count: write `from`, such as \"18:00\", the \
                       evening before";
        problems.warning(at, message);
    }
    // An invalid zone has been reported.
    let zone = match &entry.zone {
        None => TimeZone::UTC,
        Some(leaf) => leaf.value.clone()?,
    };
    Some(Schedule { from, by, days, zone })
}

/// Whether a day follows another one.
fn has_neighbours(days: &[Weekday]) -> bool {
    days.iter().any(|day| days.contains(&day.next()))
}

/// Each user's path is a file of its own.
fn refuse_too_many(entry: &schema::Expect, problems: &mut Problems) {
    let (Some(paths), Some(count)) = (&entry.path, &entry.at_least) else { return };
    let is_literal = |text: &str| !text.contains(['*', '?', '[', '{', '\\']);
    let users = entry.r#match.as_ref().and_then(|given| given.users.as_ref());
    let Some(users) = users.filter(|it| it.values().all(|(_, it)| is_literal(it.0.glob()))) else {
        return;
    };
    let most = paths.items.len() * users.items.len();
    if paths.values().all(|(_, pattern)| is_literal(pattern.as_str()))
        && count.value.is_some_and(|count| count.0 as usize > most)
    {
        let message = format!(
            "can never be: {most} of such files can exist, as `path` has no `*` and the users are named"
        );
        problems.error(&count.at, message);
    }
}

fn warn_of_opaque(file: &File, entry: &schema::Expect, problems: &mut Problems) {
    let listed = entry.r#match.as_ref().and_then(|given| given.backends.as_ref());
    let is_listed =
        |name: &str| listed.is_none_or(|list| list.values().any(|(_, listed)| listed.0 == name));
    let mut known = entries(&file.backends).iter().filter(|(name, _)| is_listed(name)).peekable();
    if known.peek().is_some() && known.all(|(_, backend)| opaque::is_opaque(file, backend)) {
        let message = "never counts a file: the gateway does not read the paths of servers with \
                       `dialect: opaque`";
        problems.warning(&entry.at, message);
    }
}

/// Warns if the rules let no file arrive where it would count.
fn warn_of_readers(file: &File, entry: &schema::Expect, problems: &mut Problems) {
    let Some(policy) = &file.policy else { return };
    let Some(rules) = policy.rules.as_ref().filter(|_| value(&policy.dry_run) != Some(&true))
    else {
        return;
    };
    let paths =
        entry.path.as_ref().map_or(Vec::new(), |it| it.values().map(|(_, it)| it).collect());
    let given = entry.r#match.as_ref();
    let lets_arrive = |rule: &&schema::Rule| {
        let allowed = rule.allow.iter().flat_map(|list| list.values());
        let brings = |word: &OperationWord| match word {
            OperationWord::All => true,
            OperationWord::Effect(effect) => ARRIVES_BY.contains(effect),
            _ => false,
        };
        if value(&rule.dry_run) == Some(&true) || !allowed.map(|(_, word)| word).any(brings) {
            return false;
        }
        let Some(conditions) = &rule.r#match else { return true };
        may_meet(&conditions.listeners, given.and_then(|it| it.listeners.as_ref()))
            && may_meet(&conditions.backends, given.and_then(|it| it.backends.as_ref()))
            && conditions.paths.as_ref().is_none_or(|list| {
                list.values().any(|(_, rule)| paths.iter().any(|path| may_overlap(rule, path)))
            })
    };
    if !rules.items.iter().any(|rule| lets_arrive(&rule)) {
        let message = "never counts a file: no rule of `policy` allows create, overwrite, append, rename or \
                       link there";
        problems.warning(&entry.at, message);
    }
}

fn may_meet(rule: &Option<OneOrMore<Text>>, entry: Option<&OneOrMore<Text>>) -> bool {
    let (Some(rule), Some(entry)) = (rule, entry) else { return true };
    rule.values().any(|(_, one)| entry.values().any(|(_, other)| one.0 == other.0))
}

/// Whether the folders without wildcards at their starts go together.
fn may_overlap(one: &PathPattern, other: &PathPattern) -> bool {
    let special = |name: &str| name.contains(['*', '?', '[', '{', '\\']);
    let names = one.as_str().split('/').zip(other.as_str().split('/'));
    let mut fixed = names.take_while(|(one, other)| !special(one) && !special(other));
    fixed.all(|(one, other)| one == other)
}

/// What is counted, as text.
fn counts(entry: &schema::Expect) -> String {
    let mut text = String::new();
    let mut add = |key: &str, values: Vec<String>| {
        if !values.is_empty() {
            let _ = write!(text, "{key} {values:?} ");
        }
    };
    fn shown<T>(list: Option<&OneOrMore<T>>, shown: impl Fn(&T) -> String) -> Vec<String> {
        let mut values: Vec<_> =
            list.iter().flat_map(|it| it.values()).map(|(_, value)| shown(value)).collect();
        values.sort();
        values
    }
    add("path", shown(entry.path.as_ref(), |it| it.as_str().to_owned()));
    if let Some(given) = &entry.r#match {
        add("users", shown(given.users.as_ref(), |it| it.0.glob().to_owned()));
        add("groups", shown(given.groups.as_ref(), |it| it.0.clone()));
        add("listeners", shown(given.listeners.as_ref(), |it| it.0.clone()));
        add("backends", shown(given.backends.as_ref(), |it| it.0.clone()));
        add("protocols", shown(given.protocols.as_ref(), |it| it.as_str().to_owned()));
        add("sources", shown(given.sources.as_ref(), ToString::to_string));
    }
    text.trim_end().to_owned()
}
