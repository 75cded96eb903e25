use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::requests::Answer;
use super::server::Server;
use super::status::Expect;
use crate::data::{ReadAt, WriteAt};
use crate::op::{Failure, FailureKind, RemotePath};
use crate::wire::sftp::{Attributes, RequestBody};

/// An open file at the server. Closing it is left to who has it.
#[derive(Clone)]
pub(super) struct Handle(Arc<Open>, Option<Size>);

/// What the server says of a file's size, asked for once; `None` where it says nothing.
type Size = Shared<BoxFuture<'static, Option<u64>>>;

struct Open {
    server: Arc<Server>,
    handle: Bytes,
    path: RemotePath,
    /// A write was refused: what is there is not what was sent.
    spoiled: Arc<AtomicBool>,
}

impl Handle {
    pub(super) fn new(server: Arc<Server>, handle: Bytes, path: RemotePath) -> Self {
        Self(Arc::new(Open { server, handle, path, spoiled: Arc::default() }), None)
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

    /// To be set when what this file holds is not what it was to hold.
    pub(super) fn spoiled(&self) -> Arc<AtomicBool> {
        self.0.spoiled.clone()
    }

    /// What was read ahead of this file is out of date.
    pub(super) fn note_change(&self) {
        self.0.server.changes.note(&self.0.path);
    }

    pub(super) fn is_spoiled(&self) -> bool {
        self.0.spoiled.load(Ordering::Acquire)
    }

    /// Sends CLOSE behind all that was sent before.
    pub(super) fn close(&self) -> Answer {
        self.0.server.requests.ask(RequestBody::Close { handle: self.bytes() })
    }

    /// As [`Handle::close`], without wanting to know.
    pub(super) fn give_up(&self) {
        self.0.server.requests.tell(RequestBody::Close { handle: self.bytes() });
    }

    pub(super) fn stat(&self) -> Answer {
        self.0.server.requests.ask(RequestBody::FileStat { handle: self.bytes() })
    }

    pub(super) fn set_stat(&self, attributes: Attributes) -> Answer {
        let spoiled = attributes.size.map(|_| self.spoiled());
        if spoiled.is_some() {
            self.note_change();
        }
        let body = RequestBody::FileSetStat { handle: self.bytes(), attributes };
        self.0.server.requests.ask_noting(body, spoiled)
    }

    /// One READ, of no more than the server's largest.
    pub(super) fn read(&self, offset: u64, length: u32) -> Answer {
        let body = RequestBody::Read { handle: self.bytes(), offset, length };
        self.0.server.requests.ask(body)
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
                match this.whole(answer, at, wanted).await? {
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
    async fn whole(&self, answer: Answer, offset: u64, wanted: u32) -> Result<Bytes, Failure> {
        let Some(first) = self.data(answer, wanted).await? else { return Ok(Bytes::new()) };
        if first.len() == wanted as usize {
            return Ok(first);
        }
        let size = self.size().await.unwrap_or(u64::MAX);
        if offset.saturating_add(first.len() as u64) >= size {
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
        let data = answer.await?.data(format_args!("read {}", self.0.path))?;
        match data {
            Some(data) if data.len() > wanted as usize => Err(Failure::backend(
                FailureKind::Internal,
                format_args!(
                    "cannot read {}: the backend server sent more than was asked for",
                    self.0.path
                ),
            )),
            data => Ok(data),
        }
    }

    /// All of `data`, in as many WRITEs as that takes.
    pub(super) fn write_all(
        &self,
        offset: u64,
        mut data: Bytes,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        self.note_change();
        let largest = self.0.server.largest_write.max(1) as usize;
        let mut asked = Vec::with_capacity(1);
        let mut at = offset;
        loop {
            let piece = data.split_to(data.len().min(largest));
            let length = piece.len() as u64;
            let body = RequestBody::Write { handle: self.bytes(), offset: at, data: piece };
            asked.push(self.0.server.requests.ask_noting(body, Some(self.spoiled())));
            at = at.saturating_add(length);
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
