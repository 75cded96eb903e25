//! Pieces of a file that are read ahead of who reads it (draft-ietf-secsh-filexfer-02 section 6.4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::handle::Handle;
use crate::data::Share;
use crate::op::Failure;

/// One READ that is under way or answered, and what is behind a short answer.
pub(super) struct Piece {
    pub(super) offset: u64,
    /// Bytes that are wanted of it, at most what was asked for.
    pub(super) length: u32,
    /// Bytes that were asked for by the client.
    pub(super) served: u32,
    pub(super) asked: Instant,
    head: Coming<Head>,
    end_told: Arc<AtomicBool>,
    _share: Share,
}

/// What is wanted of a piece: from where to where in it.
pub(super) struct Part {
    head: Coming<Head>,
    end_told: Arc<AtomicBool>,
    start: usize,
    stop: usize,
}

pub(super) type Coming<T> = Shared<BoxFuture<'static, Result<T, Failure>>>;

/// The server's first answer.
#[derive(Clone)]
pub(super) struct Head {
    bytes: Bytes,
    at: Instant,
    behind: Behind,
}

#[derive(Clone)]
enum Behind {
    /// The answer brought all that was asked for.
    Nothing,
    /// The server has said that this is the end.
    End,
    /// A short answer may be the end or not: what follows, fewer bytes only where the file ends. The
    /// READ for it was sent when the answer came.
    Asked(Coming<Bytes>),
}

impl Piece {
    /// Sends the READ with the call.
    pub(super) fn ask(file: &Handle, offset: u64, length: u32, share: Share) -> Self {
        let (answer, file) = (file.read(offset, length), file.clone());
        let head = async move {
            let (body, at) = answer.timed().await?;
            let Some(bytes) = file.judge(body, length)? else {
                return Ok(Head { bytes: Bytes::new(), at, behind: Behind::End });
            };
            let left = length.saturating_sub(bytes.len() as u32);
            let next = offset.checked_add(bytes.len() as u64);
            let behind = match next.filter(|_| left > 0) {
                Some(next) => Behind::Asked(rest(&file, next, left)),
                None => Behind::Nothing,
            };
            Ok(Head { bytes, at, behind })
        };
        let head = head.boxed().shared();
        let (asked, end_told) = (Instant::now(), Arc::default());
        Self { offset, length, served: 0, asked, head, end_told, _share: share }
    }

    /// To be polled for the READ behind a short answer to be sent at once.
    pub(super) fn head(&self) -> Coming<Head> {
        self.head.clone()
    }

    /// Whether a read at `offset` can be answered from it: the byte is there, or was to be and has not
    /// come yet, or the file is known to end before it.
    pub(super) fn holds(&self, offset: u64) -> bool {
        let Some(at) = offset.checked_sub(self.offset).filter(|at| *at < self.length.into()) else {
            return false;
        };
        match self.head.peek() {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(head)) => match &head.behind {
                Behind::Nothing => true,
                Behind::End => !self.has_told_end(),
                Behind::Asked(_) if at < head.bytes.len() as u64 => true,
                Behind::Asked(rest) => match rest.peek() {
                    None => true,
                    Some(Err(_)) => false,
                    Some(Ok(rest)) => {
                        at < (head.bytes.len() + rest.len()) as u64 || !self.has_told_end()
                    }
                },
            },
        }
    }

    /// The end may move: it is told once from memory.
    pub(super) fn has_told_end(&self) -> bool {
        self.end_told.load(Ordering::Acquire)
    }

    pub(super) fn part(&self, start: usize, stop: usize) -> Part {
        Part { head: self.head.clone(), end_told: self.end_told.clone(), start, stop }
    }

    /// Whether `offset` is behind the first answer, as far as that is known.
    pub(super) fn is_behind(&self, offset: u64) -> bool {
        let at = offset.saturating_sub(self.offset);
        matches!(self.head.peek(), Some(Ok(head)) if at >= head.bytes.len() as u64)
    }

    /// Whether all of it is there.
    pub(super) fn is_whole(&self) -> bool {
        self.known().is_some_and(|length| length >= self.length as usize)
    }

    /// Whether nothing can be read behind it.
    pub(super) fn is_last(&self) -> bool {
        self.known().is_some_and(|length| length < self.length as usize)
    }

    /// How many bytes there are; `None` before that is known.
    fn known(&self) -> Option<usize> {
        let Ok(head) = self.head.peek()? else { return Some(0) };
        match &head.behind {
            Behind::Asked(rest) => match rest.peek()? {
                Ok(rest) => Some(head.bytes.len() + rest.len()),
                Err(_) => Some(head.bytes.len()),
            },
            _ => Some(head.bytes.len()),
        }
    }

    /// When it came.
    pub(super) fn came(&self) -> Option<Instant> {
        let head = self.head.clone().now_or_never()?;
        head.ok().map(|head| head.at)
    }
}

impl Part {
    pub(super) fn length(&self) -> usize {
        self.stop - self.start
    }

    /// At least one byte of it, unless the file ends before.
    pub(super) async fn bytes(self) -> Result<Bytes, Failure> {
        let bytes = self.head.await?.part(self.start, self.stop).await?;
        if bytes.is_empty() {
            self.end_told.store(true, Ordering::Release);
        }
        Ok(bytes)
    }
}

impl Head {
    async fn part(&self, start: usize, stop: usize) -> Result<Bytes, Failure> {
        let length = self.bytes.len();
        if start < length {
            return Ok(self.bytes.slice(start..stop.clamp(start, length)));
        }
        let Behind::Asked(rest) = &self.behind else { return Ok(Bytes::new()) };
        let rest = rest.clone().await?;
        let (start, stop) = (start - length, stop.saturating_sub(length).min(rest.len()));
        Ok(rest.slice(start.min(stop)..stop))
    }
}

/// The first READ is sent with the call.
fn rest(file: &Handle, offset: u64, length: u32) -> Coming<Bytes> {
    let (answer, file) = (file.read(offset, length), file.clone());
    let rest = async move {
        let mut gathered = BytesMut::new();
        let mut next = Some((answer, length));
        while let Some((answer, wanted)) = next.take() {
            let Some(more) = file.data(answer, wanted).await? else { break };
            if gathered.is_empty() && more.len() == wanted as usize {
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
