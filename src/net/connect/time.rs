//! How long connections to servers take, until a server is ready for a login.

use prometheus::{HistogramVec, Registry};

use crate::metrics::{self, Times, Timing};
use crate::op::{Failure, Outage};

/// Upper bounds, in seconds.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// How an attempt to connect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectEnd {
    /// The server is ready for a login.
    Ok,
    /// No address accepted a connection in time.
    Unreachable,
    /// A server accepted one, and was not ready in time.
    Timeout,
    /// It broke, or is not the right server.
    Failed,
    /// Nobody waits for it any more.
    GivenUp,
}

/// Of all backends, by backend and outcome.
#[derive(Clone)]
pub(super) struct ConnectTimes(HistogramVec);

/// A connection that is being made.
pub type Connecting = Timing<ConnectEnd>;

impl ConnectEnd {
    const ALL: [Self; 5] =
        [Self::Ok, Self::Unreachable, Self::Timeout, Self::Failed, Self::GivenUp];

    /// Of an attempt that somebody waited for.
    pub fn of<T>(connected: &Result<T, Failure>) -> Self {
        match connected.as_ref().err().map(|failure| failure.outage) {
            None => Self::Ok,
            Some(Some(Outage::Unreachable)) => Self::Unreachable,
            Some(Some(Outage::Timeout)) => Self::Timeout,
            Some(_) => Self::Failed,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::GivenUp => "given-up",
        }
    }
}

impl ConnectTimes {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let times = metrics::histograms(
            registry,
            "lockgate_backend_connect_duration_seconds",
            "TCP, TLS or SSH, until the server is ready for a login, waits for connects_at_once included",
            &["backend", "outcome"],
            &BUCKETS,
        )?;
        Ok(Self(times))
    }

    pub(super) fn of(&self, backend: &str) -> Times<ConnectEnd> {
        Times::new(&self.0, backend, &ConnectEnd::ALL, ConnectEnd::as_str)
    }

    pub(super) fn remove(&self, backend: &str) {
        for end in ConnectEnd::ALL {
            let _ = self.0.remove_label_values(&[backend, end.as_str()]);
        }
    }
}
