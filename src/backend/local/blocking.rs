//! Blocking calls to one backend's file system, on tokio's blocking threads. Those threads also check
//! passwords and serve other backends: a file system that hangs must not take them all.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::op::{Failure, FailureKind};
use crate::task;

/// Concurrent calls to one backend's file system; tokio has 512 threads for all.
const MAX_CONCURRENT_CALLS: usize = 64;

/// How long one call may wait for a permit, and how long it may then take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct BlockingPool(Arc<Semaphore>);

impl BlockingPool {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS)))
    }

    /// Runs a call. It continues when the future is dropped or the call takes too long, and keeps its
    /// permit until it returns.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Ok(Ok(permit)) = timeout(CALL_TIMEOUT, self.0.clone().acquire_owned()).await else {
            return Err(busy());
        };
        let running = task::spawn_blocking(move || {
            let _permit = permit;
            call()
        });
        match timeout(CALL_TIMEOUT, running).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(interrupted()),
            Err(_) => Err(hung()),
        }
    }

    /// Runs a call in the background as soon as there is a permit.
    pub(super) fn spawn(&self, runtime: &Handle, call: impl FnOnce() + Send + 'static) {
        match self.0.clone().try_acquire_owned() {
            Ok(permit) => drop(task::spawn_blocking_on(runtime, move || {
                let _permit = permit;
                call();
            })),
            Err(_) => {
                let pool = self.clone();
                drop(task::spawn_on(runtime, async move {
                    // The semaphore is never closed.
                    let permit = pool.0.acquire_owned().await;
                    drop(task::spawn_blocking(move || {
                        let _permit = permit;
                        call();
                    }));
                }));
            }
        }
    }
}

pub(super) fn interrupted() -> Failure {
    Failure::gateway(FailureKind::Internal, "a file system call was interrupted")
}

pub(super) fn hung() -> Failure {
    let limit = humantime::format_duration(CALL_TIMEOUT);
    let message = format_args!("the backend's file system has not answered for {limit}");
    Failure::backend(FailureKind::TimedOut, message)
}

fn busy() -> Failure {
    let message = "the backend's file system is overloaded or hangs; try again later";
    Failure::backend(FailureKind::Busy, message)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::spawn_blocking;

    use super::*;

    #[tokio::test]
    async fn hanging_calls_keep_their_permits_and_further_calls_fail_as_busy() {
        let pool = BlockingPool::new();
        let mut senders = Vec::new();
        for _ in 0..MAX_CONCURRENT_CALLS {
            let (sender, receiver) = mpsc::channel::<()>();
            senders.push(sender);
            // Its future is dropped, but it still runs.
            let hanging = pool.run(move || {
                let _ = receiver.recv();
                Ok(())
            });
            assert!(futures_util::poll!(Box::pin(hanging)).is_pending());
        }
        let (sender, started) = mpsc::channel();
        pool.spawn(&Handle::current(), move || sender.send(()).unwrap());
        // A file system that hangs leaves tokio's other threads free.
        assert!(spawn_blocking(|| true).await.unwrap());
        tokio::time::pause();
        let refused = pool.run(|| Ok(()));
        tokio::pin!(refused);
        assert!(futures_util::poll!(&mut refused).is_pending());
        tokio::time::advance(CALL_TIMEOUT + Duration::from_secs(1)).await;
        assert_eq!(refused.await.unwrap_err().kind, FailureKind::Busy);
        tokio::time::resume();
        assert!(started.try_recv().is_err());
        drop(senders);
        pool.run(|| Ok(())).await.unwrap();
        assert!(spawn_blocking(move || started.recv()).await.unwrap().is_ok());
    }
}
