//! Interfaces for operators and Prometheus.

mod access;
mod answering;
mod api;
mod backends;
mod bans;
mod before;
mod certificates;
mod client;
mod configuration;
mod control;
mod cookie;
mod drain;
mod endpoint;
mod error;
mod expected;
mod explain;
mod failures;
mod guesses;
mod headers;
mod http;
mod in_force_metrics;
mod limits;
mod metrics;
mod overview;
mod page;
mod ports;
mod readiness;
mod selection;
mod serve;
mod session_json;
mod sessions;
mod sessions_table;
mod socket;
mod status;
mod take_over;
#[cfg(test)]
mod tests;
mod text;
mod throughput;
mod token;
mod transfers;

pub use access::Access;
pub use answering::{Answering, answer_peer};
pub use backends::{backends_table, drain_backend, fetch_backends};
pub use bans::{bans_table, fetch_bans, lift_ban};
pub use before::{FromBefore, ProcessBefore};
pub use client::{fetch_explanation, fetch_ports, reload, restart};
pub use control::{Control, InForce, Lasting, ReloadOutcome, RestartOutcome};
pub use drain::{drain_gateway, drain_text, fetch_drain};
pub use endpoint::AdminEndpoint;
pub use expected::{expected_table, fetch_expected};
pub use explain::{Explainer, ListenerKind, Question, explanation_text};
pub use in_force_metrics::register_in_force_metrics;
pub use metrics::BoundMetrics;
pub use ports::table;
pub use selection::Selection;
pub use serve::serve_operators;
pub use sessions::{Kicked, fetch_sessions, kick_sessions};
pub use sessions_table::sessions_table;
pub use socket::AdminSocket;
pub use status::{fetch_status, status_text};
pub use take_over::{
    AskError, Before, Link, LinkEvent, LinkParts, Message, Part, PeerRequest, ask_to_take_over,
};
pub use token::{BadToken, Token};
