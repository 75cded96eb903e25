//! The task of an open file: takes its requests in order and owns its transfers.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::reading::{ReadAnswer, Reading};
use super::writing::Writing;
use super::{Access, FileState, IDLE_TIMEOUT, READ_AHEAD_TTL, SequentialFile, unsupported};
use crate::data::Budget;
use crate::op::{Failure, FailureKind};

pub(super) type Answer = oneshot::Sender<Result<(), Failure>>;

pub(super) enum Request {
    Read {
        offset: u64,
        length: u32,
        reply: ReadAnswer,
    },
    Write {
        offset: u64,
        data: Bytes,
        reply: Answer,
    },
    Truncate {
        size: u64,
        reply: Answer,
    },
    Sync {
        reply: Answer,
    },
    /// Answered when all earlier requests have been taken.
    Barrier {
        reply: Answer,
    },
    Close {
        reply: Answer,
    },
}

/// Owns the transfers of an open file and takes its requests in order.
pub(super) struct Actor {
    file: Arc<dyn SequentialFile>,
    requests: mpsc::UnboundedReceiver<Request>,
    state: Arc<FileState>,
    readable: bool,
    reading: Reading,
    writing: Option<Writing>,
}

impl Actor {
    pub(super) async fn open(
        file: Arc<dyn SequentialFile>,
        access: Access,
        requests: mpsc::UnboundedReceiver<Request>,
        state: Arc<FileState>,
        queue_budget: Budget,
    ) -> Result<Self, Failure> {
        let readable = access.read;
        let (reading, writing) = match access.write {
            None => (Reading::open(&*file).await?, None),
            Some(access) => {
                (Reading::default(), Some(Writing::open(&*file, access, queue_budget).await?))
            }
        };
        if let Some(writing) = &writing {
            writing.publish(&state);
        }
        Ok(Self { file, requests, state, readable, reading, writing })
    }

    /// Runs until the file is closed, or `stop` aborts it.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let ended_by_close = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            closed = self.run_until_close() => closed,
        };
        // Outstanding requests fail: the file is closed.
        self.requests.close();
        if ended_by_close {
            self.reading.close().await;
        }
        self.reading.abort().await;
        if let Some(writing) = &mut self.writing {
            writing.abort(&*self.file, ended_by_close).await;
        }
        self.state.set_unfinished(false);
    }

    /// Returns whether a close ended it.
    async fn run_until_close(&mut self) -> bool {
        // A request that follows reads takes effect after them.
        let mut next = None;
        loop {
            self.reading.answer_ready();
            self.publish_size();
            if !self.reading.has_pending() {
                let request = match next.take() {
                    Some(request) => request,
                    None => match self.next_request().await {
                        Some(request) => request,
                        None => return false,
                    },
                };
                if self.handle(request).await.is_break() {
                    return true;
                }
                continue;
            }
            while next.is_none()
                && let Ok(request) = self.requests.try_recv()
            {
                next = self.accept_read(request);
            }
            if next.is_some() || !self.reading.next_step_is_read() {
                self.reading.advance(&*self.file).await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.reading.advance(&*self.file) => {}
                Some(request) = self.requests.recv() => next = self.accept_read(request),
            }
        }
    }

    /// The next request. While waiting, an idle transfer gives its connection up to others.
    async fn next_request(&mut self) -> Option<Request> {
        if self.reading.is_running() {
            let request_after_idle = async {
                tokio::time::sleep(IDLE_TIMEOUT).await;
                self.file.connection_requested().await;
            };
            tokio::select! {
                biased;
                request = self.requests.recv() => return request,
                () = request_after_idle => {}
            }
            self.reading.abort().await;
            self.reading.discard_buffer();
        } else if self.reading.holds() {
            match timeout(READ_AHEAD_TTL, self.requests.recv()).await {
                Ok(request) => return request,
                Err(_) => self.reading.discard_buffer(),
            }
        }
        self.requests.recv().await
    }

    /// Queues a read; returns any other request.
    fn accept_read(&mut self, request: Request) -> Option<Request> {
        let Request::Read { offset, length, reply } = request else { return Some(request) };
        let refusal = match &self.writing {
            _ if !self.readable => Some(Failure::client(
                FailureKind::InvalidArgument,
                "the file was not opened for reading",
            )),
            Some(writing) if writing.is_unfinished() => Some(unsupported(
                "the backend cannot read a file while it is being written; close it first",
            )),
            _ => None,
        };
        match refusal {
            Some(refusal) => drop(reply.send(Err(refusal))),
            None => self.reading.request(offset, length, reply),
        }
        None
    }

    async fn handle(&mut self, request: Request) -> ControlFlow<()> {
        // A dropped request needs no reply.
        match request {
            read @ Request::Read { .. } => drop(self.accept_read(read)),
            Request::Write { offset, data, reply } => {
                let _ = reply.send(self.write(offset, data).await);
            }
            Request::Truncate { size, reply } => {
                let _ = reply.send(self.truncate(size).await);
            }
            Request::Sync { reply } => {
                let _ = reply.send(self.finish(false).await);
            }
            Request::Barrier { reply } => drop(reply.send(Ok(()))),
            Request::Close { reply } => {
                let _ = reply.send(self.finish(true).await);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn write(&mut self, offset: u64, data: Bytes) -> Result<(), Failure> {
        let Some(writing) = &mut self.writing else { return Err(not_for_writing()) };
        self.reading.reset().await;
        let written = writing.write(&*self.file, offset, data).await;
        writing.publish(&self.state);
        written
    }

    async fn truncate(&mut self, size: u64) -> Result<(), Failure> {
        let Some(writing) = &mut self.writing else { return Err(not_for_writing()) };
        self.reading.reset().await;
        let truncated = writing.truncate(&*self.file, size).await;
        writing.publish(&self.state);
        truncated
    }

    async fn finish(&mut self, whole: bool) -> Result<(), Failure> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let finished = writing.finish(&*self.file, whole).await;
        writing.publish(&self.state);
        finished
    }

    fn publish_size(&self) {
        if self.writing.is_none() {
            self.state.set_size(self.reading.size().map(|(size, until)| (size, Some(until))));
        }
    }
}

fn not_for_writing() -> Failure {
    Failure::client(FailureKind::InvalidArgument, "the file was not opened for writing")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::super::tests::{Fake, READ, Shared, budget, bytes};
    use super::*;

    async fn reading(fake: &Arc<Fake>, offset: u64) -> (Actor, mpsc::UnboundedSender<Request>) {
        let file = Arc::new(Shared(fake.clone()));
        let state =
            Arc::new(FileState { size: Mutex::default(), unfinished: AtomicBool::new(false) });
        let (requests, queue) = mpsc::unbounded_channel();
        let mut actor = Actor::open(file, READ, queue, state, budget()).await.unwrap();
        let (reply, read) = oneshot::channel();
        assert!(requests.send(Request::Read { offset, length: 100, reply }).is_ok());
        assert_still_serving(&mut actor, 5).await;
        assert_eq!(read.await.unwrap().unwrap().unwrap().len(), 100);
        (actor, requests)
    }

    async fn assert_still_serving(actor: &mut Actor, seconds: u64) {
        assert!(timeout(Duration::from_secs(seconds), actor.run_until_close()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_aborted_transfer_frees_its_read_ahead() {
        let fake = Arc::new(Fake::with(bytes(100_000)));
        let (mut actor, _requests) = reading(&fake, 0).await;
        assert_still_serving(&mut actor, 60).await;
        assert!(actor.reading.holds());
        fake.requested.notify_one();
        assert_still_serving(&mut actor, 5).await;
        assert_eq!(fake.logged(), ["read 0", "abort"]);
        assert!(!actor.reading.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn skipped_bytes_are_freed_after_a_while() {
        let fake = Arc::new(Fake::with(bytes(1000)));
        let (mut actor, requests) = reading(&fake, 850).await;
        let (reply, read) = oneshot::channel();
        assert!(requests.send(Request::Read { offset: 950, length: 100, reply }).is_ok());
        assert_still_serving(&mut actor, 5).await;
        assert_eq!(read.await.unwrap().unwrap().unwrap().len(), 50);
        assert_eq!(fake.logged(), ["read 0", "finish"]);
        assert!(actor.reading.holds());
        assert_still_serving(&mut actor, 60).await;
        assert!(!actor.reading.holds());
    }
}
