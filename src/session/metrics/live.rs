//! What is counted at each scrape: the open sessions and their transfers. Nothing is kept for it, so nothing
//! can be left over.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{GaugeVec, Registry};

use super::{Metrics, users};
use crate::metrics;
use crate::op::Direction;
use crate::session::admission::Admission;
use crate::session::live::{LiveSessions, SessionState, SessionSummary};

impl Metrics {
    /// Registers the metrics of what is open now, once per registry.
    pub fn register_live(
        self: &Arc<Self>,
        registry: &Registry,
        live: &Arc<LiveSessions>,
        admission: &Arc<Admission>,
    ) -> Result<(), prometheus::Error> {
        let (own, sessions) = (self.clone(), live.clone());
        metrics::live_gauge_sets(
            registry,
            [
                (
                    "lockgate_sessions",
                    "Open sessions; backend is empty before the login",
                    &["listener", "protocol", "backend", "state"],
                ),
                (
                    "lockgate_transfers_running",
                    "Transfers of files that are running, and files that are open",
                    &["listener", "protocol", "backend", "direction"],
                ),
                (
                    "lockgate_user_sessions",
                    "Sessions of users that metrics.users names, or that moved most bytes (metrics.top_users)",
                    &["user"],
                ),
            ],
            move |series| own.fill(series, &sessions),
        )?;
        let admission = admission.clone();
        metrics::live_gauge(
            registry,
            "lockgate_sessions_busiest_address",
            "Sessions of the client address that has most",
            move || admission.of_busiest_address() as f64,
        )?;
        users::register(registry, self)
    }

    /// Looks at each session once.
    fn fill(&self, [open, transfers, of_users]: &[GaugeVec; 3], sessions: &LiveSessions) {
        // So that no sum ever lacks a value.
        for (listener, of) in &self.scope().in_force.listeners {
            for &protocol in of.protocols {
                for state in SessionState::ALL {
                    open.with_label_values(&[listener, protocol, "", state.as_str()]);
                }
                for direction in [Direction::Upload, Direction::Download] {
                    transfers.with_label_values(&[listener, protocol, "", direction.as_str()]);
                }
            }
        }
        let shown = self.users.shown();
        let users: HashMap<_, _> =
            shown.iter().map(|(label, name, _)| (name.as_slice(), label.as_str())).collect();
        users.values().for_each(|label| drop(of_users.with_label_values(&[label])));
        for session in sessions.all() {
            let SessionSummary { protocol, state, backend, user, uploads, downloads } =
                session.summary();
            let listener = session.listener();
            open.with_label_values(&[listener, protocol, &backend, state.as_str()]).inc();
            for (direction, running) in
                [(Direction::Upload, uploads), (Direction::Download, downloads)]
            {
                if running > 0 {
                    let of = [listener, protocol, &backend, direction.as_str()];
                    transfers.with_label_values(&of).add(running as f64);
                }
            }
            if let Some(label) = user.and_then(|user| users.get(user.as_slice())) {
                of_users.with_label_values(&[label]).inc();
            }
        }
    }
}
