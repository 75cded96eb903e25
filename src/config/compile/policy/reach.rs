//! Warns of rules that never decide anything, because earlier ones decide all that they match.

use crate::config::report::Problems;
use crate::config::schema;
use crate::op::Effects;
use crate::policy::{Rule, Verdict};

pub(super) fn warn(given: &[schema::Rule], rules: &[Rule], problems: &mut Problems) {
    let all: Vec<_> = given.iter().zip(rules).collect();
    for (index, (schema, rule)) in all.iter().enumerate() {
        let earlier = all[..index].iter().filter(|(_, it)| !it.dry_run);
        let covering: Vec<_> = earlier.filter(|it| covers(**it, (schema, rule))).collect();
        warn_of_earlier(schema, rule, &covering, problems);
        warn_of_ways_around(schema, rule, problems);
    }
}

/// `covering`: the rules that match all that this one matches.
fn warn_of_earlier(
    schema: &schema::Rule,
    rule: &Rule,
    covering: &[&(&schema::Rule, &Rule)],
    problems: &mut Problems,
) {
    let mut by: Vec<String> = Vec::new();
    let mut note = |(schema, rule): &(&schema::Rule, &Rule)| {
        let shown = format!("\"{}\" (line {})", rule.name, schema.at.mark.line);
        if !by.contains(&shown) {
            by.push(shown);
        }
    };
    let mut decided = Vec::new();
    for effect in rule.effects.iter() {
        if let Some(earlier) = covering.iter().find(|(_, it)| it.effects.contains(effect)) {
            decided.push(effect.as_str());
            note(earlier);
        }
    }
    for command in &rule.commands {
        let verb = command.split(' ').next().unwrap_or(command);
        let names = |it: &String| it == command || it == verb;
        if let Some(earlier) = covering.iter().find(|(_, it)| it.commands.iter().any(names)) {
            decided.push(command);
            note(earlier);
        }
    }
    let by = by.join(", ");
    if decided.is_empty() {
        return;
    }
    if decided.len() == rule.effects.iter().count() + rule.commands.len() {
        let message =
            format!("is never reached: {by} decides all that it matches; move it up or remove it");
        problems.warning(&schema.at, message);
    } else if rule.effects != Effects::all() {
        let message = format!("never decides {}: {by} does before", decided.join(", "));
        problems.warning(&schema.at, message);
    }
}

/// A file that may not be read, but be renamed or linked, can be read under its new name.
fn warn_of_ways_around(schema: &schema::Rule, rule: &Rule, problems: &mut Problems) {
    use crate::op::Effect::{Link, Read, Rename};
    let refuses = rule.verdict != Verdict::Allow && rule.effects.contains(Read);
    if refuses && rule.scope.paths.is_some() {
        let missing: Vec<_> = [Rename, Link]
            .into_iter()
            .filter(|effect| !rule.effects.contains(*effect))
            .map(|effect| effect.as_str())
            .collect();
        if !missing.is_empty() {
            let message = format!(
                "does not name {}: where other rules allow that, a file can be read under another name",
                missing.join(" and ")
            );
            problems.warning(&schema.at, message);
        }
    }
}

/// Whether all that `later` matches is certainly matched by `earlier`, too.
fn covers(
    (earlier_schema, earlier): (&schema::Rule, &Rule),
    (later_schema, later): (&schema::Rule, &Rule),
) -> bool {
    let (earlier, later) = (&earlier.scope, &later.scope);
    let users = includes(&users(earlier_schema), &users(later_schema));
    let sources = match (&earlier.session.sources, &later.session.sources) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => {
            narrow.iter().all(|net| wide.iter().any(|wide| wide.contains(net)))
        }
    };
    let paths = match (&earlier.paths, &later.paths) {
        (None, _) => true,
        (Some(wide), None) => wide.iter().any(|it| it.as_str() == "/**"),
        (Some(wide), Some(narrow)) => {
            narrow.iter().all(|narrow| wide.iter().any(|wide| wide.includes(narrow)))
        }
    };
    let session = (&earlier.session, &later.session);
    users
        && sources
        && paths
        && includes(&session.0.groups, &session.1.groups)
        && includes(&session.0.listeners, &session.1.listeners)
        && includes(&session.0.backends, &session.1.backends)
        && includes(&session.0.protocols, &session.1.protocols)
        && includes(&earlier.extensions, &later.extensions)
        && (earlier.encrypted.is_none() || earlier.encrypted == later.encrypted)
        && (earlier.times.is_none() || earlier.times == later.times)
}

fn includes<T: PartialEq>(wide: &Option<Vec<T>>, narrow: &Option<Vec<T>>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.iter().all(|it| wide.contains(it)),
    }
}

fn users(rule: &schema::Rule) -> Option<Vec<&str>> {
    let users = rule.r#match.as_ref()?.users.as_ref()?;
    Some(users.values().map(|(_, pattern)| pattern.0.glob()).collect())
}
