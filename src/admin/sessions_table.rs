//! The open sessions as a table for people.

use serde_json::Value;

use super::before::unanswered;
use super::text::{bytes, columns, duration, list, number, text_of};
use crate::op::escape::shortened;

/// Characters of a user's name; `--json` has more.
const USER_MAX: usize = 40;
/// Characters of a path.
const PATH_MAX: usize = 120;
const HEAD: [&str; 10] =
    ["ID", "PROCESS", "LISTENER", "PROTOCOL", "CLIENT", "USER", "BACKEND", "FOR", "STATE", "DOING"];

/// The column that is left out while there is only one process.
const PROCESS: usize = 1;

/// A table for people, after a line with sums: a line for each session, and one for each further thing that it
/// does. `response` is the admin socket's.
pub fn sessions_table(response: &Value) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let (mut up, mut down) = (0_u64, 0_u64);
    let sessions = list(response, "sessions");
    for session in sessions {
        up = up.saturating_add(number(session, "upload_rate"));
        down = down.saturating_add(number(session, "download_rate"));
        let mut doing = doing(session).into_iter();
        rows.push(row(session, doing.next().unwrap_or_default()));
        rows.extend(doing.map(|doing| {
            let mut row = vec![String::new(); HEAD.len() - 1];
            row.push(doing);
            row
        }));
    }
    let (open, max) = (number(response, "open"), number(response, "sessions_max"));
    let (up, down) = (bytes(up), bytes(down));
    let shown = sessions.len();
    let processes = list(response, "processes_before");
    let limit = format!("at most {max} (limits.sessions)");
    let limited = if processes.is_empty() {
        rows.iter_mut().for_each(|row| drop(row.remove(PROCESS)));
        format!(", {limit}")
    } else {
        let before: u64 = processes.iter().map(|it| number(it, "sessions")).sum();
        let own = open.saturating_sub(before);
        format!(": {own} in this process, {limit}, and {before} in those before it")
    };
    let sum = format!("{shown} shown of {open} open sessions{limited}");
    let mut lines = vec![format!("{sum}; up {up}/s, down {down}/s")];
    lines.extend(unanswered(response));
    format!("{}\n\n{}", lines.join("\n"), columns(&rows))
}

fn row(session: &Value, doing: String) -> Vec<String> {
    let state = match session["idle_seconds"].as_u64() {
        Some(idle) if session["state"] == "idle" => format!("idle {}", duration(idle)),
        _ => text_of(session, "state"),
    };
    vec![
        number(session, "session").to_string(),
        number(session, "process").to_string(),
        text_of(session, "listener"),
        text_of(session, "protocol"),
        text_of(&session["client"], "address"),
        user(session),
        match &session["backend"] {
            Value::Null => "-".to_owned(),
            backend => text_of(backend, "name"),
        },
        duration(number(session, "seconds")),
        state,
        doing,
    ]
}

/// Without a login, the name that the client has tried has a question mark.
fn user(session: &Value) -> String {
    if session["user"].is_null() {
        return "-".to_owned();
    }
    let user = shortened(&text_of(session, "user"), USER_MAX);
    if session["logged_in"] == true { user } else { format!("{user} ?") }
}

fn doing(session: &Value) -> Vec<String> {
    let transfers = list(session, "transfers").iter().map(|transfer| {
        let (moved, rate) = (bytes(number(transfer, "bytes")), bytes(number(transfer, "rate")));
        format!("{} {}  {moved}, {rate}/s", text_of(transfer, "direction"), path(transfer, "path"))
    });
    let operations = list(session, "operations").iter().map(|operation| {
        let to = match &operation["to"] {
            Value::Null => String::new(),
            _ => format!(" to {}", path(operation, "to")),
        };
        let (name, path) = (text_of(operation, "operation"), path(operation, "path"));
        format!("{name} {path}{to}  {}", duration(number(operation, "seconds")))
    });
    let mut doing: Vec<_> = transfers.chain(operations).collect();
    let all = number(session, "transfers_running") + number(session, "operations_running");
    let more = all.saturating_sub(doing.len() as u64);
    if more > 0 {
        doing.push(format!("and {more} more"));
    }
    if !session["ending"].is_null() {
        doing.push(format!("ending: {}", text_of(session, "ending")));
    }
    doing
}

fn path(value: &Value, key: &str) -> String {
    shortened(&text_of(value, key), PATH_MAX)
}
