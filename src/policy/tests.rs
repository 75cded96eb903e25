//! Properties of rules: the order of those that cannot both match does not matter.

use std::sync::Arc;

use globset::{Glob, GlobSetBuilder};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::op::{Effect, Effects, RemotePath};

/// Rules of different areas cannot match one operation.
const AREAS: usize = 4;

/// What distinguishes the areas.
#[derive(Debug, Clone, Copy)]
enum By {
    Path,
    User,
    Effect,
}

#[derive(Debug, Clone)]
struct Drawn {
    area: usize,
    effects: Vec<Effect>,
    verdict: Verdict,
    pattern: &'static str,
}

fn path(text: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), text.as_bytes()).unwrap()
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let effects = prop::collection::vec(prop::sample::select(&Effect::ALL[..]), 1..4);
    let verdict = prop_oneof![
        Just(Verdict::Allow),
        Just(Verdict::Deny { message: None }),
        Just(Verdict::Hide)
    ];
    let pattern = prop::sample::select(vec!["**", "*", "x/**", "*.csv", "x/*/y", "x"]);
    (0..AREAS, effects, verdict, pattern).prop_map(|(area, effects, verdict, pattern)| Drawn {
        area,
        effects: effects.into_iter().map(|(_, effect)| effect).collect(),
        verdict,
        pattern,
    })
}

fn rule(by: By, index: usize, drawn: &Drawn) -> Rule {
    let Drawn { area, pattern, .. } = drawn;
    let mut scope = Scope::default();
    let folder = if matches!(by, By::Path) { format!("/area-{area}") } else { String::new() };
    scope.paths = Some(vec![PathPattern::new(&format!("{folder}/{pattern}")).unwrap()]);
    if matches!(by, By::User) {
        let glob = Glob::new(&format!("user-{area}")).unwrap();
        scope.session.users = Some(GlobSetBuilder::new().add(glob).build().unwrap());
    }
    // The effects of the areas overlap nowhere: each has two of its own.
    let effects = match by {
        By::Effect => Effects::of(&[Effect::ALL[2 * area].1, Effect::ALL[2 * area + 1].1]),
        By::Path | By::User => Effects::of(&drawn.effects),
    };
    Rule {
        name: format!("rule-{index}").into(),
        scope,
        effects,
        commands: Vec::new(),
        verdict: drawn.verdict.clone(),
        dry_run: false,
    }
}

fn session(rules: Vec<Rule>, area: usize) -> SessionPolicy {
    let facts = SessionFacts {
        user: format!("user-{area}").into_bytes(),
        groups: Vec::new(),
        listener: "front".into(),
        backend: "files".into(),
        protocol: Protocol::Sftp,
        encrypted: true,
        source: "192.0.2.1".parse().unwrap(),
    };
    let set = RuleSet::new(rules, Vec::new(), false).unwrap();
    SessionPolicy::new(Arc::new(set), facts, Names::Exact)
}

/// All that is decided in an area: the rule and what it decides.
fn decisions(rules: Vec<Rule>, by: By, area: usize) -> Vec<String> {
    let policy = session(rules, area);
    let folder = if matches!(by, By::Path) { format!("/area-{area}") } else { String::new() };
    let mut all = Vec::new();
    for name in ["a", "x", "a.csv", "x/a", "x/b/y", "x/b.csv", "b/c/d"] {
        for (word, effect) in Effect::ALL {
            let path = path(&format!("{folder}/{name}"));
            let decision = policy.explain(effect, &path, Timestamp::UNIX_EPOCH).decision;
            all.push(format!("{word} {path}: {decision:?}"));
        }
    }
    all
}

proptest! {
    #[test]
    fn reordering_disjoint_rules_decides_the_same(
        drawn in prop::collection::vec(drawn(), 1..12),
        by in prop::sample::select(vec![By::Path, By::User, By::Effect]),
        turns in prop::collection::vec(0..AREAS, 0..24),
    ) {
        let rules: Vec<_> =
            drawn.iter().enumerate().map(|(index, it)| (it.area, rule(by, index, it))).collect();
        // Those of one area keep their order.
        let mut left: Vec<_> = (0..AREAS)
            .map(|area| {
                let own = rules.iter().filter(|(of, _)| *of == area);
                own.map(|(_, rule)| rule.clone()).collect::<std::collections::VecDeque<_>>()
            })
            .collect();
        let mut reordered = Vec::new();
        for area in turns.into_iter().chain(0..AREAS) {
            reordered.extend(left[area].pop_front());
        }
        reordered.extend(left.into_iter().flatten());
        prop_assert_eq!(reordered.len(), rules.len());
        let rules: Vec<_> = rules.into_iter().map(|(_, rule)| rule).collect();
        for area in 0..AREAS {
            let before = decisions(rules.clone(), by, area);
            prop_assert_eq!(decisions(reordered.clone(), by, area), before);
        }
    }
}
