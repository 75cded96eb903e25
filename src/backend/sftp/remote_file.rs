//! An open file at the server: its wire handle, the order of its requests and what they wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::queue::RequestQueue;
use super::requests::PendingResponse;
use super::server::Server;
use super::status::Expect;
use super::write_state::{WriteEffect, WriteState};
use crate::backend::path_leases::{PathGuard, PathLease};
use crate::op::{Failure, FailureKind, RemotePath};
use crate::task;
use crate::wire::sftp::{Attributes, RequestBody, ResponseBody, StatusCode};

/// Closing it is left to its owner.
#[derive(Clone)]
pub(super) struct RemoteFile(Arc<Inner>, Option<Size>);

/// The size that the server reports, requested once; `None` where it reports none.
type Size = Shared<BoxFuture<'static, Option<u64>>>;

struct Inner {
    server: Arc<Server>,
    handle: Bytes,
    path: RemotePath,
    /// Of a name that is written in place.
    lease: Option<PathLease>,
    queue: Arc<RequestQueue>,
    write_state: Arc<WriteState>,
    /// The highest end of what was sent, in bytes.
    sent_to: AtomicU64,
}

/// A CLOSE that is sent, or is about to be. Until its response, earlier writes may still take effect.
pub(super) struct PendingClose {
    pub(super) response: PendingResponse,
    /// While it exists, no other upload starts under the name.
    pub(super) guard: Option<PathGuard>,
}

impl RemoteFile {
    pub(super) fn new(
        server: Arc<Server>,
        handle: Bytes,
        path: RemotePath,
        lease: Option<PathLease>,
    ) -> Self {
        let (queue, write_state, sent_to) = (Arc::default(), Arc::default(), AtomicU64::new(0));
        let inner = Inner { server, handle, path, lease, queue, write_state, sent_to };
        Self(Arc::new(inner), None)
    }

    /// The same file, with its size requested now: a response that is short because the file ends is then
    /// recognised without another round trip.
    pub(super) fn sized(&self) -> Self {
        let (size, what) = (self.stat(), format!("get the size of {}", self.path()));
        let size = async move { size.await.ok()?.attributes(what).ok()?.size };
        Self(self.0.clone(), Some(size.boxed().shared()))
    }

    /// The size at the time of [`RemoteFile::sized`].
    pub(super) async fn size(&self) -> Option<u64> {
        self.1.clone()?.await
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        &self.0.server
    }

    pub(super) fn path(&self) -> &RemotePath {
        &self.0.path
    }

    pub(super) fn handle(&self) -> Bytes {
        self.0.handle.clone()
    }

    pub(super) fn queue(&self) -> &Arc<RequestQueue> {
        &self.0.queue
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Bytes of the largest READ.
    pub(super) fn largest_read(&self) -> u32 {
        self.0.server.largest_read.max(1)
    }

    /// Bytes of the largest WRITE.
    pub(super) fn largest_write(&self) -> u32 {
        self.0.server.largest_write.max(1)
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.0.server.requests.round_trip()
    }

    /// Sends a request in the order of the file's queue.
    pub(super) fn send(&self, body: RequestBody) -> PendingResponse {
        self.send_with_effect(body, None)
    }

    fn send_with_effect(&self, body: RequestBody, effect: Option<WriteEffect>) -> PendingResponse {
        let (request, response) = self.0.server.requests.prepare();
        self.0.queue.send(move || request.send(body, effect));
        response
    }

    /// Of a request that writes from `start` to `end`.
    fn write_effect(&self, start: u64, end: u64) -> WriteEffect {
        self.0.server.changes.note(&self.0.path);
        self.0.sent_to.fetch_max(end, Ordering::AcqRel);
        WriteEffect { state: self.0.write_state.clone(), start, end, is_harmless: |_| false }
    }

    /// As [`RemoteFile::write_effect`], of data that the server copies itself, up to `end` at most.
    pub(super) fn copy_effect(&self, end: u64, is_harmless: fn(StatusCode) -> bool) -> WriteEffect {
        self.note_copy();
        WriteEffect { end: 0, is_harmless, ..self.write_effect(0, end) }
    }

    /// What was read ahead of it is no longer valid.
    pub(super) fn note_copy(&self) {
        self.0.server.changes.note_all();
    }

    /// Writes that are not sent yet are dropped.
    pub(super) fn cancel_writes(&self) {
        self.0.write_state.cancel();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.write_state.is_cancelled()
    }

    pub(super) fn is_leased(&self) -> bool {
        self.0.lease.is_some()
    }

    /// No write was requested.
    pub(super) fn is_unwritten(&self) -> bool {
        self.0.sent_to.load(Ordering::Acquire) == 0
    }

    /// What was written must become visible under each name of the file.
    pub(super) fn note_end(&self) {
        if !self.is_unwritten() {
            self.0.server.changes.note_all();
        }
    }

    /// The start of what was sent and refused.
    pub(super) fn refused_from(&self) -> Option<u64> {
        self.0.write_state.refused_from()
    }

    /// Whether a file of this size can consist of what was written here, and of nothing else.
    pub(super) fn may_have_written(&self, size: u64) -> bool {
        (self.0.write_state.accepted_to()..=self.0.sent_to.load(Ordering::Acquire)).contains(&size)
    }

    /// Whether a file of this size can have been written here, if the server refused what starts at `hole`.
    pub(super) fn may_have_written_past(&self, hole: u64, size: u64) -> bool {
        (hole..=self.0.sent_to.load(Ordering::Acquire)).contains(&size)
    }

    /// Sends CLOSE after all earlier requests.
    pub(super) fn close(&self) -> PendingClose {
        let guard = self.0.lease.as_ref().map(PathLease::guard);
        PendingClose { response: self.send(RequestBody::Close { handle: self.handle() }), guard }
    }

    /// As [`RemoteFile::close`]; the response is ignored.
    pub(super) fn close_and_forget(&self) {
        drop(self.send(RequestBody::Close { handle: self.handle() }));
    }

    /// As [`RemoteFile::close`], of a file that was only read: nothing depends on the response.
    pub(super) fn close_read(&self) {
        let (closing, path) = (self.close(), self.path().clone());
        task::spawn_tracked(&self.server().cleanups, async move {
            let closed = closing.response.await;
            if let Err(failure) = closed.and_then(|r| r.done(format_args!("close {path}"))) {
                tracing::debug!(path = path.as_bytes(), %failure, "the CLOSE of a file that was read failed");
            }
        });
    }

    pub(super) fn stat(&self) -> PendingResponse {
        self.send(RequestBody::FileStat { handle: self.handle() })
    }

    pub(super) fn set_stat(&self, attributes: Attributes) -> PendingResponse {
        if let Some(size) = attributes.size {
            self.0.server.changes.note_all();
            self.0.sent_to.fetch_max(size, Ordering::AcqRel);
            self.0.write_state.truncate(size);
        }
        self.send(RequestBody::FileSetStat { handle: self.handle(), attributes })
    }

    /// One READ, of no more than [`RemoteFile::largest_read`].
    pub(super) fn read(&self, offset: u64, length: u32) -> PendingResponse {
        self.send(RequestBody::Read { handle: self.handle(), offset, length })
    }

    /// All of `length`, in as many READs as needed; fewer bytes only where the file ends. They are sent
    /// with the call, not with the first poll.
    pub(super) fn read_all(
        &self,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'static, Result<Bytes, Failure>> {
        let pending = self.send_reads(offset, length);
        let this = self.clone();
        Box::pin(async move {
            let mut gathered = BytesMut::new();
            for (response, at, requested) in pending {
                let first = this.data(response, requested).await?;
                match this.read_rest(first, at, requested).await? {
                    // The usual case: one READ that brings all, not copied.
                    bytes if bytes.len() == length as usize => return Ok(bytes),
                    bytes => {
                        gathered.extend_from_slice(&bytes);
                        if bytes.len() < requested as usize {
                            break;
                        }
                    }
                }
            }
            Ok(gathered.freeze())
        })
    }

    fn send_reads(&self, offset: u64, length: u32) -> Vec<(PendingResponse, u64, u32)> {
        let mut pending = Vec::with_capacity(1);
        let mut done = 0;
        while done < length {
            let requested = (length - done).min(self.largest_read());
            let Some(at) = offset.checked_add(done.into()) else { break };
            pending.push((self.read(at, requested), at, requested));
            done += requested;
        }
        pending
    }

    /// Servers may answer a READ with fewer bytes than requested: the rest is requested then.
    async fn read_rest(
        &self,
        first: Option<Bytes>,
        offset: u64,
        requested: u32,
    ) -> Result<Bytes, Failure> {
        let Some(first) = first else { return Ok(Bytes::new()) };
        if first.len() == requested as usize {
            return Ok(first);
        }
        // A file may be longer than its reported size (0 under /proc): only a size that is met counts.
        let end = offset.checked_add(first.len() as u64);
        if end.is_some() && end == self.size().await {
            return Ok(first);
        }
        let mut gathered = BytesMut::from(&first[..]);
        while gathered.len() < requested as usize {
            let done = gathered.len() as u32;
            let Some(at) = offset.checked_add(done.into()) else { break };
            match self.data(self.read(at, requested - done), requested - done).await? {
                Some(more) => gathered.extend_from_slice(&more),
                None => break,
            }
        }
        Ok(gathered.freeze())
    }

    pub(super) async fn data(
        &self,
        response: PendingResponse,
        requested: u32,
    ) -> Result<Option<Bytes>, Failure> {
        self.check_data(response.await?, requested)
    }

    /// The data of a response to a READ; `None` at the end of the file.
    pub(super) fn check_data(
        &self,
        response: ResponseBody,
        requested: u32,
    ) -> Result<Option<Bytes>, Failure> {
        let path = &self.0.path;
        let data = response.data(format_args!("read {path}"))?;
        let broken = |what: &str| {
            let message = format_args!("cannot read {path}: the backend server {what}");
            Err(Failure::backend(FailureKind::Internal, message))
        };
        match &data {
            Some(data) if data.len() > requested as usize => broken("sent more than was requested"),
            // The end has a status of its own; this may be in the middle.
            Some(data) if data.is_empty() && requested > 0 => {
                broken("sent a response without data")
            }
            _ => Ok(data),
        }
    }

    /// All of `data`, in as many WRITEs as needed. They are sent with the call, not with the first poll.
    pub(super) fn write_all(
        &self,
        offset: u64,
        mut data: Bytes,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        let largest = self.largest_write() as usize;
        let mut pending = Vec::with_capacity(1);
        let mut at = offset;
        loop {
            let data_now = data.split_to(data.len().min(largest));
            let (start, end) = (at, at.saturating_add(data_now.len() as u64));
            let body = RequestBody::Write { handle: self.handle(), offset: start, data: data_now };
            pending.push(self.send_with_effect(body, Some(self.write_effect(start, end))));
            at = end;
            if data.is_empty() {
                break;
            }
        }
        let this = self.clone();
        Box::pin(async move {
            let mut outcome = Ok(());
            for response in pending {
                let written = response.await;
                let written = written.and_then(|r| r.done(format_args!("write {}", this.0.path)));
                outcome = outcome.and(written);
            }
            outcome
        })
    }
}
