//! One chunk of a file that is read ahead of the client (draft-ietf-secsh-filexfer-02 section 6.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::remote_file::RemoteFile;
use crate::data::Share;
use crate::op::Failure;

/// One READ that is in flight or answered, and the READs that follow a short response.
pub(super) struct Chunk {
    pub(super) offset: u64,
    /// Bytes that are used of it, at most what was requested.
    pub(super) length: u32,
    /// Bytes that the client has read.
    pub(super) served: u32,
    pub(super) requested_at: Instant,
    first_response: SharedResult<FirstResponse>,
    end_reported: Arc<AtomicBool>,
    _share: Share,
}

/// A part of a chunk, by offsets in it.
pub(super) struct ChunkSlice {
    first_response: SharedResult<FirstResponse>,
    end_reported: Arc<AtomicBool>,
    start: usize,
    stop: usize,
}

pub(super) type SharedResult<T> = Shared<BoxFuture<'static, Result<T, Failure>>>;

#[derive(Clone)]
pub(super) struct FirstResponse {
    bytes: Bytes,
    at: Instant,
    remainder: Remainder,
}

/// What follows the first response.
#[derive(Clone)]
enum Remainder {
    /// The response was not short.
    None,
    /// The server reported the end of the file.
    EndOfFile,
    /// A short response may be the end or not. The READ for the rest was sent when the response arrived; it
    /// brings fewer bytes only where the file ends.
    Requested(SharedResult<Bytes>),
}

impl Chunk {
    /// Sends the READ with the call.
    pub(super) fn request(file: &RemoteFile, offset: u64, length: u32, share: Share) -> Self {
        let (response, file) = (file.read(offset, length), file.clone());
        let first_response = async move {
            let (body, at) = response.timed().await?;
            let Some(bytes) = file.check_data(body, length)? else {
                return Ok(FirstResponse {
                    bytes: Bytes::new(),
                    at,
                    remainder: Remainder::EndOfFile,
                });
            };
            let left = length.saturating_sub(bytes.len() as u32);
            let next = offset.checked_add(bytes.len() as u64);
            let remainder = match next.filter(|_| left > 0) {
                Some(next) => Remainder::Requested(request_rest(&file, next, left)),
                None => Remainder::None,
            };
            Ok(FirstResponse { bytes, at, remainder })
        };
        Self {
            offset,
            length,
            served: 0,
            requested_at: Instant::now(),
            first_response: first_response.boxed().shared(),
            end_reported: Arc::default(),
            _share: share,
        }
    }

    /// Must be polled for the READ after a short response to be sent at once.
    pub(super) fn first_response(&self) -> SharedResult<FirstResponse> {
        self.first_response.clone()
    }

    /// Whether it can serve a read at `offset`: the byte is there, or is in flight, or the file is known to
    /// end before it.
    pub(super) fn holds(&self, offset: u64) -> bool {
        let Some(at) = offset.checked_sub(self.offset).filter(|at| *at < self.length.into()) else {
            return false;
        };
        match self.first_response.peek() {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(first)) => match &first.remainder {
                Remainder::None => true,
                Remainder::EndOfFile => !self.has_reported_end(),
                Remainder::Requested(_) if at < first.bytes.len() as u64 => true,
                Remainder::Requested(rest) => match rest.peek() {
                    None => true,
                    Some(Err(_)) => false,
                    Some(Ok(rest)) => {
                        at < (first.bytes.len() + rest.len()) as u64 || !self.has_reported_end()
                    }
                },
            },
        }
    }

    /// The end may move: it is reported from memory only once.
    pub(super) fn has_reported_end(&self) -> bool {
        self.end_reported.load(Ordering::Acquire)
    }

    pub(super) fn slice(&self, start: usize, stop: usize) -> ChunkSlice {
        let (first_response, end_reported) =
            (self.first_response.clone(), self.end_reported.clone());
        ChunkSlice { first_response, end_reported, start, stop }
    }

    /// Whether `offset` is known to be past the first response.
    pub(super) fn is_past_first_response(&self, offset: u64) -> bool {
        let at = offset.saturating_sub(self.offset);
        matches!(self.first_response.peek(), Some(Ok(first)) if at >= first.bytes.len() as u64)
    }

    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        self.known_length().is_some_and(|length| length >= self.length as usize)
    }

    /// Whether nothing can be read after it.
    pub(super) fn is_last(&self) -> bool {
        self.known_length().is_some_and(|length| length < self.length as usize)
    }

    /// How many bytes there are; `None` while that is unknown.
    fn known_length(&self) -> Option<usize> {
        let Ok(first) = self.first_response.peek()? else { return Some(0) };
        match &first.remainder {
            Remainder::Requested(rest) => match rest.peek()? {
                Ok(rest) => Some(first.bytes.len() + rest.len()),
                Err(_) => Some(first.bytes.len()),
            },
            _ => Some(first.bytes.len()),
        }
    }

    /// When the first response arrived.
    pub(super) fn received_at(&self) -> Option<Instant> {
        let first = self.first_response.clone().now_or_never()?;
        first.ok().map(|first| first.at)
    }
}

impl ChunkSlice {
    pub(super) fn length(&self) -> usize {
        self.stop - self.start
    }

    /// At least one byte of it, unless the file ends before.
    pub(super) async fn bytes(self) -> Result<Bytes, Failure> {
        let bytes = self.first_response.await?.slice(self.start, self.stop).await?;
        if bytes.is_empty() {
            self.end_reported.store(true, Ordering::Release);
        }
        Ok(bytes)
    }
}

impl FirstResponse {
    async fn slice(&self, start: usize, stop: usize) -> Result<Bytes, Failure> {
        let length = self.bytes.len();
        if start < length {
            return Ok(self.bytes.slice(start..stop.clamp(start, length)));
        }
        let Remainder::Requested(rest) = &self.remainder else { return Ok(Bytes::new()) };
        let rest = rest.clone().await?;
        let (start, stop) = (start - length, stop.saturating_sub(length).min(rest.len()));
        Ok(rest.slice(start.min(stop)..stop))
    }
}

/// Sends the first READ with the call.
fn request_rest(file: &RemoteFile, offset: u64, length: u32) -> SharedResult<Bytes> {
    let (response, file) = (file.read(offset, length), file.clone());
    let rest = async move {
        let mut gathered = BytesMut::new();
        let mut next = Some((response, length));
        while let Some((response, requested)) = next.take() {
            let Some(more) = file.data(response, requested).await? else { break };
            if gathered.is_empty() && more.len() == requested as usize {
                return Ok(more);
            }
            gathered.extend_from_slice(&more);
            let left = length.saturating_sub(gathered.len() as u32);
            let at = offset.checked_add(gathered.len() as u64);
            next = at.filter(|_| left > 0).map(|at| (file.read(at, left), left));
        }
        Ok(gathered.freeze())
    };
    rest.boxed().shared()
}
