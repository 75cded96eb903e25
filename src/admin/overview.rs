//! All that the status page shows, of one moment and in one answer.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::before::{Merged, ProcessBefore};
use super::control::{Control, InForce, Lasting};
use super::status::{self, Snapshot};
use super::take_over::PeerRequest;
use super::{
    backends, bans, certificates, expected, failures, limits, ports, sessions, throughput,
    transfers,
};
use crate::auth::Ban;
use crate::backend::group::ServerView;
use crate::data::PoolView;
use crate::expected::ExpectedView;
use crate::session::SessionView;

/// Sessions that are listed; the count includes all.
const SESSIONS_MAX: usize = 1000;

/// What the status is made of.
pub(super) struct Views {
    in_force: Arc<InForce>,
    lasting: Lasting,
    sessions: Vec<SessionView>,
    pools: Vec<PoolView>,
    servers: Vec<ServerView>,
    bans: Vec<Ban>,
    expected: Vec<ExpectedView>,
    before: Vec<ProcessBefore>,
}

impl Views {
    pub(super) fn now(control: &dyn Control) -> Self {
        let (in_force, lasting) = (control.in_force(), control.lasting());
        Self {
            sessions: lasting.live.all().iter().map(|session| session.view()).collect(),
            pools: in_force.pools.iter().map(|pool| pool.view()).collect(),
            servers: in_force.servers.view(),
            bans: in_force.explainer.gateway.guard.bans(),
            expected: lasting.expected.views(Timestamp::now()),
            before: control.before(),
            in_force,
            lasting,
        }
    }

    pub(super) fn status(&self) -> Value {
        let Self { in_force, lasting, .. } = self;
        status::json(&Snapshot {
            started: lasting.started,
            file: lasting.file.as_deref(),
            in_force_since: in_force.since,
            drain: &lasting.drain,
            listeners: &in_force.explainer.listeners,
            addresses: &in_force.addresses,
            sessions_max: in_force.explainer.gateway.limits.sessions,
            sessions: &self.sessions,
            pools: &self.pools,
            servers: &self.servers,
            bans: self.bans.len(),
            expected: &self.expected,
            before: &self.before,
        })
    }
}

pub(super) async fn json(control: &Arc<dyn Control>) -> Value {
    let request = PeerRequest::Sessions { selection: None, max: Some(SESSIONS_MAX) };
    let sessions_before = Merged::of_sessions(control.clone().ask_before(request).await);
    let transfers_before = Merged::of(control.clone().ask_before(PeerRequest::Transfers).await);
    let views = Views::now(&**control);
    let Views { in_force, lasting, sessions, .. } = &views;
    let gateway = &in_force.explainer.gateway;
    // The oldest first, as they have numbers.
    let listed = &sessions[..sessions.len().min(SESSIONS_MAX)];
    let limit = gateway.limits.sessions;
    let mut all = sessions::listed(listed, sessions.len(), sessions_before, limit);
    if let Some(all) = all["sessions"].as_array_mut() {
        all.truncate(SESSIONS_MAX);
    }
    json!({
        "status": views.status(),
        "sessions": all,
        "transfers": transfers::listed(sessions, transfers_before),
        "throughput": throughput::json(&lasting.live.throughput()),
        "ports": ports::summary(&views.pools),
        "backends": backends::json(&views.servers),
        "limits": limits::json(&gateway.policy_limits.uses()),
        "failures": failures::json(&lasting.live.recent_failures()),
        "bans": bans::json(&views.bans),
        "certificates": certificates::json(&in_force.certificate_ends, Timestamp::now()),
        "expected": expected::json(&views.expected),
    })
}
