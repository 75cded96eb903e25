//! Calls to one backend's file system, on tokio's blocking threads. Those threads also check passwords
//! and serve other backends: a file system that hangs must not take them all.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::op::{Failure, FailureKind};

/// Calls to one backend's file system that may be under way; tokio has 512 threads for all.
const MOST: usize = 64;

/// What a file system may take for one call before the client is told that it hangs, and what a call
/// may wait for its turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(super) struct Calls(Arc<Semaphore>);

impl Calls {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// Runs what may block. It is not stopped when the future is dropped, nor when it takes too long;
    /// then nobody waits for it any more, but it keeps its place.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Ok(Ok(place)) = timeout(PATIENCE, self.0.clone().acquire_owned()).await else {
            return Err(busy());
        };
        let running = spawn_blocking(move || {
            let _place = place;
            call()
        });
        match timeout(PATIENCE, running).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(unfinished()),
            Err(_) => Err(hung()),
        }
    }

    /// Begins what may block, as soon as there is a place. Nobody waits for it here.
    pub(super) fn begin(&self, runtime: &Handle, call: impl FnOnce() + Send + 'static) {
        match self.0.clone().try_acquire_owned() {
            Ok(place) => drop(runtime.spawn_blocking(move || {
                let _place = place;
                call();
            })),
            Err(_) => {
                let calls = self.clone();
                drop(runtime.spawn(async move {
                    // It is never closed.
                    let place = calls.0.acquire_owned().await;
                    drop(spawn_blocking(move || {
                        let _place = place;
                        call();
                    }));
                }));
            }
        }
    }
}

pub(super) fn unfinished() -> Failure {
    Failure::gateway(FailureKind::Internal, "a file system call did not come to its end")
}

pub(super) fn hung() -> Failure {
    Failure::backend(FailureKind::TimedOut, "the backend's file system does not answer")
}

fn busy() -> Failure {
    let why = "the backend's file system does not get done what it has to do; try again later";
    Failure::backend(FailureKind::Busy, why)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn calls_that_hang_keep_their_places_and_the_rest_is_busy() {
        let calls = Calls::new();
        let mut ends = Vec::new();
        for _ in 0..MOST {
            let (end, ended) = mpsc::channel::<()>();
            ends.push(end);
            // Given up by its caller, it still runs.
            let hangs = calls.run(move || {
                let _ = ended.recv();
                Ok(())
            });
            assert!(futures_util::poll!(Box::pin(hangs)).is_pending());
        }
        let (begin, begun) = mpsc::channel();
        calls.begin(&Handle::current(), move || begin.send(()).unwrap());
        // A file system that hangs leaves tokio's other threads to others.
        assert!(spawn_blocking(|| true).await.unwrap());
        tokio::time::pause();
        let refused = calls.run(|| Ok(()));
        tokio::pin!(refused);
        assert!(futures_util::poll!(&mut refused).is_pending());
        tokio::time::advance(PATIENCE + Duration::from_secs(1)).await;
        assert_eq!(refused.await.unwrap_err().kind, FailureKind::Busy);
        tokio::time::resume();
        assert!(begun.try_recv().is_err());
        drop(ends);
        calls.run(|| Ok(())).await.unwrap();
        assert!(spawn_blocking(move || begun.recv()).await.unwrap().is_ok());
    }
}
