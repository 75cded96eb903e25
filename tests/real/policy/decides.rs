//! Compares the rules that a case names with those that the compiled configuration finds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use lockgate::config::{self, BackendSettings};
use lockgate::op::{
    Changes, ListDirectory, Operation, ReadFile, RemotePath, Representation, WriteFile, WriteMode,
};
use lockgate::policy::{
    Decision, FileState, Names, Protocol, RuleSet, SessionFacts, SessionPolicy, Subject, decide,
};

use super::gateway::listener;
use super::{Front, Round};
use crate::support::cells::Failure;

/// No rule decides.
const NONE: &str = "none";

pub fn failures(round: &Round<'_>) -> Vec<Failure> {
    let policy = policy(round);
    let rules = round.case.decides.iter().filter_map(|(asked, expected)| {
        let expected = match expected.as_str() {
            NONE => None,
            rule => Some(format!("{}/{rule}", round.case.name)),
        };
        let found = rule(&policy, &asked.replace(" /", &format!(" {}/", round.base())));
        let shown = format!("expected {expected:?}, found {found:?}");
        (found != expected).then(|| Failure::new(&format!("decides {asked}"), shown))
    });
    rules.collect()
}

/// The rules as they apply to the round's session.
fn policy(round: &Round<'_>) -> SessionPolicy {
    let (case, back) = (round.case, round.back);
    let facts = SessionFacts {
        user: case.name.clone().into_bytes(),
        groups: case.groups.clone(),
        listener: listener(round.front, back),
        backend: back.name.to_owned(),
        protocol: match round.front {
            Front::Ftp => Protocol::Ftp,
            Front::Sftp => Protocol::Sftp,
        },
        encrypted: round.front == Front::Sftp || case.tls != "none",
        source: case.source,
    };
    let (rules, names) = compiled(round.gateways.config_of(case));
    let policy = SessionPolicy::new(rules, facts, names[back.name]);
    policy.set_data_encrypted(round.front == Front::Sftp || case.tls == "all");
    policy
}

type Parts = (Arc<RuleSet>, Arc<HashMap<String, Names>>);

/// The parts of a configuration that decide.
fn compiled(text: &str) -> Parts {
    static COMPILED: OnceLock<Mutex<HashMap<String, Parts>>> = OnceLock::new();
    let mut all = COMPILED.get_or_init(Mutex::default).lock().expect("no holder panics");
    let compile = || {
        let compiled = config::load_str(text, "cases").unwrap_or_else(|e| panic!("{e}"));
        let names = compiled.backends.iter().map(|(name, settings)| {
            let names = match settings {
                BackendSettings::Ftp(settings) => settings.names,
                BackendSettings::Sftp(settings) => settings.names,
                BackendSettings::Local(_) => Names::Exact,
            };
            (name.clone(), names)
        });
        let names = Arc::new(names.collect());
        (Arc::new(compiled.policy.expect("a policy")), names)
    };
    all.entry(text.to_owned()).or_insert_with(compile).clone()
}

/// The rule that decides "OPERATION PATH"; for a change of a file, of one that exists.
fn rule(policy: &SessionPolicy, asked: &str) -> Option<String> {
    let (operation, path) = asked.split_once(' ').expect("an operation and a path");
    let path = RemotePath::resolve(&RemotePath::root(), path.as_bytes()).expect("a path");
    let representation = Representation::Image;
    let write = |mode| WriteFile { path: path.clone(), mode, representation };
    match operation {
        "list" => of(policy, ListDirectory { path }),
        "read" => of(policy, ReadFile { path, offset: 0, representation }),
        "create" => of(policy, write(WriteMode::New)),
        "overwrite" => of(policy, write(WriteMode::From { offset: 0 })),
        "append" => of(policy, write(WriteMode::Append)),
        "delete" => of(policy, Operation::Remove(path)),
        "rename" => of(policy, Operation::RenameFrom(path)),
        "mkdir" => of(policy, Operation::MakeDirectory { path, permissions: None }),
        "rmdir" => of(policy, Operation::RemoveDirectory(path)),
        "attributes" => {
            let changes = Changes::permissions(0o600);
            of(policy, Operation::SetAttributes { path, changes, follow: true })
        }
        "link" => of(policy, Operation::HardLink { from: path.clone(), to: path }),
        other => panic!("no operation is named {other:?}"),
    }
}

fn of<A: Subject>(policy: &SessionPolicy, action: A) -> Option<String> {
    let decided = match decide(Some(policy), action, false) {
        Decision::Allowed(permit) => Ok(permit),
        Decision::Denied(denial) => Err(denial),
        Decision::Depends(question) => question.answer(FileState::Present(Some(0))),
    };
    match decided {
        Ok(permit) => permit.terms().rule.as_ref().map(ToString::to_string),
        Err(denial) => denial.rule().map(ToString::to_string),
    }
}
