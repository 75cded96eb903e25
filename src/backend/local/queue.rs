//! One file's requests: each takes effect in the order of the calls, not of the polls.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::blocking::{BlockingPool, CALL_TIMEOUT, hung, interrupted};
use crate::op::Failure;

/// Runs jobs on one `T`, in order, on a blocking thread. The thread is released as soon as no job waits, so
/// under load it does many jobs for one wake-up. Callers bound how many jobs wait.
pub(super) struct JobQueue<T: Send + 'static> {
    runtime: Handle,
    pool: BlockingPool,
    state: Mutex<State<T>>,
    /// Jobs and steps done so far: distinguishes slow from hung.
    progress: AtomicU64,
}

struct State<T: Send + 'static> {
    /// `None` while a thread or a guard has it.
    idle: Option<T>,
    waiting: VecDeque<Job<T>>,
}

enum Job<T: Send + 'static> {
    Run(Box<dyn FnOnce(&mut T) + Send>),
    Lock(oneshot::Sender<QueueGuard<T>>),
}

impl<T: Send + 'static> JobQueue<T> {
    /// Must be called within a tokio runtime.
    pub(super) fn new(pool: BlockingPool, value: T) -> Arc<Self> {
        let state = State { idle: Some(value), waiting: VecDeque::new() };
        let (runtime, state) = (Handle::current(), Mutex::new(state));
        Arc::new(Self { runtime, pool, state, progress: AtomicU64::new(0) })
    }

    /// A job that changes nothing. It is skipped if the future was dropped.
    pub(super) fn query<A: Send + 'static, F>(
        self: &Arc<Self>,
        call: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<T, A, F>
    where
        F: FnOnce(&mut T) -> Result<A, Failure> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.push(Job::Run(Box::new(move |value| {
            if !sender.is_closed() {
                // The future may have been dropped meanwhile.
                let _ = sender.send(call(value));
            }
        })));
        outcome(self.clone(), receiver)
    }

    /// A job that runs even if the future was dropped.
    pub(super) fn command<A: Send + 'static, F>(
        self: &Arc<Self>,
        call: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<T, A, F>
    where
        F: FnOnce(&mut T) -> Result<A, Failure> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.push(Job::Run(Box::new(move |value| {
            // As above.
            let _ = sender.send(call(value));
        })));
        outcome(self.clone(), receiver)
    }

    /// Exclusive access to the value after all earlier jobs; later jobs wait until the guard is dropped.
    pub(super) fn lock(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<QueueGuard<T>, Failure>> + Send + use<T> {
        let (sender, receiver) = oneshot::channel();
        self.push(Job::Lock(sender));
        let queue = self.clone();
        async move { receive(&queue, receiver).await }
    }

    pub(super) fn pool(&self) -> &BlockingPool {
        &self.pool
    }

    /// A step of a long job is done.
    pub(super) fn note_progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    fn push(self: &Arc<Self>, job: Job<T>) {
        let idle = {
            let mut state = self.state();
            state.waiting.push_back(job);
            state.idle.take()
        };
        if let Some(value) = idle {
            self.start(value);
        }
    }

    fn start(self: &Arc<Self>, value: T) {
        let queue = self.clone();
        self.pool.spawn(&self.runtime, move || queue.work(value));
    }

    fn work(self: Arc<Self>, mut value: T) {
        loop {
            let job = {
                let mut state = self.state();
                match state.waiting.pop_front() {
                    Some(job) => job,
                    None => {
                        state.idle = Some(value);
                        return;
                    }
                }
            };
            match job {
                Job::Run(run) => run(&mut value),
                Job::Lock(sender) => {
                    let guard = QueueGuard { queue: self.clone(), value: Some(value) };
                    // If the receiver is gone, the drop of the guard restarts the work.
                    drop(sender.send(guard));
                    return;
                }
            }
            self.note_progress();
        }
    }

    fn unlock(self: &Arc<Self>, value: T) {
        let value = {
            let mut state = self.state();
            if state.waiting.is_empty() { state.idle.replace(value) } else { Some(value) }
        };
        if let Some(value) = value {
            self.start(value);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Exclusive access to a queue's value.
pub(super) struct QueueGuard<T: Send + 'static> {
    queue: Arc<JobQueue<T>>,
    value: Option<T>,
}

impl<T: Send + 'static> QueueGuard<T> {
    pub(super) fn get(&mut self) -> Option<&mut T> {
        self.value.as_mut()
    }

    pub(super) fn queue(&self) -> &JobQueue<T> {
        &self.queue
    }
}

impl<T: Send + 'static> Drop for QueueGuard<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.queue.unlock(value);
        }
    }
}

async fn outcome<T: Send + 'static, A>(
    queue: Arc<JobQueue<T>>,
    receiver: oneshot::Receiver<Result<A, Failure>>,
) -> Result<A, Failure> {
    receive(&queue, receiver).await?
}

/// Waits as long as the queue makes progress.
async fn receive<T: Send + 'static, A>(
    queue: &JobQueue<T>,
    mut receiver: oneshot::Receiver<A>,
) -> Result<A, Failure> {
    loop {
        let before = queue.progress.load(Ordering::Relaxed);
        match timeout(CALL_TIMEOUT, &mut receiver).await {
            Ok(received) => return received.map_err(|_| interrupted()),
            Err(_) if queue.progress.load(Ordering::Relaxed) == before => return Err(hung()),
            Err(_) => {}
        }
    }
}
