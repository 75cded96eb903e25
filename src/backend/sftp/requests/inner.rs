//! The requests that have no response yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::backend::sftp::write_state::{WriteEffect, WriteState};
use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{
    Extension, Request, RequestBody, Response, ResponseBody, encode_write_header,
};

/// Requests without a response; fronts and transfers stay far below.
const MAX_PENDING: usize = 8192;
/// Bytes that wait to be sent, or were requested and have not arrived.
const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;
/// The longest handle that a server may give, in bytes (draft section 3).
const MAX_HANDLE_SIZE: usize = 256;
/// How many times longer a response may take for work whose length depends on the file.
const SLOW_FACTOR: u32 = 10;

pub(super) struct Inner {
    state: Mutex<State>,
    /// Bounded by `MAX_PENDING` and `MAX_PENDING_BYTES`.
    outgoing: mpsc::UnboundedSender<Packet>,
    /// Nanoseconds of the shortest round trip measured.
    round_trip: AtomicU64,
    /// Requests with a lower number were given to the channel.
    sent: AtomicU64,
}

struct State {
    next: u64,
    /// By number; its low 32 bits are the id.
    pending: BTreeMap<u64, Pending>,
    /// When the oldest request that needs a response became the oldest one: since then it is the server's
    /// turn.
    oldest_since: Instant,
    bytes: usize,
    ended: Option<Failure>,
}

struct Pending {
    /// `None`: the response is ignored.
    response: Option<ResponseSender>,
    since: Instant,
    bytes: usize,
    /// See [`is_slow`].
    is_slow: bool,
    /// The server need not answer it.
    is_optional: bool,
    effect: Option<WriteEffect>,
}

/// A response, and when it arrived.
pub(in crate::backend::sftp) type TimedResponse = (ResponseBody, Instant);

pub(super) type ResponseSender = oneshot::Sender<Result<TimedResponse, Failure>>;

pub(super) struct Packet {
    pub(super) number: u64,
    pub(super) header: Bytes,
    pub(super) data: Option<Bytes>,
    /// Of a request that writes.
    pub(super) write_state: Option<Arc<WriteState>>,
}

impl State {
    fn oldest(&self) -> Option<(u64, &Pending)> {
        let mut due = self.pending.iter().filter(|(_, pending)| !pending.is_optional);
        due.next().map(|(number, pending)| (*number, pending))
    }

    fn is_oldest(&self, number: u64) -> bool {
        self.oldest().is_some_and(|(oldest, _)| oldest == number)
    }
}

impl Inner {
    pub(super) fn new(outgoing: mpsc::UnboundedSender<Packet>) -> Self {
        let state = Mutex::new(State {
            next: 0,
            pending: BTreeMap::new(),
            oldest_since: Instant::now(),
            bytes: 0,
            ended: None,
        });
        let (round_trip, sent) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Self { state, outgoing, round_trip, sent }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the channel has ended.
    pub(super) fn ended(&self) -> Option<Failure> {
        self.lock().ended.clone()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        let nanos = self.round_trip.load(Ordering::Relaxed);
        (nanos < u64::MAX).then(|| Duration::from_nanos(nanos))
    }

    pub(super) fn make_pending_optional(&self) {
        self.lock().pending.values_mut().for_each(|pending| pending.is_optional = true);
    }

    /// The response to a request that cannot be sent is its failure.
    pub(super) fn enqueue(
        &self,
        body: RequestBody,
        response: Option<ResponseSender>,
        effect: Option<WriteEffect>,
    ) {
        let refuse = |response: Option<ResponseSender>, failure: Failure| {
            if let Some(response) = response {
                drop(response.send(Err(failure)));
            }
        };
        let (bytes, is_slow) = (payload(&body), is_slow(&body));
        // A handle that is not closed stays open at the server; there are no more of these than OPENs.
        let closes = matches!(body, RequestBody::Close { .. });
        let mut header = BytesMut::with_capacity(64);
        let mut state = self.lock();
        if let Some(failure) = state.ended.clone() {
            return refuse(response, failure);
        }
        let full = state.pending.len() >= MAX_PENDING || state.bytes + bytes > MAX_PENDING_BYTES;
        if full && !closes {
            let message = "too many requests to the backend server are pending; try again";
            return refuse(response, Failure::gateway(FailureKind::Busy, message));
        }
        let (number, now) = (state.next, Instant::now());
        let id = number as u32;
        let data = match body {
            RequestBody::Write { handle, offset, data } => {
                encode_write_header(id, &handle, offset, data.len(), &mut header);
                Some(data)
            }
            body => {
                Request { id, body }.encode(&mut header);
                None
            }
        };
        let bytes = bytes + header.len();
        state.next += 1;
        state.bytes += bytes;
        if state.oldest().is_none() {
            state.oldest_since = now;
        }
        let write_state = effect.as_ref().map(|effect| effect.state.clone());
        state.pending.insert(
            number,
            Pending { response, since: now, bytes, is_slow, is_optional: false, effect },
        );
        // Under the lock: the lower number goes first. There is no receiver once the channel has ended.
        let _ = self.outgoing.send(Packet { number, header: header.freeze(), data, write_state });
    }

    /// To be called before a request is sent: the response may arrive before the send returns.
    pub(super) fn note_sent(&self, number: u64) {
        self.sent.store(number + 1, Ordering::Release);
    }

    /// Drops a request that is not sent: for the server it never existed.
    pub(super) fn cancel(&self, number: u64) {
        let mut state = self.lock();
        let is_oldest = state.is_oldest(number);
        let Some(pending) = state.pending.remove(&number) else { return };
        state.bytes -= pending.bytes;
        if is_oldest {
            state.oldest_since = Instant::now();
        }
    }

    /// Delivers a response to its receiver. `Err`: how the server broke the protocol.
    pub(super) fn resolve(&self, packet: Bytes) -> Result<(), String> {
        let Response { id, body } = Response::decode(packet).map_err(|e| e.to_string())?;
        if let ResponseBody::Handle(handle) = &body
            && handle.len() > MAX_HANDLE_SIZE
        {
            return Err(format!(
                "its handle has {} bytes, {MAX_HANDLE_SIZE} are allowed",
                handle.len()
            ));
        }
        let (pending, now) = {
            let mut state = self.lock();
            let Some(oldest) = state.pending.keys().next().copied() else {
                return Err(format!("it answered request {id}, which does not exist"));
            };
            let number = oldest + u64::from(id.wrapping_sub(oldest as u32));
            // Without this check, early responses could free requests that still wait to be sent, without
            // a bound.
            if state.pending.contains_key(&number) && number >= self.sent.load(Ordering::Acquire) {
                return Err(format!("it answered request {id}, which was not sent yet"));
            }
            let is_oldest = state.is_oldest(number);
            let Some(pending) = state.pending.remove(&number) else {
                return Err(format!("it answered request {id}, which does not exist"));
            };
            state.bytes -= pending.bytes;
            let now = Instant::now();
            if is_oldest {
                state.oldest_since = now;
            }
            let round_trip = u64::try_from((now - pending.since).as_nanos()).unwrap_or(u64::MAX);
            self.round_trip.fetch_min(round_trip, Ordering::Relaxed);
            (pending, now)
        };
        if let Some(effect) = pending.effect {
            effect.record(&body);
        }
        let undelivered = match pending.response {
            Some(response) => response.send(Ok((body, now))).err(),
            None => None,
        };
        if let Some(Ok((ResponseBody::Handle(handle), _))) = undelivered {
            // The receiver of an OPEN is gone: its handle must not stay open.
            self.enqueue(RequestBody::Close { handle }, None, None);
        }
        Ok(())
    }

    /// When the oldest request has waited for `limit`, or longer where it may; `Err` if it has.
    pub(super) fn deadline(&self, limit: Duration) -> Result<Instant, ()> {
        let (state, now) = (self.lock(), Instant::now());
        let Some((_, oldest)) = state.oldest() else { return Ok(now + limit) };
        let allowed = if oldest.is_slow { limit * SLOW_FACTOR } else { limit };
        let deadline = state.oldest_since + allowed;
        if deadline <= now { Err(()) } else { Ok(deadline.min(now + limit)) }
    }

    /// From now on all requests fail, the pending ones first.
    pub(super) fn end(&self, failure: Failure) {
        let pending = {
            let mut state = self.lock();
            state.ended.get_or_insert(failure);
            state.bytes = 0;
            std::mem::take(&mut state.pending)
        };
        drop(pending);
    }
}

/// Bytes of a file that the request carries or its response brings.
fn payload(body: &RequestBody) -> usize {
    match body {
        RequestBody::Read { length, .. } => *length as usize,
        RequestBody::Write { data, .. } => data.len(),
        _ => 0,
    }
}

/// Whether the server may have to move a file's bytes before it can answer; some servers do nothing else
/// meanwhile.
fn is_slow(body: &RequestBody) -> bool {
    let RequestBody::Extended(extension) = body else { return false };
    matches!(extension, Extension::CopyData { .. } | Extension::FileSync { .. })
}
