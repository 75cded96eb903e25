//! The records of logins: the log line and the metrics together.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::end::SessionEnd;
use super::live::LOGIN;
use super::metrics::Metrics;
use super::record_line::record_line;
use super::session_info::SessionInfo;
use crate::audit::{Event, What};
use crate::net::Protection;
use crate::op::{Failure, FailureKind, Fault};

impl Metrics {
    /// Records a public key or certificate that was refused. Agents offer all their keys, so this is not
    /// a failed login.
    pub(super) fn key_refused(&self, info: &SessionInfo, failure: &Failure) {
        let outcome = "key-refused";
        self.key_offer(&info.labels(), &info.login.method, outcome);
        record_line!(
            (tracing::Level::INFO, "key-offer", info, Some(failure)),
            {
                fingerprint = info.login.fingerprint.as_deref(),
                key_certificate = info.login.key_certificate.as_ref().map(ToString::to_string),
                outcome,
            },
            "public key refused"
        );
        info.audit.record(&Event::new(info.subject(), What::Login, outcome, Some(failure)));
    }
}

/// An unfinished login. Dropped without [`LoginRecord::done`], it records that the session ended.
pub(super) struct LoginRecord {
    info: Arc<SessionInfo>,
    metrics: Arc<Metrics>,
    started: Instant,
    delay: Duration,
    written: bool,
}

impl LoginRecord {
    pub(super) fn new(info: Arc<SessionInfo>, metrics: Arc<Metrics>) -> Self {
        Self { info, metrics, started: Instant::now(), delay: Duration::ZERO, written: false }
    }

    /// The guard delays it by this, which is not slowness.
    pub(super) fn delayed(&mut self, delay: Duration) {
        self.delay = delay;
    }

    pub(super) fn done(mut self, outcome: Result<(), &Failure>) {
        self.write(outcome);
    }

    fn write(&mut self, outcome: Result<(), &Failure>) {
        self.written = true;
        let info = &*self.info;
        let outcome_name = match outcome {
            Ok(()) => "ok",
            Err(failure) if failure.kind == FailureKind::MethodNeeded => "partial",
            Err(failure) if failure.kind == FailureKind::LoginRefused => "refused",
            Err(failure) if failure.fault == Fault::Policy => "refused",
            Err(_) => "failed",
        };
        let duration = self.started.elapsed();
        // A client that leaves says nothing about whether logins work.
        let counted = match outcome {
            Err(it) if it.kind == FailureKind::Aborted && it.fault == Fault::Client => "aborted",
            _ => outcome_name,
        };
        let undelayed = duration.saturating_sub(self.delay);
        self.metrics.login_ended(&info.labels(), &info.login.method, counted, undelayed);
        let (login, seconds) = (&info.login, duration.as_secs_f64());
        let protection = login.protection.as_ref();
        macro_rules! at {
            ($level:expr) => {
                record_line!(
                    ($level, "login", info, outcome.err()),
                    {
                        method = login.method,
                        fingerprint = login.fingerprint.as_deref(),
                        key_certificate = login.key_certificate.as_ref().map(ToString::to_string),
                        backend_certificate = info.minted.get().map(ToString::to_string),
                        encryption = protection.map_or("none".to_owned(), ToString::to_string),
                        post_quantum = protection.and_then(Protection::is_post_quantum),
                        server_name = login.server_name.as_deref(),
                        certificate = login.certificate.as_ref().map(|it| it.subject.as_str()),
                        certificate_sha256 =
                            login.certificate.as_ref().map(|it| it.fingerprint.as_str()),
                        client = login.client.as_deref(),
                        seconds,
                        outcome = outcome_name,
                    },
                    "login"
                )
            };
        }
        // The gateway's operator must act on these.
        let is_own = outcome.is_err_and(|failure| failure.fault == Fault::Gateway);
        if is_own {
            at!(tracing::Level::WARN);
        } else {
            at!(tracing::Level::INFO);
        }
        if let Err(failure) = outcome
            && failure.kind != FailureKind::MethodNeeded
        {
            info.live.note_failure(|| info.recent_failure(LOGIN, outcome_name, failure));
        }
        if info.audit.is_on() {
            let event = Event::new(info.subject(), What::Login, outcome_name, outcome.err());
            info.audit.record(&Event { seconds: Some(seconds), ..event });
        }
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
