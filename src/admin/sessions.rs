//! The open sessions of this process and of those before it, for operators; ending them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use hyper::Method;
use serde_json::{Value, json};

use super::before::{Merged, unanswered};
use super::client::{NO_GATEWAY, fetch};
use super::control::Control;
use super::error::{Answer, ApiError};
use super::selection::{Query, Selection};
use super::session_json::session;
use super::take_over::PeerRequest;
use crate::session::{LiveSession, LiveSessions, SessionEnd, SessionView};

/// The answer to a request for the sessions; `query`: which, by default all.
pub(super) async fn json(control: &Arc<dyn Control>, query: &str) -> Answer {
    let Query { selection, after_transfers } =
        Query::parse(query).map_err(ApiError::bad_request)?;
    if after_transfers {
        return Err(ApiError::bad_request("unknown parameter `after_transfers`"));
    }
    let request = PeerRequest::Sessions { selection: selection.clone(), max: None };
    let before = Merged::of_sessions(control.clone().ask_before(request).await);
    let (live, limit) = (control.lasting().live, sessions_max(&**control));
    let shown = selected(&live, selection.as_ref());
    if let Some(Selection::Session(number)) = selection
        && shown.is_empty()
        && before.rows.is_empty()
    {
        return Err(unknown(number, &before));
    }
    let views: Vec<_> = shown.iter().map(|it| it.view()).collect();
    Ok(listed(&views, live.len(), before, limit))
}

/// `limits.sessions`.
fn sessions_max(control: &dyn Control) -> usize {
    control.in_force().explainer.gateway.limits.sessions
}

/// These of all that are `open` here, after those of the processes before. `limit`: `limits.sessions`.
pub(super) fn listed(views: &[SessionView], open: usize, before: Merged, limit: usize) -> Value {
    let processes = before.processes_json();
    let mut sessions = before.rows;
    // Older processes have lower numbers.
    sessions.sort_by_key(|session| session["session"].as_u64());
    sessions.extend(views.iter().map(session));
    json!({
        "sessions": sessions,
        "open": before.count + open,
        "sessions_max": limit,
        "processes_before": processes,
    })
}

/// The answer to a request to end sessions; `query`: exactly one selection, and maybe `after_transfers=true`.
pub(super) async fn kick(control: &Arc<dyn Control>, query: &str) -> Answer {
    let Query { selection, after_transfers } =
        Query::parse(query).map_err(ApiError::bad_request)?;
    let selection = selection.ok_or_else(|| {
        ApiError::bad_request("one of `id`, `user`, `address` and `backend` is missing")
    })?;
    let own = end(&control.lasting().live, &selection, after_transfers);
    let mut before = Merged::default();
    // No two processes have a session of the same number.
    if own.is_empty() || !matches!(selection, Selection::Session(_)) {
        let selection = selection.clone();
        let request = PeerRequest::Kick { selection, after_transfers };
        before = Merged::of(control.clone().ask_before(request).await);
    }
    let (ended, processes) = (own.len() + before.count, before.processes_json());
    match selection {
        Selection::Session(number) if ended == 0 => return Err(unknown(number, &before)),
        _ => {}
    }
    let mut numbers = before.rows;
    numbers.extend(own.into_iter().map(Value::from));
    Ok(json!({ "ended": ended, "sessions": numbers, "processes_before": processes }))
}

/// Ends sessions of this process; returns their numbers.
pub(super) fn end(live: &LiveSessions, selection: &Selection, after_transfers: bool) -> Vec<u64> {
    let meant = selected(live, Some(selection));
    for session in &meant {
        tracing::info!(
            session = session.number(),
            peer = %session.client(),
            after_transfers,
            "an operator ends a session"
        );
        if after_transfers {
            session.end_after_transfers(SessionEnd::by_operator());
        } else {
            session.end_now(SessionEnd::by_operator());
        }
    }
    meant.iter().map(|session| session.number()).collect()
}

/// Those of this process, by number; by default all.
pub(super) fn selected(
    live: &LiveSessions,
    selection: Option<&Selection>,
) -> Vec<Arc<LiveSession>> {
    let mut all = live.all();
    all.retain(|session| selection.is_none_or(|selection| selection.includes(session)));
    all
}

fn unknown(number: u64, before: &Merged) -> ApiError {
    let silent = unanswered(&json!({ "processes_before": before.processes_json() }));
    let rest = match &silent[..] {
        [] => "`lockgate sessions` lists them".to_owned(),
        silent => format!("but {}", silent.join("; ")),
    };
    ApiError::not_found(format!("there is no open session {number}; {rest}"))
}

/// Requests the open sessions from a running gateway, for the command line: all, or those selected.
pub async fn fetch_sessions(socket: &Path, selection: Option<&Selection>) -> anyhow::Result<Value> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(selection.map(Selection::pair));
    let fetch = async {
        let sessions = fetch(socket, Method::GET, &format!("/sessions?{}", query.finish())).await?;
        anyhow::ensure!(sessions["sessions"].is_array(), NO_GATEWAY);
        Ok(sessions)
    };
    fetch.await.with_context(|| format!("fetching the sessions from {}", socket.display()))
}

/// How many sessions were ended; and the processes that have not answered, in words.
pub struct Kicked {
    /// In all processes that have answered.
    pub ended: u64,
    /// A line for each.
    pub unanswered: Vec<String>,
}

/// Ends sessions of a running gateway.
pub async fn kick_sessions(
    socket: &Path,
    selection: &Selection,
    after_transfers: bool,
) -> anyhow::Result<Kicked> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([selection.pair(), ("after_transfers", after_transfers.to_string())]);
    let path = format!("/sessions/kick?{}", query.finish());
    let kick = async {
        let answer = fetch(socket, Method::POST, &path).await?;
        let ended = answer["ended"].as_u64().context(NO_GATEWAY)?;
        anyhow::Ok(Kicked { ended, unanswered: unanswered(&answer) })
    };
    kick.await.with_context(|| format!("asking the gateway at {}", socket.display()))
}
