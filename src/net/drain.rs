//! Graceful shutdown: running work may finish until a deadline, then it is aborted.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::task;

/// Longer than any session needs to abort its transfers and to log out.
const FORCED_STOP_TIMEOUT: Duration = Duration::from_secs(16);

/// Shared by all sessions: no new work once draining, no work at all once forced.
#[derive(Clone, Default)]
pub struct Drain {
    draining: CancellationToken,
    forced: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// Starts in normal operation, without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// The drain of a part of the work: it begins and is forced with this one, or before. Its tasks are
    /// this one's.
    pub fn child(&self) -> Self {
        let (draining, forced) = (self.draining.child_token(), self.forced.child_token());
        Self { draining, forced, tasks: self.tasks.clone() }
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

    /// Refuses new work, gives running work until `deadline`, then aborts it. Returns whether that was
    /// needed.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.draining.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok() {
            return false;
        }
        self.forced.cancel();
        // Aborting a transfer takes a round trip to the backend (ABOR); that too is bounded.
        let _ = tokio::time::timeout(FORCED_STOP_TIMEOUT, self.tasks.wait()).await;
        true
    }
}
