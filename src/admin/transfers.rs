//! The running transfers of all sessions, the oldest first.

use std::sync::Arc;

use serde_json::{Value, json};

use super::before::Merged;
use super::control::Control;
use super::session_json::transfer;
use super::take_over::PeerRequest;
use super::text::cut;
use crate::session::SessionView;

/// Transfers that are listed; the count includes all.
const LISTED_MAX: usize = 1000;

/// The answer to a request for them.
pub(super) async fn json(control: &Arc<dyn Control>) -> Value {
    let before = Merged::of(control.clone().ask_before(PeerRequest::Transfers).await);
    let sessions = control.lasting().live.all();
    let sessions: Vec<_> = sessions.iter().map(|it| it.view()).collect();
    listed(&sessions, before)
}

/// Those of these sessions, and of the processes before.
pub(super) fn listed(sessions: &[SessionView], before: Merged) -> Value {
    let processes = before.processes_json();
    let (own, running) = rows(sessions);
    let mut transfers = before.rows;
    transfers.extend(own);
    // The texts of times are in their order.
    transfers.sort_by(|one, other| one["since"].as_str().cmp(&other["since"].as_str()));
    transfers.truncate(LISTED_MAX);
    let running = before.count + running;
    json!({ "transfers": transfers, "running": running, "processes_before": processes })
}

/// The oldest of these sessions, and how many they have in all.
pub(super) fn rows(sessions: &[SessionView]) -> (Vec<Value>, usize) {
    let running: usize = sessions.iter().map(|view| view.transfers_running).sum();
    let all = sessions.iter().flat_map(|view| view.transfers.iter().map(move |it| (view, it)));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, transfer)| transfer.since);
    let listed = all.into_iter().take(LISTED_MAX).map(|(view, running)| {
        let mut shown = transfer(running);
        let account = view.account.as_ref();
        shown["session"] = json!(view.session);
        shown["process"] = json!(std::process::id());
        shown["listener"] = json!(view.listener);
        shown["protocol"] = json!(view.protocol);
        shown["client"] = json!(view.client.ip().to_string());
        shown["user"] = json!(account.map(|account| cut(&account.user)));
        shown["backend"] = json!(account.map(|account| &account.backend));
        shown
    });
    (listed.collect(), running)
}
