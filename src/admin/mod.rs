//! Interfaces for operators and Prometheus.

mod access;
mod api;
mod backends;
mod bans;
mod client;
mod configuration;
mod control;
mod cookie;
mod drain;
mod endpoint;
mod error;
mod explain;
mod failures;
mod guesses;
mod headers;
mod http;
mod metrics;
mod page;
mod ports;
mod serve;
mod sessions;
mod sessions_table;
mod socket;
mod status;
#[cfg(test)]
mod tests;
mod text;
mod throughput;
mod token;
mod transfers;

pub use access::Access;
pub use backends::{backends_table, drain_backend, fetch_backends};
pub use bans::{bans_table, fetch_bans, lift_ban};
pub use client::{fetch_explanation, fetch_ports, reload};
pub use control::{Control, InForce, Lasting, ReloadOutcome};
pub use drain::{drain_gateway, drain_text, fetch_drain};
pub use endpoint::AdminEndpoint;
pub use explain::{Explainer, ListenerKind, Question, explanation_text};
pub use metrics::BoundMetrics;
pub use ports::table;
pub use serve::serve_operators;
pub use sessions::{Selection, fetch_sessions, kick_sessions};
pub use sessions_table::sessions_table;
pub use socket::AdminSocket;
pub use status::{fetch_status, status_text};
pub use token::{BadToken, Token};
