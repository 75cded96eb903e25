//! The record of an operation: the log line and the metrics together.

use std::sync::Arc;
use std::time::Instant;

use super::end::SessionEnd;
use super::live::{RecentFailure, Running, RunningGuard};
use super::metrics::{EndedTransfer, Metrics};
use super::record_line::record_line;
use super::session_info::SessionInfo;
use crate::audit::{Event, FileTransfer, What};
use crate::data::{Progress, Throttle};
use crate::op::{Action, Arrival, Direction, Extent, Failure, FailureKind, Fault, RemotePath};
use crate::policy::limits::TransferPermit;

/// An unfinished operation. Dropped without [`Record::done`] or [`Record::failed`], it records that
/// the session ended.
pub(super) struct Record {
    info: Arc<SessionInfo>,
    metrics: Arc<Metrics>,
    operation: &'static str,
    path: Vec<u8>,
    to: Option<Vec<u8>>,
    /// The policy rule that decided.
    rule: Option<Arc<str>>,
    /// The rule denied it.
    denied: bool,
    direction: Option<Direction>,
    /// What its success means for expected files.
    arrival: Option<Arrival>,
    /// What is transferred is the whole file, if nothing is cut.
    is_whole: bool,
    /// Counts a transfer as running.
    transfer: Option<TransferPermit>,
    quiet: bool,
    is_listing: bool,
    is_text: bool,
    started: Instant,
    progress: Arc<Progress>,
    /// Bytes read from a file that is open for reading and writing.
    read_back: Arc<Progress>,
    /// Shows it to operators.
    running: RunningGuard,
    written: bool,
}

/// How an operation ended.
enum Outcome<'a> {
    Ok,
    /// With the file's size, where that is known.
    Partial(Option<u64>, Option<&'a Failure>),
    Failed(&'a Failure),
}

impl Record {
    pub(super) fn new(info: Arc<SessionInfo>, metrics: Arc<Metrics>, action: &impl Action) -> Self {
        let is_file = matches!(action.direction(), Some(Direction::Upload | Direction::Download));
        let progress = match action.extent() {
            Extent::Whole if is_file && info.audit.hashes() => Progress::with_hash(true),
            Extent::Unknown if is_file && info.audit.hashes() => Progress::with_hash(false),
            _ => Progress::default(),
        };
        let (progress, read_back) = (Arc::new(progress), Arc::<Progress>::default());
        let counters = is_file.then(|| metrics.bytes(&info.labels()));
        let running = Running::new(action, progress.clone(), read_back.clone(), counters);
        let running = info.live.begin(running);
        Self {
            info,
            metrics,
            operation: action.name(),
            path: action.path().to_vec(),
            to: action.other_path().map(<[u8]>::to_vec),
            rule: None,
            denied: false,
            direction: action.direction(),
            arrival: action.arrival(),
            is_whole: action.extent() == Extent::Whole,
            transfer: None,
            // Operations that only read metadata are logged at debug level.
            quiet: action.effects().read_only() && action.direction().is_none(),
            is_listing: action.is_listing(),
            is_text: action.is_text(),
            started: Instant::now(),
            progress,
            read_back,
            running,
            written: false,
        }
    }

    pub(super) fn done(mut self) {
        self.write(Outcome::Ok);
    }

    pub(super) fn failed(mut self, failure: &Failure) {
        self.write(Outcome::Failed(failure));
    }

    /// Records a file that was not read to its end: by the client, or, with a failure, because the
    /// session was lost.
    pub(super) fn partial(mut self, size: Option<u64>, failure: Option<&Failure>) {
        self.write(Outcome::Partial(size, failure));
    }

    /// Counts the transferred bytes.
    pub(super) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The counters of bytes read and written.
    pub(super) fn read_and_written(&self) -> (Arc<Progress>, Arc<Progress>) {
        match self.direction {
            Some(Direction::Upload) => (self.read_back.clone(), self.progress.clone()),
            _ => (self.progress.clone(), self.read_back.clone()),
        }
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        self.direction
    }

    /// Sets the permit of a transfer, which ends with the record.
    pub(super) fn set_transfer(&mut self, permit: TransferPermit) {
        self.transfer = Some(permit);
    }

    /// The limits on bytes in one direction; `None` if there are none.
    pub(super) fn throttle(&self, direction: Direction) -> Option<Arc<dyn Throttle>> {
        self.transfer.as_ref()?.throttle(direction)
    }

    /// Sets the name that a backend chose.
    pub(super) fn set_path(&mut self, path: &RemotePath) {
        self.running.set_path(path.as_bytes());
        self.path = path.as_bytes().to_vec();
    }

    /// Tells operators how many bytes the transfer has in all.
    pub(super) fn set_size(&self, size: Option<u64>) {
        self.running.set_size(size);
    }

    /// Sets the policy rule that allowed it.
    pub(super) fn set_rule(&mut self, rule: Option<Arc<str>>) {
        self.rule = rule;
    }

    /// Sets the policy rule that denied it.
    pub(super) fn set_denied_by(&mut self, rule: Option<Arc<str>>) {
        self.rule = rule;
        self.denied = true;
    }

    fn write(&mut self, ended: Outcome<'_>) {
        self.written = true;
        let bytes = self.progress.bytes();
        let info = &*self.info;
        // False for a file that was refused, or only opened.
        let transferred = bytes > 0 || matches!(ended, Outcome::Ok);
        if !transferred && let Some(permit) = &self.transfer {
            permit.take_back_file();
        }
        if matches!(ended, Outcome::Ok) {
            self.note_arrival(bytes);
        }
        let interrupted = bytes > 0 && !matches!(ended, Outcome::Ok);
        if interrupted && self.direction == Some(Direction::Upload) {
            info.note_interrupted_upload();
        }
        let (outcome, failure, size) = match ended {
            Outcome::Ok => ("ok", None, None),
            Outcome::Partial(size, failure) => ("partial", failure, size),
            Outcome::Failed(failure) => (failure.kind.as_str(), Some(failure), None),
        };
        let fault = failure.map_or("none", |f| f.fault.as_str());
        let (labels, duration) = (info.labels(), self.started.elapsed());
        self.metrics.operation(&labels, self.operation, outcome, fault);
        if let Some(direction) = self.direction {
            let read_back = self.read_back.bytes();
            if read_back > 0 {
                // Only a file open for reading and writing, which counts as an upload.
                info.totals.add_download(read_back);
            }
            match direction {
                Direction::Upload if transferred => info.totals.add_upload(bytes),
                Direction::Download if transferred => info.totals.add_download(bytes),
                Direction::Copy => self.metrics.bytes_in(&labels, direction).inc_by(bytes),
                _ => {}
            }
            let first_byte = self.progress.first_byte();
            let ended = EndedTransfer {
                direction,
                outcome,
                began: transferred,
                duration,
                first_byte: first_byte.map(|first| first.saturating_duration_since(self.started)),
            };
            self.metrics.transfer(&labels, &ended);
        }
        let seconds = duration.as_secs_f64();
        let event = if self.direction.is_some() { "transfer" } else { "operation" };
        macro_rules! at {
            ($level:expr) => {
                record_line!(
                    ($level, event, info, failure),
                    {
                        operation = self.operation,
                        path = self.path.as_slice(),
                        to = self.to.as_deref(),
                        rule = self.rule.as_deref(),
                        bytes = self.direction.map(|_| bytes),
                        size,
                        seconds,
                        outcome,
                    },
                    "{} {}", self.operation, outcome
                )
            };
        }
        let quiet = self.quiet && failure.is_none_or(is_routine);
        if let Some(failure) = failure.filter(|_| !quiet) {
            info.live.note_failure(|| RecentFailure {
                path: Some(self.path.clone()),
                to: self.to.clone(),
                // One that allowed it has nothing to do with the failure.
                rule: self.rule.clone().filter(|_| self.denied),
                ..info.recent_failure(self.operation, outcome, failure)
            });
        }
        if quiet {
            at!(tracing::Level::DEBUG);
        } else {
            at!(tracing::Level::INFO);
        }
        // Who sees what is in a folder matters, who sees the attributes of a name does not.
        if info.audit.is_on() && (!quiet || self.is_listing) {
            self.audit(outcome, failure, size, seconds);
        }
    }

    fn note_arrival(&self, bytes: u64) {
        let files = self.info.established.get().and_then(|it| it.files.as_ref());
        let (Some(files), Some(arrival)) = (files, self.arrival) else { return };
        // Opened for writing, and closed as it was.
        let is_untouched = self.direction.is_some() && bytes == 0 && !self.is_whole;
        match (arrival, &self.to) {
            (Arrival::Stored, _) if !is_untouched => files.arrived(&self.path),
            (Arrival::Renamed, Some(to)) => files.renamed(&self.path, to),
            _ => {}
        }
    }

    fn audit(&self, outcome: &str, failure: Option<&Failure>, size: Option<u64>, seconds: f64) {
        let (name, path, to) = (self.operation, self.path.as_slice(), self.to.as_deref());
        let what = match self.direction {
            None => What::Operation { name, path, to },
            Some(direction) => What::Transfer(FileTransfer {
                name,
                direction: direction.as_str(),
                path,
                to,
                bytes: self.progress.bytes(),
                bytes_read: self.read_back.bytes(),
                size,
                is_text: self.is_text,
                sha256: self.progress.sha256().filter(|_| outcome == "ok"),
            }),
        };
        let event = Event::new(self.info.subject(), what, outcome, failure);
        let rule = self.rule.as_deref();
        self.info.audit.record(&Event { seconds: Some(seconds), rule, ..event });
    }
}

/// Clients often look for missing files, and see their own mistakes in the reply.
fn is_routine(failure: &Failure) -> bool {
    failure.kind == FailureKind::NotFound || failure.fault == Fault::Client
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.written {
            let failure = self.info.end.get().map(SessionEnd::failure).unwrap_or_else(|| {
                Failure::gateway(FailureKind::Aborted, "the operation was dropped before its end")
            });
            self.write(Outcome::Failed(&failure));
        }
    }
}
