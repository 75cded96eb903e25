//! One file's requests in the order of the calls, where something that takes several of them, one
//! behind the other, must not be overtaken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Sends at once, unless somebody has the [`Turn`]. Callers bound how much waits.
#[derive(Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    taken: bool,
    waiting: VecDeque<Job>,
}

enum Job {
    Send(Box<dyn FnOnce() + Send>),
    Turn(oneshot::Sender<Turn>),
}

/// Until it is dropped, what is asked later waits.
pub(super) struct Turn(Arc<Line>);

impl Line {
    /// `send` returns at once, and asks nothing of this line.
    pub(super) fn send(&self, send: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        match state.taken {
            true => state.waiting.push_back(Job::Send(Box::new(send))),
            // Under the lock: nobody comes between.
            false => send(),
        }
    }

    /// The place in the line is taken with the call.
    pub(super) fn turn(self: &Arc<Self>) -> oneshot::Receiver<Turn> {
        let (give, given) = oneshot::channel();
        let mut state = self.lock();
        if state.taken {
            state.waiting.push_back(Job::Turn(give));
            return given;
        }
        state.taken = true;
        drop(state);
        // It is `given` who has it now.
        drop(give.send(Turn(self.clone())));
        given
    }

    /// Who has the next turn, behind all that is sent before.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.lock();
        while let Some(job) = state.waiting.pop_front() {
            match job {
                Job::Send(send) => send(),
                Job::Turn(next) => return Some(next),
            }
        }
        state.taken = false;
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(next) = self.0.next() {
            // Where nobody waits for it any more, its drop goes on.
            drop(next.send(Turn(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_behind_a_turn_waits_and_keeps_its_order() {
        let (line, sent) = (Arc::new(Line::default()), Arc::new(Mutex::new(Vec::new())));
        let send = |n: u32| {
            let sent = sent.clone();
            line.send(move || sent.lock().unwrap().push(n));
        };
        send(1);
        let first = line.turn();
        send(2);
        let (given_up, second) = (line.turn(), line.turn());
        send(3);
        drop(given_up);
        assert_eq!(*sent.lock().unwrap(), [1]);
        let first = first.await.unwrap();
        drop(first);
        assert_eq!(*sent.lock().unwrap(), [1, 2]);
        // Given, and never looked at.
        drop(second);
        send(4);
        assert_eq!(*sent.lock().unwrap(), [1, 2, 3, 4]);
    }
}
