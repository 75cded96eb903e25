use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::reading::{ReadAnswer, Reading};
use super::writing::Writing;
use super::{HELD, IDLE, Known, Purpose, SequentialFile, unsupported};
use crate::data::Budget;
use crate::op::{Failure, FailureKind};

pub(super) type Answer = oneshot::Sender<Result<(), Failure>>;

pub(super) enum Request {
    Read {
        offset: u64,
        length: u32,
        answer: ReadAnswer,
    },
    Write {
        offset: u64,
        data: Bytes,
        answer: Answer,
    },
    Truncate {
        size: u64,
        answer: Answer,
    },
    Sync {
        answer: Answer,
    },
    /// To be told when all before it has been taken.
    Reached {
        answer: Answer,
    },
    Close {
        answer: Answer,
    },
}

/// Owns the transfers of an open file, and takes its requests in order.
pub(super) struct Actor {
    file: Arc<dyn SequentialFile>,
    requests: mpsc::UnboundedReceiver<Request>,
    known: Arc<Known>,
    readable: bool,
    reading: Reading,
    writing: Option<Writing>,
}

impl Actor {
    pub(super) async fn open(
        file: Arc<dyn SequentialFile>,
        purpose: Purpose,
        requests: mpsc::UnboundedReceiver<Request>,
        known: Arc<Known>,
        early: Budget,
    ) -> Result<Self, Failure> {
        let readable = purpose.read;
        let (reading, writing) = match purpose.write {
            None => (Reading::begin(&*file).await?, None),
            Some(begin) => (Reading::default(), Some(Writing::begin(&*file, begin, early).await?)),
        };
        if let Some(writing) = &writing {
            writing.tell(&known);
        }
        Ok(Self { file, requests, known, readable, reading, writing })
    }

    /// Until the file is closed, or `stop` says that it is cut.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let closed = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            closed = self.serve() => closed,
        };
        // Whoever still asks hears that the file is closed.
        self.requests.close();
        if closed {
            self.reading.close().await;
        }
        self.reading.abort().await;
        if let Some(writing) = &mut self.writing {
            writing.abort(&*self.file, closed).await;
        }
        self.known.set_unfinished(false);
    }

    /// Whether it ended by a close.
    async fn serve(&mut self) -> bool {
        // What came behind reads takes effect behind them.
        let mut next = None;
        loop {
            self.reading.serve();
            self.tell_end();
            if !self.reading.is_waiting() {
                let request = match next.take() {
                    Some(request) => request,
                    None => match self.next().await {
                        Some(request) => request,
                        None => return false,
                    },
                };
                if self.take(request).await.is_break() {
                    return true;
                }
                continue;
            }
            while next.is_none()
                && let Ok(request) = self.requests.try_recv()
            {
                next = self.take_read(request);
            }
            if next.is_some() || !self.reading.can_be_cancelled() {
                self.reading.advance(&*self.file).await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.reading.advance(&*self.file) => {}
                Some(request) = self.requests.recv() => next = self.take_read(request),
            }
        }
    }

    /// The next request; until then a transfer that nobody reads is nobody's hindrance.
    async fn next(&mut self) -> Option<Request> {
        if self.reading.is_running() {
            let wanted = async {
                tokio::time::sleep(IDLE).await;
                self.file.wanted().await;
            };
            tokio::select! {
                biased;
                request = self.requests.recv() => return request,
                () = wanted => {}
            }
            self.reading.abort().await;
            self.reading.forget_ahead();
        } else if self.reading.holds() {
            match timeout(HELD, self.requests.recv()).await {
                Ok(request) => return request,
                Err(_) => self.reading.forget_ahead(),
            }
        }
        self.requests.recv().await
    }

    /// Takes a read; gives any other request back.
    fn take_read(&mut self, request: Request) -> Option<Request> {
        let Request::Read { offset, length, answer } = request else { return Some(request) };
        let refusal = match &self.writing {
            _ if !self.readable => Some(Failure::client(
                FailureKind::InvalidArgument,
                "the file was not opened for reading",
            )),
            Some(writing) if writing.is_unfinished() => Some(unsupported(
                "the backend cannot read and write a file at once; close it first",
            )),
            _ => None,
        };
        match refusal {
            Some(refusal) => drop(answer.send(Err(refusal))),
            None => self.reading.ask(offset, length, answer),
        }
        None
    }

    async fn take(&mut self, request: Request) -> ControlFlow<()> {
        // A client that went away needs no answer.
        match request {
            read @ Request::Read { .. } => drop(self.take_read(read)),
            Request::Write { offset, data, answer } => {
                let _ = answer.send(self.write(offset, data).await);
            }
            Request::Truncate { size, answer } => {
                let _ = answer.send(self.truncate(size).await);
            }
            Request::Sync { answer } => {
                let _ = answer.send(self.finish(false).await);
            }
            Request::Reached { answer } => drop(answer.send(Ok(()))),
            Request::Close { answer } => {
                let _ = answer.send(self.finish(true).await);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn write(&mut self, offset: u64, data: Bytes) -> Result<(), Failure> {
        let Some(writing) = &mut self.writing else { return Err(not_for_writing()) };
        self.reading.forget().await;
        let written = writing.write(&*self.file, offset, data).await;
        writing.tell(&self.known);
        written
    }

    async fn truncate(&mut self, size: u64) -> Result<(), Failure> {
        let Some(writing) = &mut self.writing else { return Err(not_for_writing()) };
        self.reading.forget().await;
        let truncated = writing.truncate(&*self.file, size).await;
        writing.tell(&self.known);
        truncated
    }

    async fn finish(&mut self, whole: bool) -> Result<(), Failure> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        let finished = writing.finish(&*self.file, whole).await;
        writing.tell(&self.known);
        finished
    }

    fn tell_end(&self) {
        if self.writing.is_none() {
            self.known.set_size(self.reading.size().map(|(size, until)| (size, Some(until))));
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
        let known = Arc::new(Known { size: Mutex::default(), unfinished: AtomicBool::new(false) });
        let (requests, queue) = mpsc::unbounded_channel();
        let mut actor = Actor::open(file, READ, queue, known, budget()).await.unwrap();
        let (answer, told) = oneshot::channel();
        assert!(requests.send(Request::Read { offset, length: 100, answer }).is_ok());
        goes_on(&mut actor, 5).await;
        assert_eq!(told.await.unwrap().unwrap().unwrap().len(), 100);
        (actor, requests)
    }

    async fn goes_on(actor: &mut Actor, seconds: u64) {
        assert!(timeout(Duration::from_secs(seconds), actor.serve()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_given_up_transfer_had_read_ahead_is_freed() {
        let fake = Arc::new(Fake::with(bytes(100_000)));
        let (mut actor, _requests) = reading(&fake, 0).await;
        goes_on(&mut actor, 60).await;
        assert!(actor.reading.holds());
        fake.wanted.notify_one();
        goes_on(&mut actor, 5).await;
        assert_eq!(fake.logged(), ["read 0", "abort"]);
        assert!(!actor.reading.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_passed_over_before_the_end_is_freed_after_a_while() {
        let fake = Arc::new(Fake::with(bytes(1000)));
        let (mut actor, requests) = reading(&fake, 850).await;
        let (answer, told) = oneshot::channel();
        assert!(requests.send(Request::Read { offset: 950, length: 100, answer }).is_ok());
        goes_on(&mut actor, 5).await;
        assert_eq!(told.await.unwrap().unwrap().unwrap().len(), 50);
        assert_eq!(fake.logged(), ["read 0", "finish"]);
        assert!(actor.reading.holds());
        goes_on(&mut actor, 60).await;
        assert!(!actor.reading.holds());
    }
}
