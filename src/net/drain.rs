//! Stopping: first gently, then by force.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than any session needs to cut what it has open and to say goodbye.
const AFTER_FORCE: Duration = Duration::from_secs(16);

/// Seen by every session: no new work once draining, none at all once forced.
#[derive(Clone, Default)]
pub struct Drain {
    draining: CancellationToken,
    forced: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    pub fn new() -> Self {
        Self::default()
    }

    /// Resolves when no new work may begin.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Resolves when running transfers must end at once.
    pub async fn forced(&self) {
        self.forced.cancelled().await;
    }

    /// The token that stops what only waits for new work, such as accept loops.
    pub fn token(&self) -> &CancellationToken {
        &self.draining
    }

    /// Runs a task that the drain waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Refuses new work, gives running work until `deadline`, then forces its end. Returns whether
    /// force was needed.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.draining.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_ok() {
            return false;
        }
        self.forced.cancel();
        // Cutting a transfer talks to the backend (ABOR); that too is bounded.
        let _ = tokio::time::timeout(AFTER_FORCE, self.tasks.wait()).await;
        true
    }
}
