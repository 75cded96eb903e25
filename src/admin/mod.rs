//! Interfaces for operators and Prometheus.

mod backends;
mod bans;
mod client;
mod control;
mod drain;
mod explain;
mod http;
mod in_force_metrics;
mod metrics;
mod ports;
mod readiness;
mod sessions;
mod sessions_table;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod text;

pub use backends::{backends_table, drain_backend, fetch_backends};
pub use bans::{bans_table, fetch_bans, lift_ban};
pub use client::{fetch_explanation, fetch_ports, reload};
pub use control::{Control, InForce, Lasting, ReloadOutcome};
pub use drain::{drain_gateway, drain_text, fetch_drain};
pub use explain::{Explainer, ListenerKind, Question, explanation_text};
pub use in_force_metrics::register_in_force_metrics;
pub use metrics::BoundMetrics;
pub use ports::table;
pub use sessions::{Selection, fetch_sessions, kick_sessions};
pub use sessions_table::sessions_table;
pub use socket::AdminSocket;
pub use status::{fetch_status, status_text};
