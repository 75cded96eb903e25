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
            let decision = policy.explain(effect, &path, End::Any, Timestamp::UNIX_EPOCH).decision;
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

pub(super) fn uploads_once() -> UploadRule {
    UploadRule {
        name: "once".into(),
        scope: Scope { paths: Some(vec![PathPattern::new("/in/**").unwrap()]), ..Scope::default() },
        allowed_names: None,
        denied_names: None,
        max_size: None,
        write_once: true,
    }
}

pub(super) fn rule_of(name: &str, effects: Effects, commands: &[&str], verdict: Verdict) -> Rule {
    Rule {
        name: name.into(),
        scope: Scope::default(),
        effects,
        commands: commands.iter().map(|it| (*it).to_owned()).collect(),
        verdict,
        dry_run: false,
    }
}

pub(super) fn policy_of(
    rules: Vec<Rule>,
    uploads: Vec<UploadRule>,
    dry_run: bool,
) -> SessionPolicy {
    let facts = session(Vec::new(), 0).facts().clone();
    SessionPolicy::new(
        Arc::new(RuleSet::new(rules, uploads, dry_run).unwrap()),
        facts,
        Names::Exact,
    )
}

#[test]
fn a_file_may_be_renamed_into_a_folder_with_write_once_but_not_out_of_it() {
    let all = rule_of("all", Effects::all(), &[], Verdict::Allow);
    let policy = policy_of(vec![all], vec![uploads_once()], false);
    let explained = |from: &str, end| {
        policy.explain(Effect::Rename, &path(from), end, Timestamp::UNIX_EPOCH).decision
    };
    assert!(explained("/in/x", End::New).is_ok());
    assert!(explained("/in/x", End::Old).is_err() && explained("/in/x", End::Any).is_err());
    let [inside, outside] = ["/in/x", "/out/x"].map(path);
    let rename = |from: &RemotePath, to: &RemotePath| {
        let (from, to, onto) = (from.clone(), to.clone(), crate::op::Onto::Refused);
        decide(Some(&policy), crate::op::Operation::Rename { from, to, onto }, true)
    };
    assert!(matches!(rename(&outside, &inside), Decision::Allowed(_)));
    assert!(matches!(rename(&inside, &outside), Decision::Denied(_)));
}

#[test]
fn commands_are_explained_at_the_moment_that_is_asked_for() {
    let utc = jiff::tz::TimeZone::UTC;
    let monday = TimeWindow { days: vec![jiff::civil::Weekday::Monday], hours: None, zone: utc };
    let mut rule =
        rule_of("no-site", Effects::default(), &["SITE"], Verdict::Deny { message: None });
    rule.scope.times = Some(monday);
    for dry_run in [false, true] {
        let policy = policy_of(vec![rule.clone()], Vec::new(), dry_run);
        let explained = |now: &str| policy.explain_command("SITE CHMOD", now.parse().unwrap());
        assert!(
            explained("2026-11-30T12:00:00Z").is_err(),
            "what the rule decides, though it only logs"
        );
        assert!(explained("2026-12-01T12:00:00Z").is_ok());
        assert!(policy.explain_command("STOU", Timestamp::UNIX_EPOCH).is_ok());
    }
    rule.scope.times = None;
    assert!(policy_of(vec![rule.clone()], Vec::new(), false).decide_command("SITE CHMOD").is_err());
    assert!(policy_of(vec![rule], Vec::new(), true).decide_command("SITE CHMOD").is_ok());
}

fn counts(set: &RuleSet) -> Vec<(String, u64, u64)> {
    set.denials().map(|it| (it.rule.to_string(), it.denied, it.dry_run)).collect()
}

#[test]
fn a_rule_in_dry_run_counts_an_operation_once_and_explanations_count_nothing() {
    let deny = Verdict::Deny { message: None };
    let effects = Effects::of(&[Effect::Create, Effect::Overwrite, Effect::Rename]);
    let mut tried = rule_of("tried", effects, &["SITE"], deny);
    tried.dry_run = true;
    let all = rule_of("all", Effects::all(), &[], Verdict::Allow);
    let known = KnownRules::default();
    let set = RuleSet::new(vec![tried.clone(), all.clone()], vec![uploads_once()], false).unwrap();
    let set = Arc::new(set.counted(&known));
    let facts = session(Vec::new(), 0).facts().clone();
    let policy = SessionPolicy::new(set.clone(), facts.clone(), Names::Exact);
    let write = || crate::op::WriteFile {
        path: path("/x"),
        mode: crate::op::WriteMode::From { offset: 0 },
        representation: crate::op::Representation::Image,
    };
    assert!(matches!(decide(Some(&policy), write(), false), Decision::Allowed(_)));
    policy.explain(Effect::Create, &path("/x"), End::Any, Timestamp::UNIX_EPOCH);
    assert!(policy.decide_command("SITE CHMOD").is_ok());
    assert!(policy.explain_command("SITE CHMOD", Timestamp::UNIX_EPOCH).is_ok());
    let none = |name: &str| (name.to_owned(), 0, 0);
    let expected = [none("all"), none("default"), none("once"), ("tried".to_owned(), 0, 2)];
    assert_eq!(counts(&set), expected);

    // Another configuration, in which nothing is refused: the rule goes on, the others are new.
    let next = RuleSet::new(vec![Rule { dry_run: false, ..tried }], Vec::new(), true).unwrap();
    let next = Arc::new(next.counted(&known));
    let later = SessionPolicy::new(next.clone(), facts, Names::Exact);
    assert!(matches!(decide(Some(&later), write(), false), Decision::Allowed(_)));
    let read = crate::op::ListDirectory { path: path("/x") };
    assert!(matches!(decide(Some(&later), read, false), Decision::Allowed(_)));
    assert_eq!(counts(&next), [("default".to_owned(), 0, 1), ("tried".to_owned(), 0, 3)]);
    drop((policy, later, next, set));
    known.forget_ended();
    let again = RuleSet::new(vec![all], Vec::new(), false).unwrap().counted(&known);
    assert_eq!(counts(&again), [none("all"), none("default")]);
}
