//! What policy rules cost: an operation decided among 1,000 rules with 1,000 networks, the choice of a
//! session's rules at its login, and an operation without rules.

#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use lockgate::op::{
    Effects, Onto, Operation, ReadFile, RemotePath, Representation, WriteFile, WriteMode,
};
use lockgate::policy::{
    Names, PathPattern, Protocol, Rule, RuleSet, Scope, SessionConditions, SessionFacts,
    SessionPolicy, Subject, Verdict, decide,
};

const RULES: u32 = 1_000;

/// Which of the rules apply in a session.
#[derive(Clone, Copy)]
enum Applicable {
    /// Each rule has a network of its own.
    One,
    /// Each rule has the same networks, one of which has the client.
    All,
}

fn facts() -> SessionFacts {
    SessionFacts {
        user: b"partner-999".to_vec(),
        groups: vec!["partners".into()],
        listener: "public".into(),
        backend: "warehouse".into(),
        protocol: Protocol::Sftp,
        encrypted: true,
        source: "10.3.231.7".parse().expect("an address"),
    }
}

fn network(number: u32) -> ipnet::IpNet {
    format!("10.{}.{}.0/24", number / 256, number % 256).parse().expect("a network")
}

/// `pattern` of a number; the last rule's matches the path of the operations.
fn rules(applicable: Applicable, pattern: impl Fn(u32) -> String) -> Arc<RuleSet> {
    let rules = (0..RULES).map(|number| {
        let sources = match applicable {
            Applicable::One => vec![network(number)],
            Applicable::All => vec![network(number), network(RULES - 1)],
        };
        let paths = vec![PathPattern::new(&pattern(number)).expect("a pattern")];
        Rule {
            name: format!("partner-{number}").into(),
            scope: Scope {
                session: SessionConditions { sources: Some(sources), ..Default::default() },
                paths: Some(paths),
                ..Scope::default()
            },
            effects: Effects::all(),
            commands: Vec::new(),
            verdict: Verdict::Allow,
            dry_run: false,
        }
    });
    Arc::new(RuleSet::new(rules.collect(), Vec::new(), false).expect("rules"))
}

fn path(text: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), text.as_bytes()).expect("a path")
}

fn read() -> ReadFile {
    let representation = Representation::Image;
    ReadFile { path: path("/partners/p999/in/2026/orders.csv"), offset: 0, representation }
}

fn write() -> WriteFile {
    let ReadFile { path, representation, .. } = read();
    WriteFile { path, mode: WriteMode::From { offset: 0 }, representation }
}

fn rename() -> Operation {
    let to = path("/partners/p999/in/2026/done.csv");
    Operation::Rename { from: read().path, to, onto: Onto::Refused }
}

fn decided<A: Subject>(
    criterion: &mut Criterion,
    name: &str,
    policy: Option<&SessionPolicy>,
    of: A,
) {
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| black_box(decide(black_box(policy), of.clone(), true)));
    });
}

fn operations(criterion: &mut Criterion) {
    decided(criterion, "no rules: read", None, read());
    type Pattern = fn(u32) -> String;
    let kinds: [(&str, Pattern); 3] = [
        ("a folder each", |number| format!("/partners/p{number}/**")),
        ("names with stars", |number| format!("/partners/p{number}/*/20*/*.csv")),
        ("stars before the folder", |number| format!("/*/p{number}/**/*.csv")),
    ];
    for (name, pattern) in kinds {
        for (applicable, many) in [(Applicable::One, "1 of"), (Applicable::All, "all of")] {
            let policy = SessionPolicy::new(rules(applicable, pattern), facts(), Names::Exact);
            let shown = |operation: &str| format!("{name}, {many} 1,000 rules: {operation}");
            decided(criterion, &shown("read"), Some(&policy), read());
            decided(criterion, &shown("create or overwrite"), Some(&policy), write());
            decided(criterion, &shown("rename"), Some(&policy), rename());
        }
    }
}

fn logins(criterion: &mut Criterion) {
    for (applicable, many) in [(Applicable::One, "1 of"), (Applicable::All, "all of")] {
        let rules = rules(applicable, |number| format!("/partners/p{number}/**"));
        let facts = facts();
        criterion.bench_function(&format!("login, {many} 1,000 rules apply"), |bencher| {
            bencher
                .iter(|| black_box(SessionPolicy::new(rules.clone(), facts.clone(), Names::Exact)));
        });
    }
}

criterion_group!(benches, operations, logins);
criterion_main!(benches);
