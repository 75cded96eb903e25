//! The order of one file's requests. An operation that needs several requests in a row can keep others
//! from overtaking it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Sends at once, unless an [`ExclusivePermit`] is out. Callers bound how many requests wait.
#[derive(Default)]
pub(super) struct RequestQueue(Mutex<State>);

#[derive(Default)]
struct State {
    is_locked: bool,
    waiting: VecDeque<Job>,
}

enum Job {
    Send(Box<dyn FnOnce() + Send>),
    Lock(oneshot::Sender<ExclusivePermit>),
}

/// Until it is dropped, later requests wait.
pub(super) struct ExclusivePermit(Arc<RequestQueue>);

impl RequestQueue {
    /// `send` must return at once and must not use this queue.
    pub(super) fn send(&self, send: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.is_locked {
            state.waiting.push_back(Job::Send(Box::new(send)));
        } else {
            // Under the lock, so that nothing gets between.
            send();
        }
    }

    /// Takes its position in the queue with the call, not with the first poll.
    pub(super) fn exclusive(self: &Arc<Self>) -> oneshot::Receiver<ExclusivePermit> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        if state.is_locked {
            state.waiting.push_back(Job::Lock(sender));
            return receiver;
        }
        state.is_locked = true;
        drop(state);
        // The receiver holds it from now on.
        drop(sender.send(ExclusivePermit(self.clone())));
        receiver
    }

    /// Sends what waits, up to the next one that wants the permit.
    fn next_exclusive(&self) -> Option<oneshot::Sender<ExclusivePermit>> {
        let mut state = self.lock();
        while let Some(job) = state.waiting.pop_front() {
            match job {
                Job::Send(send) => send(),
                Job::Lock(next) => return Some(next),
            }
        }
        state.is_locked = false;
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExclusivePermit {
    fn drop(&mut self) {
        if let Some(next) = self.0.next_exclusive() {
            // If the receiver is gone, the drop of the permit continues.
            drop(next.send(ExclusivePermit(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_after_an_exclusive_permit_wait_and_keep_their_order() {
        let (queue, sent) = (Arc::new(RequestQueue::default()), Arc::new(Mutex::new(Vec::new())));
        let send = |n: u32| {
            let sent = sent.clone();
            queue.send(move || sent.lock().unwrap().push(n));
        };
        send(1);
        let first = queue.exclusive();
        send(2);
        let (dropped_early, second) = (queue.exclusive(), queue.exclusive());
        send(3);
        drop(dropped_early);
        assert_eq!(*sent.lock().unwrap(), [1]);
        let first = first.await.unwrap();
        drop(first);
        assert_eq!(*sent.lock().unwrap(), [1, 2]);
        // Granted, but never received.
        drop(second);
        send(4);
        assert_eq!(*sent.lock().unwrap(), [1, 2, 3, 4]);
    }
}
