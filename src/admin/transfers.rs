//! The running transfers of all sessions, the oldest first.

use serde_json::{Value, json};

use super::sessions::transfer;
use super::text::cut;
use crate::session::SessionView;

/// Transfers that are listed; the count includes all.
const LISTED_MAX: usize = 1000;

pub(super) fn json(sessions: &[SessionView]) -> Value {
    let running: usize = sessions.iter().map(|view| view.transfers_running).sum();
    let all = sessions.iter().flat_map(|view| view.transfers.iter().map(move |it| (view, it)));
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|(_, transfer)| transfer.since);
    let listed = all.into_iter().take(LISTED_MAX).map(|(view, running)| {
        let mut shown = transfer(running);
        let account = view.account.as_ref();
        shown["session"] = json!(view.session);
        shown["listener"] = json!(view.listener);
        shown["protocol"] = json!(view.protocol);
        shown["client"] = json!(view.client.ip().to_string());
        shown["user"] = json!(account.map(|account| cut(&account.user)));
        shown["backend"] = json!(account.map(|account| &account.backend));
        shown
    });
    json!({ "transfers": listed.collect::<Vec<_>>(), "running": running })
}
