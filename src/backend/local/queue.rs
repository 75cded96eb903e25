//! One file's requests: each takes effect in the order of the calls, whoever is polled first.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::calls::{Calls, PATIENCE, hung, unfinished};
use crate::op::Failure;

/// Works off what is to be done with one `T` on a blocking thread, which is given back as soon as
/// nothing is to be done: under load a thread does many requests for one wake-up. Callers bound how
/// many requests wait.
pub(super) struct Queue<T: Send + 'static> {
    runtime: Handle,
    calls: Calls,
    state: Mutex<State<T>>,
    /// Steps done so far: tells slow from hung.
    steps: AtomicU64,
}

struct State<T: Send + 'static> {
    /// Away while a thread works with it, and while it is lent.
    idle: Option<T>,
    waiting: VecDeque<Job<T>>,
}

enum Job<T: Send + 'static> {
    Run(Box<dyn FnOnce(&mut T) + Send>),
    Lend(oneshot::Sender<Lent<T>>),
}

impl<T: Send + 'static> Queue<T> {
    /// Within a tokio runtime.
    pub(super) fn new(calls: Calls, held: T) -> Arc<Self> {
        let state = State { idle: Some(held), waiting: VecDeque::new() };
        let (runtime, state) = (Handle::current(), Mutex::new(state));
        Arc::new(Self { runtime, calls, state, steps: AtomicU64::new(0) })
    }

    /// What changes nothing: left out where nobody waits for the answer any more.
    pub(super) fn query<A: Send + 'static, F>(
        self: &Arc<Self>,
        call: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<T, A, F>
    where
        F: FnOnce(&mut T) -> Result<A, Failure> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.push(Job::Run(Box::new(move |held| {
            if !tell.is_closed() {
                // Whoever went away meanwhile needs no answer.
                let _ = tell.send(call(held));
            }
        })));
        answered(self.clone(), told)
    }

    /// What takes effect whether or not anybody waits for it.
    pub(super) fn command<A: Send + 'static, F>(
        self: &Arc<Self>,
        call: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<T, A, F>
    where
        F: FnOnce(&mut T) -> Result<A, Failure> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        self.push(Job::Run(Box::new(move |held| {
            // As above.
            let _ = tell.send(call(held));
        })));
        answered(self.clone(), told)
    }

    /// Lends what the queue holds when all before is done; what comes later waits for its return.
    pub(super) fn borrow(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<Lent<T>, Failure>> + Send + use<T> {
        let (give, given) = oneshot::channel();
        self.push(Job::Lend(give));
        let queue = self.clone();
        async move { waited(&queue, given).await }
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// A step of something long is done.
    pub(super) fn stepped(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    fn push(self: &Arc<Self>, job: Job<T>) {
        let idle = {
            let mut state = self.lock();
            state.waiting.push_back(job);
            state.idle.take()
        };
        if let Some(held) = idle {
            self.start(held);
        }
    }

    fn start(self: &Arc<Self>, held: T) {
        let queue = self.clone();
        self.calls.begin(&self.runtime, move || queue.work(held));
    }

    fn work(self: Arc<Self>, mut held: T) {
        loop {
            let job = {
                let mut state = self.lock();
                match state.waiting.pop_front() {
                    Some(job) => job,
                    None => {
                        state.idle = Some(held);
                        return;
                    }
                }
            };
            match job {
                Job::Run(run) => run(&mut held),
                Job::Lend(to) => {
                    let lent = Lent { queue: self.clone(), held: Some(held) };
                    // Nobody waits for it any more: its drop starts the work anew.
                    drop(to.send(lent));
                    return;
                }
            }
            self.stepped();
        }
    }

    fn give_back(self: &Arc<Self>, held: T) {
        let held = {
            let mut state = self.lock();
            match state.waiting.is_empty() {
                true => state.idle.replace(held),
                false => Some(held),
            }
        };
        if let Some(held) = held {
            self.start(held);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a queue holds, lent to somebody; it goes back when this is dropped.
pub(super) struct Lent<T: Send + 'static> {
    queue: Arc<Queue<T>>,
    held: Option<T>,
}

impl<T: Send + 'static> Lent<T> {
    pub(super) fn get(&mut self) -> Option<&mut T> {
        self.held.as_mut()
    }

    pub(super) fn queue(&self) -> &Queue<T> {
        &self.queue
    }
}

impl<T: Send + 'static> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.queue.give_back(held);
        }
    }
}

async fn answered<T: Send + 'static, A>(
    queue: Arc<Queue<T>>,
    told: oneshot::Receiver<Result<A, Failure>>,
) -> Result<A, Failure> {
    waited(&queue, told).await?
}

/// As long as the queue's work goes on, its end is worth waiting for.
async fn waited<T: Send + 'static, A>(
    queue: &Queue<T>,
    mut told: oneshot::Receiver<A>,
) -> Result<A, Failure> {
    loop {
        let before = queue.steps.load(Ordering::Relaxed);
        match timeout(PATIENCE, &mut told).await {
            Ok(told) => return told.map_err(|_| unfinished()),
            Err(_) if queue.steps.load(Ordering::Relaxed) == before => return Err(hung()),
            Err(_) => {}
        }
    }
}
