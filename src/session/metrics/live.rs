//! What is counted at each scrape: the open sessions and their transfers. Nothing is kept for it, so nothing
//! can be left over.

use std::sync::Arc;

use prometheus::{GaugeVec, Registry};

use super::{Metrics, users};
use crate::metrics;
use crate::op::Direction;
use crate::session::admission::Admission;
use crate::session::live::{LiveSessions, SessionState};

impl Metrics {
    /// Registers the metrics of what is open now, once per registry.
    pub fn register_live(
        self: &Arc<Self>,
        registry: &Registry,
        live: &Arc<LiveSessions>,
        admission: &Arc<Admission>,
    ) -> Result<(), prometheus::Error> {
        let (own, sessions) = (self.clone(), live.clone());
        metrics::live_gauges(
            registry,
            "lockgate_sessions",
            "Open sessions; backend is empty before the login",
            &["listener", "protocol", "backend", "state"],
            move |series| own.fill_sessions(series, &sessions),
        )?;
        let (own, sessions) = (self.clone(), live.clone());
        metrics::live_gauges(
            registry,
            "lockgate_transfers_running",
            "Transfers of files that are running, and files that are open",
            &["listener", "protocol", "backend", "direction"],
            move |series| own.fill_transfers(series, &sessions),
        )?;
        let admission = admission.clone();
        metrics::live_gauge(
            registry,
            "lockgate_sessions_busiest_address",
            "Sessions of the client address that has most",
            move || admission.of_busiest_address() as f64,
        )?;
        users::register(registry, self, live)
    }

    fn fill_sessions(&self, series: &GaugeVec, sessions: &LiveSessions) {
        // So that no sum ever lacks a value.
        for (listener, protocols) in &self.scope().in_force.listeners {
            for (protocol, state) in
                protocols.iter().flat_map(|it| SessionState::ALL.map(|state| (*it, state)))
            {
                series.with_label_values(&[listener, protocol, "", state.as_str()]);
            }
        }
        for session in sessions.all() {
            let summary = session.summary();
            let (protocol, state) = (summary.protocol, summary.state.as_str());
            series
                .with_label_values(&[session.listener(), protocol, &summary.backend, state])
                .inc();
        }
    }

    fn fill_transfers(&self, series: &GaugeVec, sessions: &LiveSessions) {
        let (upload, download) = (Direction::Upload.as_str(), Direction::Download.as_str());
        for (listener, protocols) in &self.scope().in_force.listeners {
            for &protocol in *protocols {
                for direction in [upload, download] {
                    series.with_label_values(&[listener, protocol, "", direction]);
                }
            }
        }
        for session in sessions.all() {
            let summary = session.summary();
            for (direction, running) in [(upload, summary.uploads), (download, summary.downloads)] {
                if running > 0 {
                    let of = [session.listener(), summary.protocol, &summary.backend, direction];
                    series.with_label_values(&of).add(running as f64);
                }
            }
        }
    }
}
