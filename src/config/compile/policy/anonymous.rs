//! Warns of anonymous users who may write.

use crate::config::compile::route_lookups::named_backends;
use crate::config::compile::{entries, value};
use crate::config::leaf::OneOrMore;
use crate::config::report::Problems;
use crate::config::schema::{self, File};
use crate::config::values::{Authenticate, ListenerProtocol, UserGlob};
use crate::op::Effect;
use crate::policy::{Protocol, Rule, SessionConditions, SessionFacts, Verdict};
use crate::route::is_anonymous;

const WRITES: [Effect; 9] = [
    Effect::Create,
    Effect::Overwrite,
    Effect::Append,
    Effect::Delete,
    Effect::Rename,
    Effect::MakeDirectory,
    Effect::RemoveDirectory,
    Effect::SetAttributes,
    Effect::Link,
];
const CURE: &str = "write a rule before that one, such as { name: guests, match: { users: anonymous }, allow: \
                    [list, read] }, and one that denies them the rest, or name anonymous in its `match.users`";

/// `rules`: `None` without rules, or with rules that only log.
pub(super) fn warn(
    file: &File,
    rules: Option<(&[schema::Rule], &[Rule])>,
    problems: &mut Problems,
) {
    for route in file.routes.iter().flat_map(|routes| &routes.items) {
        let Some(leaf) = &route.authenticate else { continue };
        if leaf.value != Some(Authenticate::Anonymous) {
            continue;
        }
        let Some((given, rules)) = rules else {
            let message = "no rule of `policy` refuses anything: anonymous users may write and delete, as \
                           far as the backend lets them; add rules, such as { name: guests, match: { users: \
                           anonymous }, allow: [list, read] }";
            problems.warning(&leaf.at, message);
            continue;
        };
        let writing = sessions(file, route).find_map(|facts| writing_rule(given, rules, &facts));
        if let Some((given, effect)) = writing {
            let message = format!(
                "the rule in line {} lets anonymous users {}: {CURE}",
                given.at.mark.line,
                effect.as_str()
            );
            problems.warning(&leaf.at, message);
        }
    }
}

/// One for each listener and backend of a route.
fn sessions<'a>(
    file: &'a File,
    route: &'a schema::Route,
) -> impl Iterator<Item = SessionFacts> + 'a {
    let listed = route.r#match.as_ref().and_then(|given| given.listeners.as_ref());
    let is_listed = move |name: &String| {
        listed.is_none_or(|names| names.values().any(|(_, listed)| listed.0 == *name))
    };
    let listeners = entries(&file.listeners).iter().filter(move |(name, listener)| {
        value(&listener.protocol) == Some(&ListenerProtocol::Ftp) && is_listed(name)
    });
    listeners.flat_map(move |(listener, _)| {
        named_backends(route).map(move |(_, backend)| SessionFacts {
            user: b"anonymous".to_vec(),
            groups: Vec::new(),
            listener: listener.clone(),
            backend: backend.to_owned(),
            protocol: Protocol::Ftp,
            encrypted: true,
            // Not considered.
            source: [0, 0, 0, 0].into(),
        })
    })
}

/// The rule that lets such users write, though it does not name them.
fn writing_rule<'a>(
    given: &'a [schema::Rule],
    rules: &[Rule],
    facts: &SessionFacts,
) -> Option<(&'a schema::Rule, Effect)> {
    WRITES.into_iter().find_map(|effect| {
        let decides = |(_, rule): &(&schema::Rule, &Rule)| {
            let session = SessionConditions { sources: None, ..rule.scope.session.clone() };
            !rule.dry_run && rule.effects.contains(effect) && session.covers(facts)
        };
        let decided = given.iter().zip(rules).filter(decides);
        // A refusal for some paths or times only leaves the rest to the next rule.
        let mut decided =
            decided.filter(|(_, rule)| rule.verdict == Verdict::Allow || is_whole(rule));
        let (schema, rule) = decided.next()?;
        (rule.verdict == Verdict::Allow && !names_anonymous(schema)).then_some((schema, effect))
    })
}

fn is_whole(rule: &Rule) -> bool {
    let scope = &rule.scope;
    scope.session.sources.is_none()
        && scope.encrypted.is_none()
        && scope.paths.is_none()
        && scope.extensions.is_none()
        && scope.times.is_none()
}

fn names_anonymous(rule: &schema::Rule) -> bool {
    let users = rule.r#match.as_ref().and_then(|given| given.users.as_ref());
    let named = |users: &OneOrMore<UserGlob>| {
        users.values().any(|(_, pattern)| is_anonymous(pattern.0.glob().as_bytes()))
    };
    users.is_some_and(named)
}
