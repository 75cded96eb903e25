//! The backends' servers, as JSON and as a table, and how one is drained.

use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use hyper::Method;
use serde_json::{Value, json};

use super::client::{NO_GATEWAY, fetch};
use super::error::{Answer, ApiError};
use crate::backend::group::{ServerView, Servers};
use crate::op::escape::printable;

pub(super) fn json(servers: &[ServerView]) -> Value {
    json!({ "servers": servers.iter().map(server).collect::<Vec<_>>() })
}

fn server(view: &ServerView) -> Value {
    let time = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
    let last_error = view.last_error.as_ref();
    json!({
        "server": view.name,
        "addresses": view.addresses,
        "state": if view.up { "up" } else { "down" },
        "since": time(view.since),
        "checked": view.checked,
        "drained": view.drained,
        "sessions": view.sessions,
        "sessions_max": view.sessions_max,
        "last_error": last_error.map(|(at, reason)| json!({ "at": time(*at), "reason": reason })),
    })
}

/// The answer to a request to drain a server, or to end that; `query`: `server=`.
pub(super) fn set_drained(servers: &Servers, query: &str, drained: bool) -> Answer {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, name)) = pairs.find(|(key, _)| key == "server") else {
        return Err(ApiError::bad_request("`server` is missing"));
    };
    match servers.set_drained(&name, drained) {
        Some(view) => Ok(json(&[view])),
        None => {
            let names: Vec<_> = servers.view().into_iter().map(|view| view.name).collect();
            let name = printable(name.as_bytes());
            let known = names.join(", ");
            let message = format!("there is no server \"{name}\"; known are: {known}");
            Err(ApiError::not_found(message))
        }
    }
}

/// A table for people. `response` is the admin socket's.
pub fn backends_table(response: &Value) -> String {
    let servers = response["servers"].as_array().map_or(&[][..], Vec::as_slice);
    let width = servers.iter().map(|it| shown(it, "server").chars().count()).max().unwrap_or(0);
    let width = width.max("SERVER".len());
    let mut text = format!(
        "{:<width$}  {:<7}  {:<20}  {:<9}  LAST ERROR\n",
        "SERVER", "STATE", "SINCE", "SESSIONS"
    );
    for server in servers {
        let is_drained = server["drained"] == true;
        let sessions = server["sessions"].as_u64().unwrap_or(0);
        let sessions = match server["sessions_max"].as_u64() {
            Some(max) => format!("{sessions}/{max}"),
            None => sessions.to_string(),
        };
        let error = match &server["last_error"] {
            Value::Null => "-".to_owned(),
            error => format!("{} {}", shown(error, "at"), shown(error, "reason")),
        };
        let _ = writeln!(
            text,
            "{:<width$}  {:<7}  {:<20}  {sessions:<9}  {error}",
            shown(server, "server"),
            if is_drained { "drained".to_owned() } else { shown(server, "state") },
            shown(server, "since"),
        );
    }
    text
}

/// Escaped: the socket may belong to another program, and errors come from servers.
fn shown(value: &Value, key: &str) -> String {
    printable(value[key].as_str().unwrap_or("?").as_bytes()).to_string()
}

/// Requests the servers from a running gateway, for the command line.
pub async fn fetch_backends(socket: &Path) -> anyhow::Result<Value> {
    let asked = fetch(socket, Method::GET, "/backends").await.and_then(with_servers);
    asked.with_context(|| format!("fetching the backends from {}", socket.display()))
}

/// Drains a server of a running gateway, or ends that; returns its state.
pub async fn drain_backend(socket: &Path, server: &str, drained: bool) -> anyhow::Result<Value> {
    let query =
        form_urlencoded::Serializer::new(String::new()).append_pair("server", server).finish();
    let action = if drained { "drain" } else { "undrain" };
    let path = format!("/backends/{action}?{query}");
    let asked = fetch(socket, Method::POST, &path).await.and_then(with_servers);
    asked.with_context(|| format!("asking the gateway at {}", socket.display()))
}

fn with_servers(answer: Value) -> anyhow::Result<Value> {
    anyhow::ensure!(answer["servers"].is_array(), NO_GATEWAY);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_server_and_printable_characters_only() {
        let since = SystemTime::UNIX_EPOCH;
        let view = ServerView {
            name: "stock/10.0.0.7:21".into(),
            addresses: vec!["10.0.0.7:21".into()],
            up: true,
            since,
            checked: true,
            drained: false,
            sessions: 3,
            sessions_max: Some(9),
            last_error: None,
        };
        let last_error = Some((since, "421 \u{1b}[2J".to_owned()));
        let down = ServerView { name: "b".into(), up: false, last_error, ..view.clone() };
        let drained =
            ServerView { name: "c".into(), drained: true, sessions_max: None, ..view.clone() };
        let text = backends_table(&json(&[view, down, drained]));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[1], "stock/10.0.0.7:21  up       1970-01-01T00:00:00Z  3/9        -");
        assert!(lines[2].contains("down") && lines[2].ends_with("421 \\u{1b}[2J"), "{text}");
        assert!(lines[3].contains("drained") && lines[3].contains("  3  "), "{text}");
    }
}
