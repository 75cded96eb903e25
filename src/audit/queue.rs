//! The records of an output that are not written yet: bounded in number and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::event::Event;
use super::metrics::Counters;
use super::settings::{Format, Output, Settings};
use super::syslog::Header;
use super::{json, xferlog};

/// Records that are queued for an output. Further ones are lost.
pub(super) const RECORDS_MAX: usize = 8 * 1024;
/// The same in bytes. An output can hold as many again while it writes them.
pub(super) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// How an output's records are written.
pub(super) struct Renderer {
    format: Format,
    header: Option<Header>,
    hashes: bool,
}

/// The sessions' end of a queue.
pub(super) struct Queue {
    name: String,
    kind: &'static str,
    renderer: Renderer,
    sender: mpsc::Sender<String>,
    state: Arc<State>,
    refuses: bool,
}

/// Shared by the two ends.
pub(super) struct State {
    /// In the queue, and held by the writer.
    bytes: AtomicUsize,
    unavailable: AtomicBool,
    lost: AtomicU64,
    /// Those of them that another process counts, or need not.
    pub(super) told: AtomicU64,
    counters: Counters,
}

impl Renderer {
    pub(super) fn new(settings: &Settings) -> Self {
        let header = match &settings.output {
            Output::Syslog(syslog) => Some(Header::new(syslog.facility)),
            Output::File(_) | Output::Stdout => None,
        };
        Self { format: settings.format, header, hashes: settings.sha256 }
    }

    /// `None`: the format has nothing for this event.
    fn render(&self, instance: &str, now: SystemTime, event: &Event<'_>) -> Option<String> {
        let record = match self.format {
            Format::Json => json::record(instance, now, event, self.hashes),
            Format::Xferlog => xferlog::line(now, event)?,
        };
        Some(match &self.header {
            Some(header) => header.message(now, event, &record),
            None => record,
        })
    }
}

impl Queue {
    pub(super) fn new(
        (name, kind): (String, &'static str),
        renderer: Renderer,
        counters: Counters,
        refuses: bool,
    ) -> (Self, mpsc::Receiver<String>, Arc<State>) {
        let (sender, receiver) = mpsc::channel(RECORDS_MAX);
        let state = Arc::new(State {
            bytes: AtomicUsize::new(0),
            unavailable: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            told: AtomicU64::new(0),
            counters,
        });
        let queue = Self { name, kind, renderer, sender, state: state.clone(), refuses };
        (queue, receiver, state)
    }

    /// What it is, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The label of metrics.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Queues the event's record; counts it as lost if the queue is full.
    pub(super) fn push(&self, instance: &str, now: SystemTime, event: &Event<'_>) {
        let Some(record) = self.renderer.render(instance, now, event) else { return };
        let length = record.len();
        let before = self.state.bytes.fetch_add(length, Ordering::Relaxed);
        if before + length > BYTES_MAX || self.sender.try_send(record).is_err() {
            self.state.remove_lost(1, length);
        }
    }

    /// Whether new operations must be refused: the output is unavailable, or so slow that little room is left
    /// for the records of those that run.
    pub(super) fn must_refuse(&self) -> bool {
        self.refuses
            && (self.state.unavailable.load(Ordering::Relaxed)
                || self.sender.capacity() < RECORDS_MAX / 2
                || self.state.bytes.load(Ordering::Relaxed) > BYTES_MAX / 2)
    }
}

impl State {
    /// Sets whether the output can be written.
    pub(super) fn set_unavailable(&self, unavailable: bool) {
        if self.unavailable.swap(unavailable, Ordering::Relaxed) != unavailable {
            self.counters.unavailable.add(if unavailable { 1 } else { -1 });
        }
    }

    /// Removes records that are written.
    pub(super) fn remove_written(&self, records: usize, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.counters.written.inc_by(records as u64);
    }

    /// Removes records that are lost.
    pub(super) fn remove_lost(&self, records: usize, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.lost.fetch_add(records as u64, Ordering::Relaxed);
        self.counters.lost.inc_by(records as u64);
    }

    /// Whether records are not written yet.
    pub(super) fn waits(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > 0
    }

    /// Records lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
