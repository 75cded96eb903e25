//! One consuming object an operation: it writes the log line and the metrics together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use russh::keys::{HashAlg, PublicKey};

use super::{Door, Session};
use crate::data::Progress;
use crate::op::{Failure, FailureKind, Fault, Operation, RemotePath};
use crate::route::Route;

/// Sessions, logins, operations, transfers and bytes. Labels are names of the configuration and
/// fixed words only, never what a client says.
#[derive(Clone)]
pub struct Metrics {
    sessions: IntGaugeVec,
    pub(super) logins: IntCounterVec,
    operations: IntCounterVec,
    transfers: IntCounterVec,
    bytes: IntCounterVec,
    proxy_refused: IntCounterVec,
}

/// Who does something; the same in each record of a session.
pub(super) struct Who {
    /// Tells the sessions of one gateway's run apart.
    pub session: u64,
    pub peer: SocketAddr,
    pub listener: String,
    pub protocol: &'static str,
    pub user: String,
    pub backend: String,
}

impl Who {
    pub(super) fn new(door: &Door, user: &[u8], route: Option<&Route>) -> Self {
        Self {
            session: door.session,
            peer: door.peer,
            listener: door.listener.clone(),
            protocol: door.protocol,
            user: user.escape_ascii().to_string(),
            backend: route.map(|route| route.backend.clone()).unwrap_or_default(),
        }
    }
}

/// A session that the gauge counts.
pub struct OpenSession(IntGauge);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// An operation under way. It ends in [`Record::done`] or [`Record::failed`]; dropped without either
/// it says that the session ended meanwhile.
pub(super) struct Record {
    who: Arc<Who>,
    metrics: Metrics,
    operation: &'static str,
    path: RemotePath,
    to: Option<String>,
    direction: Option<&'static str>,
    quiet: bool,
    started: Instant,
    progress: Arc<Progress>,
    /// What is read from a file that is open for writing, too.
    back: Arc<Progress>,
    written: bool,
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
                "Bytes of files moved, of cut transfers too",
                &["listener", "backend", "direction"],
            )?,
            proxy_refused: counter(
                "lockgate_proxy_protocol_refused_total",
                "Connections closed since they came from no trusted proxy, or with no good header",
                &["listener"],
            )?,
        })
    }

    /// Counts what a listener refuses for its PROXY protocol header.
    pub(super) fn proxy_refused(&self, listener: &str) -> IntCounter {
        self.proxy_refused.with_label_values(&[listener])
    }

    /// Counts a session as open until dropped.
    pub(super) fn session(&self, listener: &str) -> OpenSession {
        let open = self.sessions.with_label_values(&[listener]);
        open.inc();
        OpenSession(open)
    }
}

/// A line of the log: who it is about, what is told of it, and what was wrong.
macro_rules! line {
    (
        ($level:expr, $event:expr, $who:expr, $failure:expr),
        { $($told:tt)* },
        $($message:tt)+
    ) => {{
        let failure: Option<&Failure> = $failure;
        tracing::event!(
            target: "lockgate::record",
            $level,
            event = $event,
            session = $who.session,
            peer = %$who.peer,
            listener = $who.listener,
            protocol = $who.protocol,
            user = $who.user,
            backend = $who.backend,
            $($told)*
            fault = failure.map(|f| f.fault.as_str()),
            reason = failure.map(|f| f.message.as_str()),
            detail = failure.and_then(|f| f.detail.as_deref()),
            $($message)+
        )
    }};
}

impl Metrics {
    /// A public key that is worth no signature. Agents offer all that they have until one is, so these
    /// are no failed logins.
    pub(super) fn key_refused(&self, who: &Who, key: &PublicKey, failure: &Failure) {
        let outcome = "key-refused";
        self.logins.with_label_values(&[who.listener.as_str(), outcome]).inc();
        line!(
            (tracing::Level::INFO, "key-offer", who, Some(failure)),
            { fingerprint = %key.fingerprint(HashAlg::Sha256), outcome, },
            "public key refused"
        );
    }
}

/// A login under way. It ends in [`LoginRecord::done`]; dropped without it says that the session
/// ended meanwhile.
pub(super) struct LoginRecord {
    who: Arc<Who>,
    metrics: Metrics,
    started: Instant,
    written: bool,
}

impl LoginRecord {
    pub(super) fn new(who: Arc<Who>, metrics: Metrics) -> Self {
        Self { who, metrics, started: Instant::now(), written: false }
    }

    pub(super) fn done(mut self, outcome: Result<(), &Failure>) {
        self.write(outcome);
    }

    fn write(&mut self, outcome: Result<(), &Failure>) {
        self.written = true;
        let who = &*self.who;
        let outcome_name = match outcome {
            Ok(()) => "ok",
            Err(failure) if failure.kind == FailureKind::LoginRefused => "refused",
            Err(_) => "failed",
        };
        self.metrics.logins.with_label_values(&[who.listener.as_str(), outcome_name]).inc();
        macro_rules! at {
            ($level:expr) => {
                line!(
                    ($level, "login", who, outcome.err()),
                    { seconds = self.started.elapsed().as_secs_f64(), outcome = outcome_name, },
                    "login"
                )
            };
        }
        // What is the gateway's own fault waits for its operator.
        let own = outcome.is_err_and(|failure| failure.fault == Fault::Gateway);
        if own { at!(tracing::Level::WARN) } else { at!(tracing::Level::INFO) }
    }
}

impl Drop for LoginRecord {
    fn drop(&mut self) {
        if !self.written {
            let failure = Failure::client(
                FailureKind::Aborted,
                "the connection ended before its login was done",
            );
            self.write(Err(&failure));
        }
    }
}

impl Session {
    /// What was asked for a data connection and refused before any operation.
    pub fn data_connection_refused(&self, command: &str, failure: &Failure) {
        line!(
            (tracing::Level::INFO, "data-connection", self.who, Some(failure)),
            { operation = command, outcome = "refused", },
            "data connection refused"
        );
    }
}

impl Record {
    pub(super) fn new(who: Arc<Who>, metrics: Metrics, operation: &Operation) -> Self {
        Self {
            who,
            metrics,
            operation: operation.name(),
            path: operation.path().clone(),
            to: operation.other_path(),
            direction: match operation {
                Operation::Read { .. } => Some("download"),
                Operation::Write { .. } => Some("upload"),
                Operation::Open { mode, .. } if mode.writes() => Some("upload"),
                Operation::Open { .. } => Some("download"),
                Operation::Copy { .. } => Some("copy"),
                _ => None,
            },
            // Looking around is for those who debug; changes and transfers are for everybody.
            quiet: operation.effects().read_only()
                && !matches!(operation, Operation::Read { .. } | Operation::Open { .. }),
            started: Instant::now(),
            progress: Arc::default(),
            back: Arc::default(),
            written: false,
        }
    }

    pub(super) fn done(mut self) {
        self.write(None);
    }

    pub(super) fn failed(mut self, failure: &Failure) {
        self.write(Some(failure));
    }

    /// What counts a transfer's bytes.
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// What counts the bytes that are read, and those that are written, of a file open for both.
    pub(super) fn both_ways(&self) -> (Arc<Progress>, Arc<Progress>) {
        match self.direction {
            Some("upload") => (self.back.clone(), self.progress.clone()),
            _ => (self.progress.clone(), self.back.clone()),
        }
    }

    /// The name that a backend chose.
    pub(super) fn set_path(&mut self, path: RemotePath) {
        self.path = path;
    }

    fn write(&mut self, failure: Option<&Failure>) {
        self.written = true;
        let bytes = self.progress.bytes();
        let who = &*self.who;
        let outcome = failure.map_or("ok", |f| f.kind.as_str());
        let fault = failure.map_or("none", |f| f.fault.as_str());
        self.metrics
            .operations
            .with_label_values(&[who.backend.as_str(), self.operation, outcome, fault])
            .inc();
        if let Some(direction) = self.direction {
            let labels = [who.listener.as_str(), who.backend.as_str(), direction];
            self.metrics.bytes.with_label_values(&labels).inc_by(bytes);
            let back = self.back.bytes();
            if back > 0 {
                // Only uploads have a way back: a file open for both.
                let labels = [who.listener.as_str(), who.backend.as_str(), "download"];
                self.metrics.bytes.with_label_values(&labels).inc_by(back);
            }
            let [listener, backend, direction] = labels;
            self.metrics
                .transfers
                .with_label_values(&[listener, backend, direction, outcome])
                .inc();
        }
        let event = if self.direction.is_some() { "transfer" } else { "operation" };
        macro_rules! at {
            ($level:expr) => {
                line!(
                    ($level, event, who, failure),
                    {
                        operation = self.operation,
                        path = %self.path,
                        to = self.to.as_deref(),
                        bytes = self.direction.map(|_| bytes),
                        seconds = self.started.elapsed().as_secs_f64(),
                        outcome,
                    },
                    "{} {}", self.operation, outcome
                )
            };
        }
        let quiet = self.quiet && failure.is_none_or(is_everyday);
        if quiet { at!(tracing::Level::DEBUG) } else { at!(tracing::Level::INFO) }
    }
}

/// Clients look for what is not there all the time, and what they do wrong is theirs to see.
fn is_everyday(failure: &Failure) -> bool {
    failure.kind == FailureKind::NotFound || failure.fault == Fault::Client
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.written {
            let failure =
                Failure::new(FailureKind::Aborted, Fault::Gateway, "the session ended meanwhile");
            self.write(Some(&failure));
        }
    }
}
