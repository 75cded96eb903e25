//! Read-only interfaces for operators and Prometheus.

mod explain;
mod http;
mod metrics;
mod ports;
mod socket;

pub use explain::{Explainer, ListenerKind, Question, explanation_text};
pub use metrics::BoundMetrics;
pub use ports::table;
pub use socket::{AdminSocket, fetch_explanation, fetch_ports};
