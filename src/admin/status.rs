//! The state of the whole gateway, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use hyper::Method;
use serde_json::{Value, json};

use super::before::ProcessBefore;
use super::client::{NO_GATEWAY, fetch};
use super::drain::{self, drain_text};
use super::explain::ListenerKind;
use super::text::{bytes, columns, duration, list, number, percent, text_of, time};
use crate::backend::group::ServerView;
use crate::data::PoolView;
use crate::expected::{ExpectedView, State};
use crate::net::Drain;
use crate::op::escape::printable;
use crate::policy::Protocol;
use crate::session::{SessionState, SessionView};

/// The state of everything at one moment.
pub(super) struct Snapshot<'a> {
    pub(super) started: SystemTime,
    /// The configuration file; `None`: the configuration is no file.
    pub(super) file: Option<&'a Path>,
    pub(super) in_force_since: SystemTime,
    pub(super) drain: &'a Drain,
    pub(super) listeners: &'a [ListenerKind],
    /// Every bound address by listener name.
    pub(super) addresses: &'a [(String, SocketAddr)],
    pub(super) sessions: &'a [SessionView],
    /// `limits.sessions`.
    pub(super) sessions_max: usize,
    pub(super) pools: &'a [PoolView],
    pub(super) servers: &'a [ServerView],
    pub(super) bans: usize,
    pub(super) expected: &'a [ExpectedView],
    pub(super) before: &'a [ProcessBefore],
}

pub(super) fn json(now: &Snapshot<'_>) -> Value {
    let Snapshot { sessions, servers, .. } = now;
    let seconds = |since: SystemTime| since.elapsed().unwrap_or_default().as_secs();
    let file = now.file.map(|file| printable(file.as_os_str().as_encoded_bytes()).to_string());
    let states = SessionState::ALL.map(|state| {
        let count = sessions.iter().filter(|session| session.state == state).count();
        (state.as_str(), count)
    });
    let sum = |of: fn(&SessionView) -> u64| sessions.iter().map(of).sum::<u64>();
    let count = |is: fn(&ServerView) -> bool| servers.iter().filter(|server| is(server)).count();
    let expected = |state| now.expected.iter().filter(|view| view.state == state).count();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "started": time(now.started),
        "seconds": seconds(now.started),
        "drain": drain::json(now.drain),
        "configuration": {
            "file": file,
            "in_force_since": time(now.in_force_since),
        },
        "sessions": {
            "open": sessions.len(),
            "max": now.sessions_max,
            "states": states.into_iter().collect::<BTreeMap<_, _>>(),
            "transfers": sessions.iter().map(|it| it.transfers_running).sum::<usize>(),
            "upload_rate": sum(|session| session.upload_rate),
            "download_rate": sum(|session| session.download_rate),
        },
        "listeners": now.listeners.iter().map(|it| listener(it, now)).collect::<Vec<_>>(),
        "data_ports": now.pools.iter().map(pool).collect::<Vec<_>>(),
        "servers": {
            "up": count(|server| server.up && !server.drained),
            "down": count(|server| !server.up && !server.drained),
            "drained": count(|server| server.drained),
        },
        "bans": now.bans,
        "expected": State::ALL.map(|state| (state.as_str(), expected(state)))
            .into_iter().collect::<BTreeMap<_, _>>(),
        "processes_before": now.before.iter().map(ProcessBefore::json).collect::<Vec<_>>(),
    })
}

fn listener(kind: &ListenerKind, now: &Snapshot<'_>) -> Value {
    let bound = now.addresses.iter().filter(|(name, _)| *name == kind.name);
    json!({
        "listener": kind.name,
        "protocol": match kind.protocol {
            Protocol::Ftp => "ftp",
            Protocol::Sftp => "sftp",
        },
        "addresses": bound.map(|(_, address)| address.to_string()).collect::<Vec<_>>(),
        "sessions": now.sessions.iter().filter(|it| it.listener == kind.name).count(),
    })
}

fn pool(view: &PoolView) -> Value {
    json!({
        "pool": view.pool,
        "ports": view.ports.len(),
        "reserved": view.ports.iter().map(|port| port.reserved).sum::<usize>(),
        "active": view.ports.iter().map(|port| port.active).sum::<usize>(),
        "waiting": view.queued,
        "fullness": view.fullness,
    })
}

/// For people. `response` is the admin socket's.
pub fn status_text(response: &Value) -> String {
    let mut text = String::new();
    let drain = match &response["drain"] {
        drain if drain["phase"] == "serving" => String::new(),
        drain => format!("drain: {}\n", drain_text(drain)),
    };
    let configuration = &response["configuration"];
    let file = match &configuration["file"] {
        Value::Null => "none".to_owned(),
        _ => text_of(configuration, "file"),
    };
    let (sessions, servers) = (&response["sessions"], &response["servers"]);
    let states = counts(&sessions["states"]);
    let states = if states.is_empty() { states } else { format!(": {states}") };
    let expected = match counts(&response["expected"]) {
        none if none.is_empty() => none,
        counts => format!("expected files: {counts}\n"),
    };
    let _ = write!(
        text,
        "lockgate {}, process {}, since {} ({})\n{drain}\
         configuration: {file}, in force since {}\n\
         sessions: {} of at most {} (limits.sessions){}\n\
         transfers: {}; up {}/s, down {}/s\n\
         backend servers: {} up, {} down, {} drained\n\
         banned addresses: {}\n{expected}",
        text_of(response, "version"),
        number(response, "process"),
        text_of(response, "started"),
        duration(number(response, "seconds")),
        text_of(configuration, "in_force_since"),
        number(sessions, "open"),
        number(sessions, "max"),
        states,
        number(sessions, "transfers"),
        bytes(number(sessions, "upload_rate")),
        bytes(number(sessions, "download_rate")),
        number(servers, "up"),
        number(servers, "down"),
        number(servers, "drained"),
        number(response, "bans"),
    );
    for before in list(response, "processes_before") {
        let (process, sessions) = (number(before, "process"), number(before, "sessions"));
        let error = match &before["error"] {
            Value::Null => String::new(),
            _ => format!("; it does not answer: {}", text_of(before, "error")),
        };
        let _ =
            writeln!(text, "process before this one: {process}, with {sessions} sessions{error}");
    }
    let mut listeners = vec![["LISTENER", "PROTOCOL", "SESSIONS", "ADDRESSES"].map(str::to_owned)];
    for listener in list(response, "listeners") {
        let addresses = list(listener, "addresses").iter();
        let addresses = addresses.filter_map(Value::as_str);
        listeners.push([
            text_of(listener, "listener"),
            text_of(listener, "protocol"),
            number(listener, "sessions").to_string(),
            printable(addresses.collect::<Vec<_>>().join(", ").as_bytes()).to_string(),
        ]);
    }
    let _ = write!(text, "\n{}", columns(&listeners));
    let mut pools =
        vec![["DATA PORTS", "PORTS", "RESERVED", "ACTIVE", "WAITING", "FULL"].map(str::to_owned)];
    for pool in list(response, "data_ports") {
        let count = |key| number(pool, key).to_string();
        let name = text_of(pool, "pool");
        pools.push([
            name,
            count("ports"),
            count("reserved"),
            count("active"),
            count("waiting"),
            format!("{} %", percent(pool)),
        ]);
    }
    if pools.len() > 1 {
        let _ = write!(text, "\n{}", columns(&pools));
    }
    text
}

/// `2 before-login, 1 idle`, without those that are zero.
fn counts(of: &Value) -> String {
    let counts = of.as_object().into_iter().flatten();
    let counts = counts.filter_map(|(name, count)| Some((name, count.as_u64()?)));
    let counts = counts.filter(|(_, count)| *count > 0);
    let counts = counts.map(|(name, count)| format!("{count} {}", printable(name.as_bytes())));
    counts.collect::<Vec<_>>().join(", ")
}

/// Requests the state of a running gateway, for the command line.
pub async fn fetch_status(socket: &Path) -> anyhow::Result<Value> {
    let fetch = async {
        let status = fetch(socket, Method::GET, "/status").await?;
        anyhow::ensure!(status["sessions"].is_object(), NO_GATEWAY);
        Ok(status)
    };
    fetch.await.with_context(|| format!("fetching the status from {}", socket.display()))
}
