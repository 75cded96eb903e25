//! No sequence of operations has an effect that the rules do not allow: random rules, random operations, and a
//! backend that checks each effect (`model.rs`).

use std::sync::Arc;

use globset::{GlobBuilder, GlobSetBuilder};
use prometheus::Registry;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::model::{Model, Place, Reference, References, Verdict};
use super::*;
use crate::op::Effect;
use crate::policy::{
    Names, PathPattern, Protocol, Rule, RuleSet, Scope, SessionFacts, SessionPolicy, UploadRule,
};

const DENIED_NAME: &str = "x.exe";

#[derive(Debug, Clone)]
enum Step {
    Write(String, WriteMode),
    Read(String),
    List(String),
    Open(String, OpenMode, Vec<(u64, usize)>, Option<u64>),
    Copy { from: String, to: String, mode: OpenMode, offset: u64 },
    Remove(String),
    MakeDirectory(String),
    RemoveDirectory(String),
    Rename(String, String, Onto),
    SetAttributes(String, Option<u64>, Option<u32>),
    HardLink(String, String),
    Stat(String),
}

fn paths() -> impl Strategy<Value = String> + Clone {
    let name = || select(vec!["a", "b", "c", DENIED_NAME]);
    vec(name(), 1..=3).prop_map(|names| format!("/{}", names.join("/")))
}

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![
        2 => Just(Place::Everywhere),
        3 => paths().prop_map(Place::Below),
        2 => paths().prop_map(Place::In),
        2 => paths().prop_map(Place::Exactly),
        1 => Just(Place::Below(String::new())),
        1 => Just(Place::In(String::new())),
        1 => select(vec!["a", "b", "c"]).prop_map(|name| Place::Named(name.into())),
        1 => select(vec!["a", "b", "c"]).prop_map(|name| Place::InNamed(name.into())),
    ]
}

fn effects() -> impl Strategy<Value = Vec<Effect>> {
    let all = Effect::ALL.map(|(_, effect)| effect).to_vec();
    prop_oneof![
        1 => Just(all.clone()),
        3 => proptest::sample::subsequence(all, 1..6),
    ]
}

fn references() -> impl Strategy<Value = References> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Allow),
        1 => Just(Verdict::Deny),
        1 => Just(Verdict::Hide),
    ];
    let rule = (verdict, effects(), places()).prop_map(|(verdict, effects, place)| Reference {
        verdict,
        effects,
        place,
    });
    let uploads = (
        proptest::option::weighted(0.2, places()),
        proptest::option::weighted(0.2, 4_u64..16),
        proptest::option::weighted(0.2, Just(DENIED_NAME.to_owned())),
    );
    // Mostly the last rule allows much, or nearly everything would be refused.
    let all = Effect::ALL.map(|(_, effect)| effect).to_vec();
    let last = proptest::sample::subsequence(all, 5..=Effect::ALL.len()).prop_map(|effects| {
        Reference { verdict: Verdict::Allow, effects, place: Place::Everywhere }
    });
    let rules = (vec(rule, 1..5), proptest::option::weighted(0.8, last));
    (rules, uploads).prop_map(|((rules, last), (write_once, max_size, denied_name))| References {
        rules: rules.into_iter().chain(last).collect(),
        write_once,
        max_size,
        denied_name,
    })
}

fn modes() -> impl Strategy<Value = OpenMode> {
    any::<[bool; 6]>().prop_filter_map("no OPEN", |flags| {
        let [read, write, append, create, truncate, exclusive] = flags;
        let mode = OpenMode {
            read,
            write: write || append,
            append,
            create,
            truncate,
            exclusive,
            permissions: None,
        };
        // As the front refuses them.
        let nothing = !read && !mode.write;
        let refused = [nothing, truncate && !mode.write, exclusive && !create];
        let valid = !refused.contains(&true);
        valid.then_some(mode)
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let offset = || 0_u64..12;
    let write_mode = prop_oneof![
        2 => Just(WriteMode::From { offset: 0 }),
        2 => offset().prop_map(|offset| WriteMode::From { offset }),
        2 => Just(WriteMode::Append),
        1 => Just(WriteMode::Unique),
    ];
    let onto = select(vec![Onto::AsBackend, Onto::Refused, Onto::Replaced]);
    let writes = vec((offset(), 1_usize..6), 0..3);
    let size = || proptest::option::weighted(0.3, offset());
    prop_oneof![
        4 => (paths(), write_mode).prop_map(|(path, mode)| Step::Write(path, mode)),
        1 => paths().prop_map(Step::Read),
        2 => paths().prop_map(Step::List),
        6 => (paths(), modes(), writes, size())
            .prop_map(|(path, mode, writes, size)| Step::Open(path, mode, writes, size)),
        2 => (paths(), paths(), modes(), offset())
            .prop_map(|(from, to, mode, offset)| Step::Copy { from, to, mode, offset }),
        1 => paths().prop_map(Step::Remove),
        1 => paths().prop_map(Step::MakeDirectory),
        1 => paths().prop_map(Step::RemoveDirectory),
        4 => (paths(), paths(), onto).prop_map(|(from, to, onto)| Step::Rename(from, to, onto)),
        2 => (paths(), size(), proptest::option::of(Just(0o600)))
            .prop_map(|(path, size, mode)| Step::SetAttributes(path, size, mode)),
        1 => (paths(), paths()).prop_map(|(from, to)| Step::HardLink(from, to)),
        1 => paths().prop_map(Step::Stat),
    ]
}

fn rule_set(references: &References) -> RuleSet {
    let scope = |place: &Place| Scope {
        paths: place.pattern().map(|pattern| vec![PathPattern::new(&pattern).unwrap()]),
        ..Scope::default()
    };
    let rules = references.rules.iter().enumerate().map(|(index, rule)| Rule {
        name: format!("rule-{index}").into(),
        scope: scope(&rule.place),
        effects: crate::op::Effects::of(&rule.effects),
        commands: Vec::new(),
        verdict: match rule.verdict {
            Verdict::Allow => crate::policy::Verdict::Allow,
            Verdict::Deny => crate::policy::Verdict::Deny { message: None },
            Verdict::Hide => crate::policy::Verdict::Hide,
        },
        dry_run: false,
    });
    let names = references.denied_name.as_ref().map(|name| {
        let glob = GlobBuilder::new(name).case_insensitive(true).build().unwrap();
        GlobSetBuilder::new().add(glob).build().unwrap()
    });
    let entry = |name: &str, scope: Scope| UploadRule {
        name: name.into(),
        scope,
        allowed_names: None,
        denied_names: None,
        max_size: None,
        write_once: false,
    };
    let once = references
        .write_once
        .as_ref()
        .map(|place| UploadRule { write_once: true, ..entry("once", scope(place)) });
    let size = references
        .max_size
        .map(|max| UploadRule { max_size: Some(max), ..entry("size", Scope::default()) });
    let named = names
        .map(|names| UploadRule { denied_names: Some(names), ..entry("names", Scope::default()) });
    let uploads = [once, size, named].into_iter().flatten().collect();
    RuleSet::new(rules.collect(), uploads, false).unwrap()
}

fn session(model: &Model, references: &References) -> Session {
    let facts = SessionFacts {
        user: b"u".to_vec(),
        groups: Vec::new(),
        listener: "test".into(),
        backend: "model".into(),
        protocol: Protocol::Sftp,
        encrypted: true,
        source: "127.0.0.1".parse().unwrap(),
    };
    let policy = SessionPolicy::new(Arc::new(rule_set(references)), facts, Names::Exact);
    let root =
        Root::new(&route::Root::Path(path("/")), Vec::new(), Names::Exact, &Home::At(path("/")));
    super::session("model", Box::new(model.clone()), root, Some(policy), &Registry::new())
}

/// Failures are what the rules, or the state of the files, make of a step.
async fn perform(session: &Session, model: &Model, step: Step) {
    let binary = Representation::Image;
    match step {
        Step::Write(name, mode) => {
            if let Ok(upload) = session.write(path(&name), mode, binary).await {
                let _ = upload.finish().await;
            }
        }
        Step::Read(name) => drop(session.read(path(&name), 0, binary).await),
        Step::List(name) => {
            let Ok(mut listing) = session.list(path(&name)).await else { return };
            while let Some(entries) = listing.next().await.unwrap() {
                for entry in entries {
                    let below = format!("{name}/{}", String::from_utf8_lossy(&entry.name));
                    let is_folder = entry.kind == EntryKind::Directory;
                    assert!(!model.rules.hides(&below, is_folder), "{below} was listed");
                }
            }
            listing.finish();
        }
        Step::Open(name, mode, writes, size) => {
            let Ok(file) = session.open(path(&name), mode).await else { return };
            for (offset, length) in writes {
                let _ = file.write_at(offset, vec![0; length].into()).await;
            }
            let _ = file.read_at(0, 1).await;
            if let Some(size) = size {
                let changes = Changes { size: Some(size), ..Changes::default() };
                let _ = file.set_attributes(changes).await;
            }
            let _ = file.set_attributes(Changes::permissions(0o600)).await;
            let _ = file.close().await;
        }
        Step::Copy { from, to, mode, offset } => {
            let Ok(source) = session.open(path(&from), READ).await else { return };
            if let Ok(target) = session.open(path(&to), mode).await {
                let _ = source.copy_data(0, 0, &target, offset).await;
                let _ = source.copy_data(1, 2, &target, offset).await;
                let _ = target.close().await;
            }
            let _ = source.close().await;
        }
        Step::Stat(name) => {
            if session.perform(Operation::Stat(path(&name))).await.is_ok() {
                model.rules.check(Effect::List, &name);
            }
        }
        step => drop(session.perform(operation(step)).await),
    }
}

fn operation(step: Step) -> Operation {
    match step {
        Step::Remove(name) => Operation::Remove(path(&name)),
        Step::MakeDirectory(name) => {
            Operation::MakeDirectory { path: path(&name), permissions: None }
        }
        Step::RemoveDirectory(name) => Operation::RemoveDirectory(path(&name)),
        Step::Rename(from, to, onto) => {
            Operation::Rename { from: path(&from), to: path(&to), onto }
        }
        Step::SetAttributes(name, size, permissions) => {
            let changes = Changes { size, permissions, ..Changes::default() };
            Operation::SetAttributes { path: path(&name), changes, follow: true }
        }
        Step::HardLink(from, to) => Operation::HardLink { from: path(&from), to: path(&to) },
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_sequence_of_operations_has_an_effect_that_no_rule_allows() {
    // PROPTEST_CASES=10000 tries more.
    let mut runner = TestRunner::new(Config::default());
    let cases = Config::default().cases;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let effects = std::cell::Cell::new(0);
    let strategy = (references(), any::<bool>(), vec(steps(), 10..40));
    let outcome = runner.run(&strategy, |(references, exclusive, steps)| {
        let model = Model::new(references.clone(), exclusive);
        let session = session(&model, &references);
        runtime.block_on(async {
            for step in steps {
                perform(&session, &model, step).await;
            }
        });
        effects.set(effects.get() + *model.effects.lock().unwrap());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // Not everything is refused.
    let each = effects.get() as f64 / f64::from(cases);
    assert!(each > 2.0, "{each} effects in each case");
}

/// With everything allowed nothing is refused by the rules.
#[test]
fn nothing_is_denied_where_everything_is_allowed() {
    let everything = References {
        rules: vec![Reference {
            verdict: Verdict::Allow,
            effects: Effect::ALL.map(|(_, effect)| effect).to_vec(),
            place: Place::Everywhere,
        }],
        ..References::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    proptest!(ProptestConfig::with_cases(50), |(exclusive: bool, steps in vec(steps(), 1..20))| {
        let lines = Lines::default();
        let log = lines.collect();
        let model = Model::new(everything.clone(), exclusive);
        let session = session(&model, &everything);
        runtime.block_on(async {
            for step in steps {
                perform(&session, &model, step).await;
            }
        });
        drop((session, log));
        let lines = lines.take();
        prop_assert!(!lines.contains("fault=\"policy\""), "{}", lines);
    });
}
