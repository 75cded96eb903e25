//! The audit: one record for each login, operation, transfer, session and refused client, for those who
//! must answer later who did what. docs/audit.md describes the records.
//!
//! A record is formatted where it arises and put into the bounded queue of each output, whose task writes
//! it. Nothing waits: when a queue is full, records are lost and counted.

mod carried;
mod event;
mod file;
mod json;
mod metrics;
mod object;
mod queue;
mod settings;
mod syslog;
#[cfg(test)]
mod tests;
mod writer;
mod xferlog;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use prometheus::Registry;

pub use carried::CarriedLoss;
pub use event::{
    Account, BackendServer, Certificate, Event, FileTransfer, SessionTotals, Subject, What,
};
pub use settings::{Facility, Format, Output, Receiver, Settings, SyslogSettings, WhenUnavailable};

use crate::op::{Failure, FailureKind};
use file::FileOutput;
use metrics::AuditMetrics;
use queue::{Queue, Renderer};
use writer::{Medium, WriterHandle};

/// For the queued records to be written at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the records of all sessions. By default there is no output, and recording costs nothing.
#[derive(Clone, Default)]
pub struct Audit(Option<Arc<Inner>>);

struct Inner {
    /// Distinguishes the session numbers of this process from those of others.
    instance: String,
    queues: Vec<Queue>,
    hashes: bool,
    metrics: AuditMetrics,
}

/// The tasks that write.
#[derive(Default)]
pub struct Writers(Vec<WriterHandle>);

/// An output that cannot be opened. Fault: the operator's.
#[derive(Debug, thiserror::Error)]
#[error("the audit file {} cannot be opened: {reason}; its folder must exist, and the gateway's user must be \
         allowed to write there", path.display())]
pub struct OpenError {
    path: PathBuf,
    reason: std::io::Error,
}

impl Audit {
    /// Opens the files, registers the metrics, and starts a task for each output. To be called once per
    /// registry, within a runtime.
    ///
    /// # Errors
    /// When a file cannot be opened. A syslog receiver is connected to later.
    pub fn start(
        settings: Vec<Settings>,
        registry: &Registry,
    ) -> Result<(Self, Writers), StartError> {
        if settings.is_empty() {
            return Ok((Self::default(), Writers::default()));
        }
        let metrics = AuditMetrics::register(registry)?;
        let (mut queues, mut writers) = (Vec::new(), Vec::new());
        let hashes = settings.iter().any(|settings| settings.sha256);
        for settings in settings {
            let name = settings.output.to_string();
            let renderer = Renderer::new(&settings);
            let medium = match settings.output {
                Output::File(path) => {
                    let opened = FileOutput::open(&path);
                    Medium::File(opened.map_err(|reason| OpenError { path, reason })?)
                }
                Output::Stdout => Medium::File(FileOutput::stdout()),
                Output::Syslog(syslog) => Medium::Syslog(syslog::Connection::new(syslog.receiver)),
            };
            let counters = metrics.of(medium.kind());
            let refuses = settings.when_unavailable == WhenUnavailable::Refuse;
            let (queue, writer) = writer::start(name, renderer, medium, counters, refuses);
            queues.push(queue);
            writers.push(writer);
        }
        let instance = format!("{:016x}", rand::random::<u64>());
        let audit = Self(Some(Arc::new(Inner { instance, queues, hashes, metrics })));
        Ok((audit, Writers(writers)))
    }

    /// Whether there is an output.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether an output asks for the SHA-256 of transfers.
    pub fn hashes(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.hashes)
    }

    /// Whether new operations and logins are admitted.
    ///
    /// # Errors
    /// When an output with `when_unavailable: refuse` cannot be written.
    pub fn admits(&self) -> Result<(), Failure> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let Some(queue) = inner.queues.iter().find(|queue| queue.must_refuse()) else {
            return Ok(());
        };
        let message = "the gateway cannot write its audit records; try again later";
        Err(Failure::gateway(FailureKind::Busy, message).with_detail(format_args!(
            "{} cannot be written, and has `audit.when_unavailable: refuse`",
            queue.name()
        )))
    }

    /// Whether records are not written yet.
    pub fn waits(&self) -> bool {
        self.0.iter().flat_map(|inner| &inner.queues).any(|queue| queue.state().waits())
    }

    /// Queues the record of an event that happens now.
    pub fn record(&self, event: &Event<'_>) {
        let Some(inner) = &self.0 else { return };
        let now = SystemTime::now();
        for queue in &inner.queues {
            queue.push(&inner.instance, now, event);
        }
    }
}

/// Why the audit did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A metric cannot be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Writers {
    /// Opens the files again, after something has renamed them. Returns whether there are any.
    pub fn reopen(&self) -> bool {
        self.0.iter().filter(|writer| writer.reopen()).count() > 0
    }

    /// Writes what is queued, for at most five seconds. Later records are lost.
    pub async fn close(&self) {
        self.close_within(FLUSH_TIMEOUT).await;
    }

    /// As [`Self::close`], with another limit.
    pub async fn close_within(&self, limit: Duration) {
        join_all(self.0.iter().map(|writer| writer.close(limit))).await;
    }
}
