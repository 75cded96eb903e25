//! Operators see and end the sessions of the processes before the one that has taken over.

use std::io::{Read as _, Write as _};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Fixture, TIMEOUT, expect_end, session, status};
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::wait::becomes_true;
use crate::support::{USER, pattern};

const BY_OPERATOR: &str = "an operator ended the session";

fn answer(gateway: &Gateway, arguments: &[&str]) -> Value {
    let output = gateway.admin(&[arguments, &["--json"]].concat()).expect_ok(arguments[0]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Of all processes, with the process, the state, and what the first transfer has moved.
fn sessions(gateway: &Gateway) -> Vec<(u64, u64, String, u64)> {
    let answer = answer(gateway, &["sessions"]);
    let row = |it: &Value| {
        let number = |key: &str| it[key].as_u64().expect("a number");
        let state = it["state"].as_str().expect("a state").to_owned();
        let moved = it["transfers"][0]["bytes"].as_u64().unwrap_or(0);
        (number("session"), number("process"), state, moved)
    };
    answer["sessions"].as_array().expect("sessions").iter().map(row).collect()
}

/// A route that no command of the command line asks.
fn get(gateway: &Gateway, path: &str) -> Value {
    let mut socket =
        std::os::unix::net::UnixStream::connect(gateway.folder().join("admin.sock")).expect("it");
    write!(socket, "GET {path} HTTP/1.1\r\nHost: lockgate\r\n\r\n").expect("asking");
    let mut response = String::new();
    socket.read_to_string(&mut response).expect("an answer");
    let (_, body) = response.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

#[track_caller]
fn expect_kicked(raw: &mut Raw) {
    let reply = raw.read();
    assert_eq!((reply.code, reply.text.contains(BY_OPERATOR)), (421, true), "{}", reply.text);
    assert!(raw.at_end());
}

#[track_caller]
fn kick(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.admin(&[&["kick"], arguments].concat()).expect_ok("kick");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn sessions_of_all_processes_are_seen_and_ended() {
    let mut fixture = Fixture::start(4);
    let bytes = pattern(300_000);
    let (mut oldest, mut idle) = (fixture.session(), fixture.session());
    let mut data = oldest.begin("STOR large");
    let mut next = fixture.gateway.take_over();
    let mut middle = session(&next);
    let later = middle.begin("STOR later");
    let last = next.take_over();
    let mut own = session(&last);
    // With the file and how far it is.
    data.write_all(&bytes).expect("sending a part");
    let (first, second, third) = (fixture.gateway.process(), next.process(), last.process());
    let shown =
        || sessions(&last).into_iter().map(|(_, process, state, moved)| (process, state, moved));
    let expected = [
        (first, "transferring", 300_000),
        (first, "idle", 0),
        (second, "transferring", 0),
        (third, "idle", 0),
    ];
    let expected =
        expected.map(|(process, state, moved)| (process.into(), state.to_owned(), moved));
    assert!(becomes_true(|| shown().eq(expected.iter().cloned())), "{:?}", sessions(&last));
    let all = answer(&last, &["sessions"]);
    assert_eq!(
        (&all["open"], all["sessions"][0]["transfers"][0]["path"].as_str()),
        (&json!(4), Some("/large"))
    );
    let mut before: Vec<_> = all["processes_before"].as_array().expect("a list").clone();
    before.sort_by_key(|it| it["sessions"].as_u64());
    let process = |process: u32, sessions: u64| json!({ "process": process, "sessions": sessions, "error": null });
    assert_eq!(before, [process(second, 1), process(first, 2)]);
    let transfers = get(&last, "/transfers");
    assert_eq!(transfers["running"], 2, "{transfers:#}");
    let paths = ["/large", "/later"];
    assert!(
        transfers["transfers"]
            .as_array()
            .expect("them")
            .iter()
            .zip(paths)
            .all(|(it, path)| it["path"] == path)
    );
    let overview = get(&last, "/overview");
    assert_eq!(
        (&overview["sessions"]["open"], &overview["transfers"]["running"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(overview["sessions"]["sessions"][1]["process"], first);
    assert_eq!(last.metric("lockgate_previous_process_sessions"), Some(3));
    assert_eq!(last.metric("lockgate_took_over"), Some(1));
    let table = last.admin(&["sessions"]).expect_ok("the table").stdout;
    let table = String::from_utf8(table).expect("text");
    assert!(
        table.contains("4 shown of 4 open sessions")
            && table.contains(", and 3 in those before it"),
        "{table}"
    );
    let of_first = format!("  {first} ");
    assert_eq!(table.lines().filter(|line| line.contains(&of_first)).count(), 2, "{table}");
    // By a number, which no two of them have.
    let numbers: Vec<_> =
        sessions(&last).into_iter().map(|(number, ..)| number.to_string()).collect();
    assert_eq!(kick(&last, &[&numbers[1]]), "1 session is ended\n");
    expect_kicked(&mut idle);
    // Running transfers end first.
    let said = kick(&last, &["--user", USER, "--after-transfers"]);
    assert_eq!(said, "3 sessions are ended once no transfer is running\n");
    expect_kicked(&mut own);
    drop(later);
    assert_eq!(middle.read().code, 226);
    expect_kicked(&mut middle);
    expect_end(&mut next);
    // In the middle of its transfer.
    assert_eq!(kick(&last, &[&numbers[0]]), "1 session is ended\n");
    assert_eq!(oldest.read().code, 426);
    expect_kicked(&mut oldest);
    drop(data);
    expect_end(&mut fixture.gateway);
    let record = fixture.gateway.await_log(|event| event["event"] == "transfer", TIMEOUT);
    assert_ne!(record["outcome"], "ok", "{record}");
    let none = last.admin(&["kick", &numbers[0]]);
    assert!(!none.ok() && none.describe().contains("no open session"), "{}", none.describe());
    assert!(becomes_true(|| last.metric("lockgate_previous_process_sessions") == Some(0)));
    assert_eq!(answer(&last, &["sessions"])["processes_before"], json!([]));
}

/// One that hangs is told of, and holds up nobody.
#[test]
fn a_process_that_does_not_answer_is_named() {
    let mut fixture = Fixture::start(4);
    let mut stopped = fixture.session();
    let mut next = fixture.gateway.take_over();
    let mut middle = session(&next);
    let last = next.take_over();
    let old = fixture.gateway.process();
    assert!(becomes_true(|| sessions(&last).len() == 2));
    let signal = |signal| {
        let process = i32::try_from(old).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(process, signal).expect("a signal");
    };
    signal(Signal::STOP);
    let all = answer(&last, &["sessions"]);
    assert_eq!(
        (all["sessions"].as_array().map(Vec::len), &all["open"]),
        (Some(1), &json!(2)),
        "{all:#}"
    );
    let is_named =
        |it: &Value| it["process"] == old && it["sessions"] == 1 && it["error"].is_string();
    assert!(all["processes_before"].as_array().expect("them").iter().any(is_named), "{all:#}");
    let table = last.admin(&["sessions"]).expect_ok("the table").describe();
    let line = format!("process {old} before this one (sessions: 1) does not answer: ");
    assert!(table.contains(&line), "{table}");
    assert!(last.admin(&["status"]).describe().contains("it does not answer"));
    // The others are reached.
    let output = last.admin(&["kick", "--user", USER]);
    assert!(!output.ok() && output.describe().contains(&line), "{}", output.describe());
    assert!(output.describe().contains("1 session is ended"), "{}", output.describe());
    expect_kicked(&mut middle);
    expect_end(&mut next);
    signal(Signal::CONT);
    assert!(becomes_true(|| last.admin(&["kick", "--user", USER]).ok()));
    expect_kicked(&mut stopped);
    expect_end(&mut fixture.gateway);
    assert!(becomes_true(|| status(&last)["processes_before"] == json!([])));
}
