use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::line::Line;
use super::requests::Answer;
use super::server::Server;
use super::status::Expect;
use super::written::{Noted, Written};
use crate::backend::claims::{Claim, Held};
use crate::data::{ReadAt, WriteAt};
use crate::op::{Failure, FailureKind, RemotePath};
use crate::wire::sftp::{Attributes, RequestBody, ResponseBody, StatusCode};

/// An open file at the server. Closing it is left to who has it.
#[derive(Clone)]
pub(super) struct Handle(Arc<Open>, Option<Size>);

/// What the server says of a file's size, asked for once; `None` where it says nothing.
type Size = Shared<BoxFuture<'static, Option<u64>>>;

struct Open {
    server: Arc<Server>,
    handle: Bytes,
    path: RemotePath,
    /// Of a name that is written to in its place.
    claim: Option<Claim>,
    line: Arc<Line>,
    written: Arc<Written>,
    /// The highest end of what was sent, in bytes.
    sent: AtomicU64,
}

/// A CLOSE that is sent, or is about to be; until its answer, what was sent before may be written.
pub(super) struct Closing {
    pub(super) answer: Answer,
    /// Nobody begins the name anew as long as this is kept.
    pub(super) held: Option<Held>,
}

impl Handle {
    pub(super) fn new(
        server: Arc<Server>,
        handle: Bytes,
        path: RemotePath,
        claim: Option<Claim>,
    ) -> Self {
        let (line, written, sent) = (Arc::default(), Arc::default(), AtomicU64::new(0));
        Self(Arc::new(Open { server, handle, path, claim, line, written, sent }), None)
    }

    /// The same file, whose size is asked for now: an answer that is short because the file ends is
    /// known as such without another round trip.
    pub(super) fn sized(&self) -> Self {
        let (size, what) = (self.stat(), format!("tell the size of {}", self.path()));
        let size = async move { size.await.ok()?.attributes(what).ok()?.size };
        Self(self.0.clone(), Some(size.boxed().shared()))
    }

    /// As it was when [`Handle::sized`] was called.
    pub(super) async fn size(&self) -> Option<u64> {
        self.1.clone()?.await
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.0.server
    }

    pub(super) fn path(&self) -> &RemotePath {
        &self.0.path
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.0.handle.clone()
    }

    pub(super) fn line(&self) -> &Arc<Line> {
        &self.0.line
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Sends a request in its turn.
    pub(super) fn ask(&self, body: RequestBody) -> Answer {
        self.ask_noting(body, None)
    }

    fn ask_noting(&self, body: RequestBody, noted: Option<Noted>) -> Answer {
        let (asking, answer) = self.0.server.requests.prepare();
        self.0.line.send(move || asking.send(body, noted));
        answer
    }

    /// Of a request that writes from `begin` to `end`, to be noted with its answer.
    fn writing(&self, begin: u64, end: u64) -> Noted {
        self.0.server.changes.note(&self.0.path);
        self.0.sent.fetch_max(end, Ordering::AcqRel);
        Noted { written: self.0.written.clone(), begin, end, harmless: |_| false }
    }

    /// As [`Handle::writing`], of data that does not come through the gateway, up to `end` at most.
    pub(super) fn copying(&self, end: u64, harmless: fn(StatusCode) -> bool) -> Noted {
        self.note_copy();
        Noted { end: 0, harmless, ..self.writing(0, end) }
    }

    /// What was read of it is old.
    pub(super) fn note_copy(&self) {
        self.0.server.changes.note_all();
    }

    /// What was asked to be written and is not on its way yet is not sent any more.
    pub(super) fn give_up_writes(&self) {
        self.0.written.cut();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.0.written.is_cut()
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.0.claim.is_some()
    }

    /// Nothing was to be written to it.
    pub(super) fn is_untouched(&self) -> bool {
        self.0.sent.load(Ordering::Acquire) == 0
    }

    /// What was written is now to be seen under each name of the file.
    pub(super) fn note_end(&self) {
        if self.0.sent.load(Ordering::Acquire) > 0 {
            self.0.server.changes.note_all();
        }
    }

    /// Where that begins that was sent and not taken.
    pub(super) fn refused(&self) -> Option<u64> {
        self.0.written.refused()
    }

    /// Whether a file of this size can be what this handle alone has written from its begin.
    pub(super) fn may_have_made(&self, size: u64) -> bool {
        (self.0.written.taken()..=self.0.sent.load(Ordering::Acquire)).contains(&size)
    }

    /// Whether a file of this size can be what this handle has written, where the server did not take
    /// what begins at `hole`.
    pub(super) fn may_reach_behind(&self, hole: u64, size: u64) -> bool {
        (hole..=self.0.sent.load(Ordering::Acquire)).contains(&size)
    }

    /// Sends CLOSE behind all that was asked before.
    pub(super) fn close(&self) -> Closing {
        let held = self.0.claim.as_ref().map(Claim::hold_anyway);
        Closing { answer: self.ask(RequestBody::Close { handle: self.bytes() }), held }
    }

    /// As [`Handle::close`], without wanting to know.
    pub(super) fn give_up(&self) {
        drop(self.ask(RequestBody::Close { handle: self.bytes() }));
    }

    /// As [`Handle::close`], of a file that was only read: nothing depends on the answer.
    pub(super) fn close_read(&self) {
        let (closing, path) = (self.close(), self.path().clone());
        self.server().cleanups.spawn(async move {
            let closed = closing.answer.await;
            if let Err(failure) = closed.and_then(|a| a.done(format_args!("close {path}"))) {
                tracing::debug!(path = path.as_bytes(), %failure, "a file that was read is not closed well");
            }
        });
    }

    pub(super) fn stat(&self) -> Answer {
        self.ask(RequestBody::FileStat { handle: self.bytes() })
    }

    pub(super) fn set_stat(&self, attributes: Attributes) -> Answer {
        if let Some(size) = attributes.size {
            self.0.server.changes.note_all();
            self.0.sent.fetch_max(size, Ordering::AcqRel);
            self.0.written.cut_off(size);
        }
        self.ask(RequestBody::FileSetStat { handle: self.bytes(), attributes })
    }

    /// One READ, of no more than the server's largest.
    pub(super) fn read(&self, offset: u64, length: u32) -> Answer {
        self.ask(RequestBody::Read { handle: self.bytes(), offset, length })
    }

    /// All of `length`, in as many READs as that takes; fewer bytes only where the file ends.
    pub(super) fn read_all(
        &self,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'static, Result<Bytes, Failure>> {
        let asked = self.ask_pieces(offset, length);
        let this = self.clone();
        Box::pin(async move {
            let mut gathered = BytesMut::new();
            for (answer, at, wanted) in asked {
                let first = this.data(answer, wanted).await?;
                match this.rest(first, at, wanted).await? {
                    // The usual case: one READ that brings all, not copied.
                    bytes if bytes.len() == length as usize => return Ok(bytes),
                    bytes => {
                        gathered.extend_from_slice(&bytes);
                        if bytes.len() < wanted as usize {
                            break;
                        }
                    }
                }
            }
            Ok(gathered.freeze())
        })
    }

    fn ask_pieces(&self, offset: u64, length: u32) -> Vec<(Answer, u64, u32)> {
        let largest = self.0.server.largest_read.max(1);
        let mut asked = Vec::with_capacity(1);
        let mut done = 0;
        while done < length {
            let wanted = (length - done).min(largest);
            let Some(at) = offset.checked_add(done.into()) else { break };
            asked.push((self.read(at, wanted), at, wanted));
            done += wanted;
        }
        asked
    }

    /// Servers may answer a READ with less than was asked for: the rest is asked for then.
    async fn rest(&self, first: Option<Bytes>, offset: u64, wanted: u32) -> Result<Bytes, Failure> {
        let Some(first) = first else { return Ok(Bytes::new()) };
        if first.len() == wanted as usize {
            return Ok(first);
        }
        // A file may be longer than its size says (0 under /proc), so only a size that is met counts.
        let end = offset.checked_add(first.len() as u64);
        if end.is_some() && end == self.size().await {
            return Ok(first);
        }
        let mut gathered = BytesMut::from(&first[..]);
        while gathered.len() < wanted as usize {
            let done = gathered.len() as u32;
            let Some(at) = offset.checked_add(done.into()) else { break };
            match self.data(self.read(at, wanted - done), wanted - done).await? {
                Some(more) => gathered.extend_from_slice(&more),
                None => break,
            }
        }
        Ok(gathered.freeze())
    }

    pub(super) async fn data(&self, answer: Answer, wanted: u32) -> Result<Option<Bytes>, Failure> {
        self.judge(answer.await?, wanted)
    }

    pub(super) fn judge(
        &self,
        answer: ResponseBody,
        wanted: u32,
    ) -> Result<Option<Bytes>, Failure> {
        let path = &self.0.path;
        let data = answer.data(format_args!("read {path}"))?;
        let broken = |what: &str| {
            let message = format_args!("cannot read {path}: the backend server {what}");
            Err(Failure::backend(FailureKind::Internal, message))
        };
        match &data {
            Some(data) if data.len() > wanted as usize => broken("sent more than was asked for"),
            // The end has a status of its own; this may be in the middle.
            Some(data) if data.is_empty() && wanted > 0 => broken("sent an answer without data"),
            _ => Ok(data),
        }
    }

    /// All of `data`, in as many WRITEs as that takes.
    pub(super) fn write_all(
        &self,
        offset: u64,
        mut data: Bytes,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        let largest = self.0.server.largest_write.max(1) as usize;
        let mut asked = Vec::with_capacity(1);
        let mut at = offset;
        loop {
            let piece = data.split_to(data.len().min(largest));
            let length = piece.len() as u64;
            let body = RequestBody::Write { handle: self.bytes(), offset: at, data: piece };
            let begin = at;
            at = at.saturating_add(length);
            asked.push(self.ask_noting(body, Some(self.writing(begin, at))));
            if data.is_empty() {
                break;
            }
        }
        let this = self.clone();
        Box::pin(async move {
            let mut outcome = Ok(());
            for answer in asked {
                let written = answer.await;
                let written = written.and_then(|a| a.done(format_args!("write {}", this.0.path)));
                outcome = outcome.and(written);
            }
            outcome
        })
    }
}

impl ReadAt for Handle {
    fn read_at(&self, offset: u64, length: u32) -> BoxFuture<'static, Result<Bytes, Failure>> {
        self.read_all(offset, length)
    }

    fn largest(&self) -> u32 {
        self.0.server.largest_read.max(1)
    }

    fn round_trip(&self) -> Duration {
        self.0.server.requests.round_trip()
    }
}

impl WriteAt for Handle {
    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'static, Result<(), Failure>> {
        self.write_all(offset, data)
    }

    fn largest(&self) -> u32 {
        self.0.server.largest_write.max(1)
    }

    fn round_trip(&self) -> Duration {
        self.0.server.requests.round_trip()
    }
}
