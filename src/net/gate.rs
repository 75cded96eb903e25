//! Whether this process may accept from a listening socket, decided at one moment for all of its tasks.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

/// Open or closed. A poll and a change exclude each other.
#[derive(Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// Starts open.
    pub fn open() -> Self {
        Self(watch::Sender::new(true))
    }

    /// Starts closed.
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// When it returns, no future of [`Self::pass`] is being polled, and none will be.
    pub fn close(&self) {
        self.0.send_replace(false);
    }

    /// Futures are polled again.
    pub fn set_open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.0.borrow()
    }

    /// Polls `future` while it is open, and only then. Cancel safe where `future` is.
    pub async fn pass<F: Future>(&self, future: F) -> F::Output {
        let (mut future, mut changes) = (pin!(future), self.0.subscribe());
        loop {
            // `self` is its sender, so there is one.
            let _ = changes.wait_for(|open| *open).await.is_ok();
            let polled = poll_fn(|context| {
                // Held meanwhile: `close` waits.
                let open = self.0.borrow();
                let polled = if *open { future.as_mut().poll(context) } else { Poll::Pending };
                drop(open);
                polled
            });
            tokio::select! {
                done = polled => return done,
                _ = changes.changed() => {}
            }
        }
    }
}
