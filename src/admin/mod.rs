//! Read-only interfaces for operators and Prometheus.

mod http;
mod metrics;
mod ports;
mod socket;

pub use metrics::BoundMetrics;
pub use ports::table;
pub use socket::{AdminSocket, fetch_ports};
