//! One consuming object an operation: it writes the log line and the metrics together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use russh::keys::{HashAlg, PublicKey};

use super::end::{EndSlot, SessionEnd, Totals};
use super::outages::Outages;
use super::{ClientRefusal, Door, Session};
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
    clients_refused: IntCounterVec,
    pub(super) outages: Arc<Outages>,
}

/// Who does something; the same in each record of a session.
pub(super) struct Who {
    /// Tells the sessions of one gateway's run apart.
    pub session: u64,
    pub peer: SocketAddr,
    pub listener: String,
    pub protocol: &'static str,
    pub user: Vec<u8>,
    pub backend: String,
    pub end: EndSlot,
    pub totals: Totals,
}

impl Who {
    pub(super) fn new(door: &Door, user: &[u8], route: Option<&Route>) -> Self {
        Self {
            session: door.session,
            peer: door.peer,
            listener: door.listener.clone(),
            protocol: door.protocol,
            user: user.to_vec(),
            backend: route.map(|route| route.backend.clone()).unwrap_or_default(),
            end: door.end.clone(),
            totals: Totals::default(),
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
    to: Option<Vec<u8>>,
    direction: Option<&'static str>,
    quiet: bool,
    started: Instant,
    progress: Arc<Progress>,
    /// What is read from a file that is open for writing, too.
    back: Arc<Progress>,
    written: bool,
}

/// How an operation ended.
enum Outcome<'a> {
    Ok,
    /// With the file's size, where that is known.
    Partial(Option<u64>, Option<&'a Failure>),
    Failed(&'a Failure),
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
                "Bytes of files moved, of cut transfers too",
                &["listener", "backend", "direction"],
            )?,
            clients_refused: counter(
                "lockgate_clients_refused_total",
                "Clients turned away before a login",
                &["listener", "reason"],
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

    /// Counts a client that is turned away.
    pub(super) fn client_refused(&self, listener: &str, why: ClientRefusal) {
        self.clients_refused.with_label_values(&[listener, why.as_str()]).inc();
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
            user = $who.user.as_slice(),
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
    details: LoginDetails,
    metrics: Metrics,
    started: Instant,
    written: bool,
}

/// How somebody logs in.
pub(super) struct LoginDetails {
    /// `password` or `publickey`.
    method: &'static str,
    /// Of the public key.
    fingerprint: Option<String>,
    /// What protects the connection: version and algorithms of TLS or SSH.
    encryption: Option<String>,
    /// The client program, as SSH tells it.
    client: Option<String>,
}

impl LoginDetails {
    pub(super) fn new(door: &Door, key: Option<&PublicKey>) -> Self {
        Self {
            method: if key.is_some() { "publickey" } else { "password" },
            fingerprint: key.map(|key| key.fingerprint(HashAlg::Sha256).to_string()),
            encryption: door.encryption.get().cloned(),
            client: door.client.get().cloned(),
        }
    }
}

impl LoginRecord {
    pub(super) fn new(who: Arc<Who>, details: LoginDetails, metrics: Metrics) -> Self {
        Self { who, details, metrics, started: Instant::now(), written: false }
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
                    {
                        method = self.details.method,
                        fingerprint = self.details.fingerprint.as_deref(),
                        encryption = self.details.encryption.as_deref().unwrap_or("none"),
                        client = self.details.client.as_deref(),
                        seconds = self.started.elapsed().as_secs_f64(),
                        outcome = outcome_name,
                    },
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
            let failure = self.who.end.get().map(SessionEnd::failure).unwrap_or_else(|| {
                let why = "the connection ended before its login was done";
                Failure::client(FailureKind::Aborted, why)
            });
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
            to: operation.other_path().map(<[u8]>::to_vec),
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
        self.write(Outcome::Ok);
    }

    pub(super) fn failed(mut self, failure: &Failure) {
        self.write(Outcome::Failed(failure));
    }

    /// A file that was not read to its end: by a client that wanted a part, or, with a failure, since it
    /// was lost.
    pub(super) fn partial(mut self, size: Option<u64>, failure: Option<&Failure>) {
        self.write(Outcome::Partial(size, failure));
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

    fn write(&mut self, ended: Outcome<'_>) {
        self.written = true;
        let bytes = self.progress.bytes();
        let who = &*self.who;
        // Nothing was, of a file that was refused, or opened only.
        let moved = bytes > 0 || matches!(ended, Outcome::Ok);
        let (outcome, failure, size) = match ended {
            Outcome::Ok => ("ok", None, None),
            Outcome::Partial(size, failure) => ("partial", failure, size),
            Outcome::Failed(failure) => (failure.kind.as_str(), Some(failure), None),
        };
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
                who.totals.add_download(back);
            }
            match direction {
                "upload" if moved => who.totals.add_upload(bytes),
                "download" if moved => who.totals.add_download(bytes),
                _ => {}
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
                        path = self.path.as_bytes(),
                        to = self.to.as_deref(),
                        bytes = self.direction.map(|_| bytes),
                        size,
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
            let failure = self.who.end.get().map(SessionEnd::failure).unwrap_or_else(|| {
                Failure::gateway(FailureKind::Aborted, "the operation was given up before its end")
            });
            self.write(Outcome::Failed(&failure));
        }
    }
}
