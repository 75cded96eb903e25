//! Graceful shutdown: it is announced while new sessions are still accepted, then running work may finish
//! until a deadline, then it is aborted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::task;

/// Longer than any session needs to abort its transfers and to log out.
const FORCED_STOP_TIMEOUT: Duration = Duration::from_secs(16);

/// How a gateway ends (`drain`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainSettings {
    /// New sessions are still accepted for so long, while `/ready` says that the gateway ends: load
    /// balancers learn late that they must send clients elsewhere.
    pub accept_for: Duration,
    /// After that, for running transfers.
    pub timeout: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { accept_for: Duration::from_secs(5), timeout: Duration::from_secs(30) }
    }
}

/// Shared by all sessions: no new sessions once draining, no work at all once forced.
#[derive(Clone, Default)]
pub struct Drain {
    announced: CancellationToken,
    draining: CancellationToken,
    forced: CancellationToken,
    tasks: TaskTracker,
    accepting: TaskTracker,
    has_cut: Arc<AtomicBool>,
    phase_end: Arc<Mutex<Option<Instant>>>,
}

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainPhase {
    /// No drain was asked for.
    Serving,
    /// New sessions are still accepted.
    Accepting,
    /// Running transfers may finish.
    Draining,
    /// Running transfers are aborted.
    Aborting,
}

impl Drain {
    /// Starts in normal operation, without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the gateway ends, and so asks [`Self::announced`] for the drain.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Resolves when the end was announced.
    pub async fn announced(&self) {
        self.announced.cancelled().await;
    }

    /// Whether clients should go elsewhere.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// The drain of a part of the work: it begins and is forced with this one, or before. Its tasks are
    /// this one's.
    pub fn child(&self) -> Self {
        Self {
            draining: self.draining.child_token(),
            forced: self.forced.child_token(),
            ..self.clone()
        }
    }

    /// Refuses new work, and does not wait.
    pub fn begin(&self) {
        self.draining.cancel();
    }

    /// Aborts running work, and does not wait.
    pub fn force(&self) {
        self.draining.cancel();
        self.forced.cancel();
    }

    /// Resolves when no new work may start.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Whether new work is refused.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Resolves when running transfers must end at once.
    pub async fn forced(&self) {
        self.forced.cancelled().await;
    }

    /// Cancelled when draining starts; ends accept loops.
    pub fn token(&self) -> &CancellationToken {
        &self.draining
    }

    /// Runs a task that the drain waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        task::spawn_tracked(&self.tasks, task);
    }

    /// Runs a task that accepts connections: those that it has accepted are not counted yet.
    pub fn spawn_accepting(&self, task: impl Future<Output = ()> + Send + 'static) {
        task::spawn_tracked(&self.accepting, task);
    }

    /// The tasks of [`Self::spawn_accepting`].
    pub fn accepting(&self) -> &TaskTracker {
        &self.accepting
    }

    /// Resolves when nobody accepts any more, and the last session has ended by itself.
    pub async fn emptied(&self) {
        for tasks in [&self.accepting, &self.tasks] {
            tasks.close();
            tasks.wait().await;
        }
    }

    /// Notes that a transfer or a request was cut, because the drain was forced.
    pub fn note_cut(&self) {
        self.has_cut.store(true, Ordering::Relaxed);
    }

    /// The connections that the drain waits for.
    pub fn sessions(&self) -> usize {
        self.tasks.len()
    }

    /// How far the drain is, and the time until the next phase begins at the latest, where that is known.
    pub fn phase(&self) -> (DrainPhase, Option<Duration>) {
        let phase = match (self.is_announced(), self.is_draining(), self.forced.is_cancelled()) {
            (_, _, true) => DrainPhase::Aborting,
            (_, true, _) => DrainPhase::Draining,
            (true, _, _) => DrainPhase::Accepting,
            _ => DrainPhase::Serving,
        };
        let end = *self.phase_end.lock().unwrap_or_else(PoisonError::into_inner);
        (phase, end.map(|end| end.saturating_duration_since(Instant::now())))
    }

    /// Announces the end, accepts sessions for a while, then refuses new work, gives running work until the
    /// deadline, and aborts it. Returns whether work was cut.
    pub async fn drain(&self, settings: &DrainSettings) -> bool {
        let DrainSettings { accept_for, timeout: deadline } = *settings;
        self.announce();
        if !accept_for.is_zero() {
            self.begin_phase(accept_for);
            let shown = humantime::format_duration(accept_for);
            tracing::info!("not ready: new sessions for {shown} more (drain.accept_for)");
            sleep(accept_for).await;
        }
        self.begin_phase(deadline);
        tracing::info!("draining: no new sessions; waiting for running transfers");
        self.draining.cancel();
        self.tasks.close();
        if timeout(deadline, self.tasks.wait()).await.is_err() {
            self.begin_phase(FORCED_STOP_TIMEOUT);
            self.forced.cancel();
            // Aborting a transfer takes a round trip to the backend (ABOR); that too is bounded.
            if timeout(FORCED_STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
                self.note_cut();
            }
        }
        self.has_cut.load(Ordering::Relaxed)
    }

    fn begin_phase(&self, limit: Duration) {
        let end = Instant::now().checked_add(limit);
        *self.phase_end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DrainPhase as P;

    fn settings(accept_for: u64, timeout: u64) -> DrainSettings {
        let seconds = Duration::from_secs;
        DrainSettings { accept_for: seconds(accept_for), timeout: seconds(timeout) }
    }

    #[tokio::test(start_paused = true)]
    async fn work_may_begin_until_draining_and_is_cut_only_where_it_says_so() {
        for cut in [false, true] {
            let drain = Drain::new();
            assert_eq!(drain.phase(), (P::Serving, None));
            let worker = drain.clone();
            drain.spawn(async move {
                worker.draining().await;
                assert_eq!(worker.phase().0, P::Draining);
                worker.forced().await;
                assert_eq!(worker.phase().0, P::Aborting);
                if cut {
                    worker.note_cut();
                }
            });
            let settings = settings(5, 30);
            let drained = drain.drain(&settings);
            let watch = async {
                drain.announced().await;
                assert!(!drain.is_draining());
                assert_eq!((drain.phase().0, drain.sessions()), (P::Accepting, 1));
            };
            let started = tokio::time::Instant::now();
            assert_eq!(tokio::join!(drained, watch).0, cut);
            assert!(started.elapsed() >= Duration::from_secs(35));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_was_cut() {
        let drain = Drain::new();
        drain.spawn(std::future::pending());
        assert!(drain.drain(&settings(0, 0)).await);
    }
}
