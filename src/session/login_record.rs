//! The records of logins: the log line and the metrics together.

use std::sync::Arc;
use std::time::Instant;

use russh::keys::{HashAlg, PublicKey};

use super::client_info::ClientInfo;
use super::end::SessionEnd;
use super::metrics::Metrics;
use super::record_line::record_line;
use super::session_info::SessionInfo;
use crate::op::{Failure, FailureKind, Fault};

impl Metrics {
    /// Records a public key that was refused before the client signed. Agents offer all their keys,
    /// so this is not a failed login.
    pub(super) fn key_refused(&self, info: &SessionInfo, key: &PublicKey, failure: &Failure) {
        let outcome = "key-refused";
        self.logins.with_label_values(&[info.listener.as_str(), outcome]).inc();
        record_line!(
            (tracing::Level::INFO, "key-offer", info, Some(failure)),
            { fingerprint = %key.fingerprint(HashAlg::Sha256), outcome, },
            "public key refused"
        );
    }
}

/// An unfinished login. Dropped without [`LoginRecord::done`], it records that the session ended.
pub(super) struct LoginRecord {
    info: Arc<SessionInfo>,
    details: LoginDetails,
    metrics: Metrics,
    started: Instant,
    written: bool,
}

/// How a user logs in.
pub(super) struct LoginDetails {
    /// `password` or `publickey`.
    method: &'static str,
    /// Of the public key.
    fingerprint: Option<String>,
    /// What protects the connection: version and algorithms of TLS or SSH.
    encryption: Option<String>,
    /// That the client sent under TLS (SNI).
    server_name: Option<String>,
    /// The client program, from its SSH identification.
    client: Option<String>,
}

impl LoginDetails {
    pub(super) fn new(client: &ClientInfo, key: Option<&PublicKey>) -> Self {
        Self {
            method: if key.is_some() { "publickey" } else { "password" },
            fingerprint: key.map(|key| key.fingerprint(HashAlg::Sha256).to_string()),
            encryption: client.encryption.get().cloned(),
            server_name: client.server_name.get().cloned(),
            client: client.client.get().cloned(),
        }
    }
}

impl LoginRecord {
    pub(super) fn new(info: Arc<SessionInfo>, details: LoginDetails, metrics: Metrics) -> Self {
        Self { info, details, metrics, started: Instant::now(), written: false }
    }

    pub(super) fn done(mut self, outcome: Result<(), &Failure>) {
        self.write(outcome);
    }

    fn write(&mut self, outcome: Result<(), &Failure>) {
        self.written = true;
        let info = &*self.info;
        let outcome_name = match outcome {
            Ok(()) => "ok",
            Err(failure) if failure.kind == FailureKind::LoginRefused => "refused",
            Err(failure) if failure.fault == Fault::Policy => "refused",
            Err(_) => "failed",
        };
        self.metrics.logins.with_label_values(&[info.listener.as_str(), outcome_name]).inc();
        macro_rules! at {
            ($level:expr) => {
                record_line!(
                    ($level, "login", info, outcome.err()),
                    {
                        method = self.details.method,
                        fingerprint = self.details.fingerprint.as_deref(),
                        encryption = self.details.encryption.as_deref().unwrap_or("none"),
                        server_name = self.details.server_name.as_deref(),
                        client = self.details.client.as_deref(),
                        seconds = self.started.elapsed().as_secs_f64(),
                        outcome = outcome_name,
                    },
                    "login"
                )
            };
        }
        // The gateway's operator must act on these.
        let is_own = outcome.is_err_and(|failure| failure.fault == Fault::Gateway);
        if is_own { at!(tracing::Level::WARN) } else { at!(tracing::Level::INFO) }
    }
}

impl Drop for LoginRecord {
    fn drop(&mut self) {
        if !self.written {
            let failure = self.info.end.get().map(SessionEnd::failure).unwrap_or_else(|| {
                let reason = "the connection ended before its login was done";
                Failure::client(FailureKind::Aborted, reason)
            });
            self.write(Err(&failure));
        }
    }
}
