//! Compares the rules that a case names with what the running gateway explains (`lockgate explain --socket`).

use lockgate::admin::{Question, fetch_explanation};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::gateway::listener;
use super::{Front, Round};
use crate::support::cells::Failure;

/// No rule decides.
const NONE: &str = "none";

pub fn failures(round: &Round<'_>) -> Vec<Failure> {
    let runtime = Runtime::new().expect("a runtime");
    let asked = round.case.decides(round.front);
    let failures = asked.filter_map(|(asked, expected)| {
        let expected = match expected.as_str() {
            NONE => Value::Null,
            rule => format!("{}/{rule}", round.case.name).into(),
        };
        let question = question(round, asked);
        let socket = round.gateways.socket(round.case);
        let answer = runtime.block_on(fetch_explanation(&socket, &question));
        let answer = answer.unwrap_or_else(|error| panic!("{asked}: {error:#}"));
        let policy = &answer["login"]["policy"];
        let found = match policy["command"].as_object() {
            Some(command) => command.get("rule").cloned().unwrap_or_default(),
            None => policy["decisions"][0]["rule"].clone(),
        };
        let shown = format!("expected {expected}, found {found} in {answer}");
        (found != expected).then(|| Failure::new(&format!("decides {asked}"), shown))
    });
    failures.collect()
}

/// Of "OPERATION PATH", or of an FTP command.
fn question(round: &Round<'_>, asked: &str) -> Question {
    let (operation, path) = match asked.split_once(" /") {
        Some((operation, path)) => (operation, format!("{}/{path}", round.base())),
        None => (asked, String::new()),
    };
    let is_plain = round.front == Front::Ftp && round.case.tls == "none";
    Question {
        user: round.case.name.clone(),
        source: round.case.source.to_string(),
        listener: listener(round.front, round.back),
        operation: operation.to_owned(),
        path,
        plain: if is_plain { "true".to_owned() } else { String::new() },
        ..Question::default()
    }
}
