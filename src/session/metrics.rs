//! The metrics of clients, sessions and operations.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::client_refusal::ClientRefusal;
use super::outages::Outages;

/// Sessions, logins, operations, transfers and bytes. Labels are names of the configuration and
/// constants, never data of a client.
#[derive(Clone)]
pub struct Metrics {
    sessions: IntGaugeVec,
    pub(super) logins: IntCounterVec,
    pub(super) operations: IntCounterVec,
    pub(super) transfers: IntCounterVec,
    pub(super) bytes: IntCounterVec,
    proxy_refused: IntCounterVec,
    clients_refused: IntCounterVec,
    without_login: IntCounterVec,
    pub(super) outages: Arc<Outages>,
}

/// A session that the gauge counts.
pub struct OpenSession(IntGauge);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let sessions = IntGaugeVec::new(
            Opts::new("lockgate_sessions", "Open client sessions"),
            &["listener"],
        )?;
        registry.register(Box::new(sessions.clone()))?;
        Ok(Self {
            sessions,
            outages: Arc::new(Outages::register(registry)?),
            logins: counter("lockgate_logins_total", "Logins", &["listener", "outcome"])?,
            operations: counter(
                "lockgate_operations_total",
                "Operations at backends, transfers included",
                &["backend", "operation", "outcome", "fault"],
            )?,
            transfers: counter(
                "lockgate_transfers_total",
                "File transfers that ended",
                &["listener", "backend", "direction", "outcome"],
            )?,
            bytes: counter(
                "lockgate_transfer_bytes_total",
                "Bytes of files transferred, including incomplete transfers",
                &["listener", "backend", "direction"],
            )?,
            clients_refused: counter(
                "lockgate_clients_refused_total",
                "Clients refused before a login",
                &["listener", "reason"],
            )?,
            without_login: counter(
                "lockgate_connections_without_login_total",
                "Client connections that ended before a login and were not refused",
                &["listener"],
            )?,
            proxy_refused: counter(
                "lockgate_proxy_protocol_refused_total",
                "Connections closed because they came from no trusted proxy, or without a valid header",
                &["listener"],
            )?,
        })
    }

    /// Counts connections refused because of their PROXY protocol header.
    pub(super) fn proxy_refused(&self, listener: &str) -> IntCounter {
        self.proxy_refused.with_label_values(&[listener])
    }

    /// Counts a refused client.
    pub(super) fn client_refused(&self, listener: &str, kind: ClientRefusal) {
        self.clients_refused.with_label_values(&[listener, kind.as_str()]).inc();
    }

    /// Counts a connection that ended before a login and was not refused.
    pub(super) fn ended_without_login(&self, listener: &str) {
        self.without_login.with_label_values(&[listener]).inc();
    }

    /// Counts a session as open until dropped.
    pub(super) fn session(&self, listener: &str) -> OpenSession {
        let open = self.sessions.with_label_values(&[listener]);
        open.inc();
        OpenSession(open)
    }
}
