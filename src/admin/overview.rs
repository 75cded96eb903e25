//! All that the status page shows, of one moment and in one answer.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::control::{InForce, Lasting};
use super::status::{self, Snapshot};
use super::{
    backends, bans, certificates, expected, failures, ports, sessions, throughput, transfers,
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
    sessions: Vec<SessionView>,
    pools: Vec<PoolView>,
    servers: Vec<ServerView>,
    bans: Vec<Ban>,
    expected: Vec<ExpectedView>,
}

impl Views {
    pub(super) fn now(in_force: &InForce, lasting: &Lasting) -> Self {
        Self {
            sessions: lasting.live.all().iter().map(|session| session.view()).collect(),
            pools: in_force.pools.iter().map(|pool| pool.view()).collect(),
            servers: in_force.servers.view(),
            bans: in_force.explainer.gateway.guard.bans(),
            expected: lasting.expected.views(Timestamp::now()),
        }
    }

    pub(super) fn status(&self, in_force: &InForce, lasting: &Lasting) -> Value {
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
        })
    }
}

pub(super) fn json(in_force: &InForce, lasting: &Lasting) -> Value {
    let views = Views::now(in_force, lasting);
    let Views { sessions, pools, servers, bans, expected } = &views;
    let sessions_max = in_force.explainer.gateway.limits.sessions;
    // The oldest first, as they have numbers.
    let listed = &sessions[..sessions.len().min(SESSIONS_MAX)];
    json!({
        "status": views.status(in_force, lasting),
        "sessions": sessions::listed(listed, sessions.len(), sessions_max),
        "transfers": transfers::json(sessions),
        "throughput": throughput::json(&lasting.live.throughput()),
        "ports": ports::json(pools),
        "backends": backends::json(servers),
        "failures": failures::json(&lasting.live.recent_failures()),
        "bans": bans::json(bans),
        "certificates": certificates::json(&in_force.certificate_ends, Timestamp::now()),
        "expected": expected::json(expected),
    })
}
