//! Interfaces for operators and Prometheus.

mod backends;
mod bans;
mod client;
mod control;
mod drain;
mod explain;
mod http;
mod metrics;
mod ports;
mod sessions;
mod sessions_table;
mod socket;
mod status;
mod take_over;
#[cfg(test)]
mod tests;
mod text;

pub use backends::{backends_table, drain_backend, fetch_backends};
pub use bans::{bans_table, fetch_bans, lift_ban};
pub use client::{fetch_explanation, fetch_ports, reload, restart};
pub use control::{Control, InForce, Lasting, ProcessBefore, ReloadOutcome, RestartOutcome};
pub use drain::{drain_gateway, drain_text, fetch_drain};
pub use explain::{Explainer, ListenerKind, Question, explanation_text};
pub use metrics::BoundMetrics;
pub use ports::table;
pub use sessions::{Selection, fetch_sessions, kick_sessions};
pub use sessions_table::sessions_table;
pub use socket::AdminSocket;
pub use status::{fetch_status, status_text};
pub use take_over::{AskError, Before, Carried, Link, LinkParts, Message, ask_to_take_over};
