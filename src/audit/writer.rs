//! The task of an output: takes records from its queue and writes them, and holds them while it cannot.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::file::FileOutput;
use super::metrics::Counters;
use super::queue::{Queue, Renderer, State};
use super::syslog;
use crate::task;

/// Records that are written together.
const BATCH_MAX: usize = 256;
/// Between two lines of the log about the same output.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Where an output's records go.
pub(super) enum Medium {
    File(FileOutput),
    Syslog(syslog::Connection),
}

/// The gateway's end of a writer.
pub(super) struct WriterHandle {
    task: AbortHandle,
    reopen: Option<Arc<Notify>>,
    closing: CancellationToken,
    /// Cancelled when the task has ended.
    ended: CancellationToken,
}

struct Writer {
    name: String,
    medium: Medium,
    queue: mpsc::Receiver<String>,
    /// Taken from the queue and not written yet.
    held: VecDeque<String>,
    state: Arc<State>,
    reopen: Arc<Notify>,
    closing: CancellationToken,
    /// What the log has reported of the lost records.
    reported_lost: u64,
    last_report: Option<Instant>,
    /// The log says that it is unavailable.
    failure_reported: bool,
    _ended: DropGuard,
}

impl Medium {
    /// The label of metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::File(file) => file.kind(),
            Self::Syslog(_) => "syslog",
        }
    }

    /// The first and the longest wait between two attempts.
    fn retry_intervals(&self) -> (Duration, Duration) {
        let longest = match self {
            Self::File(_) => Duration::from_secs(1),
            Self::Syslog(_) => Duration::from_secs(10),
        };
        (Duration::from_millis(100), longest)
    }

    /// Prepares what is needed for writing, and writes these records. Those that are written, and those that
    /// can never be, are taken out. Returns the number of the latter.
    async fn write(&mut self, records: &mut VecDeque<String>) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(records).await.map(|()| 0),
            Self::Syslog(connection) => connection.write(records).await,
        }
    }

    /// Returns when it must be prepared anew.
    async fn lost(&mut self) {
        match self {
            Self::File(_) => pending().await,
            Self::Syslog(connection) => connection.lost().await,
        }
    }
}

/// Starts the task of an output.
pub(super) fn start(
    name: String,
    renderer: Renderer,
    medium: Medium,
    counters: Counters,
    refuses: bool,
) -> (Queue, WriterHandle) {
    let (queue, receiver, state) =
        Queue::new((name.clone(), medium.kind()), renderer, counters, refuses);
    let (reopen, closing) = (Arc::<Notify>::default(), CancellationToken::new());
    let ended = CancellationToken::new();
    let is_file = matches!(&medium, Medium::File(file) if file.has_path());
    // Not connected yet.
    if matches!(medium, Medium::Syslog(_)) && refuses {
        state.set_unavailable(true);
    }
    let writer = Writer {
        name,
        medium,
        queue: receiver,
        held: VecDeque::new(),
        state,
        reopen: reopen.clone(),
        closing: closing.clone(),
        reported_lost: 0,
        last_report: None,
        failure_reported: false,
        _ended: ended.clone().drop_guard(),
    };
    let task = task::spawn(writer.run()).abort_handle();
    (queue, WriterHandle { task, reopen: is_file.then_some(reopen), closing, ended })
}

impl WriterHandle {
    /// Opens a file again; returns whether it is one.
    pub(super) fn reopen(&self) -> bool {
        self.reopen.as_ref().inspect(|reopen| reopen.notify_one()).is_some()
    }

    /// Writes what is queued, within `limit`.
    pub(super) async fn close(&self, limit: Duration) {
        self.closing.cancel();
        if timeout(limit, self.ended.cancelled()).await.is_err() {
            self.task.abort();
            self.ended.cancelled().await;
        }
    }
}

impl Writer {
    async fn run(mut self) {
        let (first_wait, longest_wait) = self.medium.retry_intervals();
        let mut wait = first_wait;
        loop {
            match self.write().await {
                Ok(()) => {
                    wait = first_wait;
                    if !self.next_batch().await {
                        return;
                    }
                }
                Err(error) => {
                    self.report_failure(&error);
                    tokio::select! {
                        () = sleep(wait) => wait = (wait * 2).min(longest_wait),
                        () = self.reopen.notified() => self.reopen(),
                        // A last attempt.
                        () = self.closing.cancelled(), if !self.queue.is_closed() => self.close(),
                    }
                }
            }
        }
    }

    /// Waits for records, or for another reason to write. `false`: all is written, and no more will come.
    async fn next_batch(&mut self) -> bool {
        let mut records = Vec::new();
        let closing = self.closing.clone();
        tokio::select! {
            biased;
            () = self.reopen.notified() => self.reopen(),
            count = self.queue.recv_many(&mut records, BATCH_MAX) => {
                self.held.extend(records);
                return count > 0;
            }
            () = self.medium.lost() => {}
            () = closing.cancelled(), if !self.queue.is_closed() => self.close(),
        }
        true
    }

    fn reopen(&mut self) {
        if let Medium::File(file) = &mut self.medium {
            file.reopen();
        }
    }

    /// No record is queued from now on.
    fn close(&mut self) {
        self.queue.close();
    }

    async fn write(&mut self) -> io::Result<()> {
        let size = |held: &VecDeque<String>| held.iter().map(String::len).sum::<usize>();
        let (records, bytes) = (self.held.len(), size(&self.held));
        let outcome = self.medium.write(&mut self.held).await;
        let unsendable = outcome.as_ref().map_or(0, |unsendable| *unsendable);
        let gone = records - self.held.len();
        self.state.remove_written(gone - unsendable, bytes - size(&self.held));
        self.state.remove_lost(unsendable, 0);
        outcome?;
        self.state.set_unavailable(false);
        if std::mem::take(&mut self.failure_reported) {
            let lost = self.unreported_losses();
            tracing::info!(event = "audit", lost, "{} is written again", self.name);
        }
        if self.state.lost() > self.reported_lost && self.is_report_due() {
            let lost = self.unreported_losses();
            let name = &self.name;
            tracing::warn!(event = "audit", lost, "{name} is too slow: audit records were lost");
        }
        Ok(())
    }

    fn report_failure(&mut self, error: &io::Error) {
        self.state.set_unavailable(true);
        if self.is_report_due() {
            self.failure_reported = true;
            let (lost, waiting) = (self.unreported_losses(), self.held.len() + self.queue.len());
            tracing::warn!(
                event = "audit",
                reason = error.to_string(),
                waiting,
                lost,
                "{} cannot be written; retrying (audit.when_unavailable)",
                self.name
            );
        }
    }

    /// Whether enough time has passed since the last line; if so, one is written now.
    fn is_report_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.last_report.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        if is_due {
            self.last_report = Some(now);
        }
        is_due
    }

    fn unreported_losses(&mut self) -> u64 {
        let lost = self.state.lost();
        lost - std::mem::replace(&mut self.reported_lost, lost)
    }
}

impl Drop for Writer {
    /// What is left when the process ends is lost.
    fn drop(&mut self) {
        self.queue.close();
        while let Ok(record) = self.queue.try_recv() {
            self.held.push_back(record);
        }
        let left = self.held.len();
        if left > 0 {
            self.state.remove_lost(left, self.held.iter().map(String::len).sum());
            tracing::warn!(
                event = "audit",
                lost = left,
                "{} could not be written before the end: records are lost",
                self.name
            );
        }
    }
}
