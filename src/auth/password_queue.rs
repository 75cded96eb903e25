//! The queue of password checks: a bounded number runs at a time, and sources take turns, so that many guesses
//! of one address do not delay the logins of others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Source;

/// From this length on, a source's queue is purged whenever it has doubled.
const PURGE_LENGTH: usize = 64;

/// Gives places to password checks. Waiting ones are as many as logins, which `limits.sessions` and
/// `limits.sessions_per_address` bound.
pub(super) struct PasswordQueue {
    places: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: usize,
    /// Sources with waiting checks, in the order of their turns.
    turns: VecDeque<Source>,
    waiting: HashMap<Source, VecDeque<oneshot::Sender<Place>>>,
}

/// A place for one check; free again when dropped.
pub struct Place(Option<Arc<PasswordQueue>>);

impl PasswordQueue {
    /// With `places` checks at a time.
    pub(super) fn new(places: usize) -> Arc<Self> {
        let state = Mutex::new(State { free: places, ..State::default() });
        Arc::new(Self { places, state })
    }

    /// Waits for a place. Of checks of one source, the first comes first. Dropped, it no longer waits.
    pub(super) async fn place(self: &Arc<Self>, source: Source) -> Place {
        loop {
            let place = {
                let mut state = self.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return Place(Some(self.clone()));
                }
                state.wait(source)
            };
            // The queue never drops a waiting sender.
            if let Ok(place) = place.await {
                return place;
            }
        }
    }

    /// Checks that may run at a time.
    pub(super) fn places(&self) -> usize {
        self.places
    }

    /// Checks that run.
    pub(super) fn taken(&self) -> usize {
        self.places - self.lock().free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that wait for a place.
    pub(super) fn waiting(&self) -> usize {
        let state = self.lock();
        let of_source = |queue: &VecDeque<oneshot::Sender<Place>>| {
            queue.iter().filter(|waiting| !waiting.is_closed()).count()
        };
        state.waiting.values().map(of_source).sum()
    }

    /// Passes a place on to the next that waits.
    fn pass_on(self: Arc<Self>) {
        let mut place = Place(Some(self.clone()));
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.next();
                if next.is_none() {
                    state.free += 1;
                    // It has been counted.
                    place.0 = None;
                }
                next
            };
            let Some(next) = next else { return };
            match next.send(place) {
                Ok(()) => return,
                // The login has ended meanwhile.
                Err(returned) => place = returned,
            }
        }
    }
}

impl State {
    fn wait(&mut self, source: Source) -> oneshot::Receiver<Place> {
        let (sender, receiver) = oneshot::channel();
        let queue = self.waiting.entry(source).or_default();
        if queue.is_empty() {
            self.turns.push_back(source);
        }
        // A client that connects again and again without waiting fills no memory.
        if queue.len() >= PURGE_LENGTH && queue.len().is_power_of_two() {
            queue.retain(|waiting| !waiting.is_closed());
        }
        queue.push_back(sender);
        receiver
    }

    /// The first of the source whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<Place>> {
        while let Some(source) = self.turns.pop_front() {
            let Some(queue) = self.waiting.get_mut(&source) else { continue };
            let next = std::iter::from_fn(|| queue.pop_front()).find(|next| !next.is_closed());
            if queue.is_empty() {
                self.waiting.remove(&source);
            } else {
                self.turns.push_back(source);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(queue) = self.0.take() {
            queue.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt;

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Place>>>;

    fn source(last: u8) -> Source {
        Source::of([192, 0, 2, last].into())
    }

    /// A check that waits.
    fn wait(queue: &Arc<PasswordQueue>, last: u8) -> Waiting {
        let queue = queue.clone();
        let waiting = async move { queue.place(source(last)).await };
        // More polls than a task of tokio may do at a time.
        let mut waiting: Waiting = Box::pin(tokio::task::unconstrained(waiting));
        assert!((&mut waiting).now_or_never().is_none());
        waiting
    }

    #[tokio::test]
    async fn sources_take_turns() {
        let queue = PasswordQueue::new(1);
        let mut running = queue.place(source(9)).await;
        let guesses: Vec<_> = (0..400).map(|_| wait(&queue, 1)).collect();
        let honest = wait(&queue, 2);
        let second = wait(&queue, 2);
        assert_eq!((queue.waiting(), queue.taken(), queue.places()), (402, 1, 1));
        let mut guesses = guesses.into_iter();
        // Before the honest login, one guess is checked, and between it and the next, one.
        for honest in [honest, second] {
            drop(running);
            running = guesses.next().unwrap().now_or_never().unwrap();
            drop(running);
            running = honest.now_or_never().unwrap();
        }
        for guess in guesses {
            drop(running);
            running = guess.now_or_never().unwrap();
        }
        drop(running);
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test]
    async fn logins_that_have_ended_take_no_place() {
        let queue = PasswordQueue::new(2);
        let (first, second) = (queue.place(source(1)).await, queue.place(source(1)).await);
        let ended: Vec<_> = (0..1000).map(|at| wait(&queue, at as u8 % 7)).collect();
        let waiting = wait(&queue, 3);
        drop(ended);
        assert_eq!(queue.waiting(), 1);
        drop(first);
        let third = waiting.now_or_never().unwrap();
        drop((second, third));
        // Both are free again.
        let places = [4, 5].map(|last| queue.place(source(last)).now_or_never());
        assert!(places.iter().all(Option::is_some));
        assert!(queue.place(source(6)).now_or_never().is_none());
    }

    /// A place that was sent to a login which ended before it took it.
    #[tokio::test]
    async fn a_place_that_was_not_taken_is_passed_on() {
        let queue = PasswordQueue::new(1);
        let running = queue.place(source(1)).await;
        let (ended, waiting) = (wait(&queue, 2), wait(&queue, 3));
        drop(running);
        drop(ended);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn clients_that_give_up_fill_no_memory() {
        let queue = PasswordQueue::new(1);
        let _running = queue.place(source(1)).await;
        for _ in 0..10_000 {
            drop(wait(&queue, 2));
        }
        let kept = queue.lock().waiting.values().map(VecDeque::len).sum::<usize>();
        assert!(kept <= 64, "{kept}");
    }
}
