//! Many requests under way at once over one channel (draft-ietf-secsh-filexfer-02 section 3: answers
//! may come in any order, requests of one file take effect in the order they were sent).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::written::{Noted, Written};
use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{
    Extension, PacketReader, Request, RequestBody, Response, ResponseBody, encode_write_header,
};

/// The most requests without an answer; fronts and transfers stay far below.
const MAX_WAITING: usize = 8192;
/// The most bytes that wait to be sent, or were asked for and have not come.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Packets that are sent together.
const BATCH: usize = 64;
/// Data that is copied behind its header rather than sent as a message of its own, in bytes.
const SMALL: usize = 4096;
/// The longest handle that a server may give, in bytes (draft section 3).
const MAX_HANDLE: usize = 256;
/// How often the limit for an answer fits into the one for work whose length the file decides.
const LONG: u32 = 10;

/// Where the server's bytes come from.
pub(super) trait Incoming: Send + 'static {
    /// The next bytes, or why there are no more. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Result<Bytes, String>> + Send;
}

/// Where bytes for the server go to.
pub(super) trait Outgoing: Send + 'static {
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), String>> + Send;
}

/// Asks the server. The channel lives until the last clone is gone, and is then given up.
#[derive(Clone)]
pub(super) struct Requests {
    inner: Arc<Inner>,
    ended: CancellationToken,
    _alive: Arc<DropGuard>,
}

struct Inner {
    state: Mutex<State>,
    /// Bounded by `MAX_WAITING` and `MAX_BYTES`.
    outgoing: mpsc::UnboundedSender<Packet>,
    /// Nanoseconds of the shortest round trip seen.
    round_trip: AtomicU64,
    /// Requests with a lower number have been given to the channel.
    sent: AtomicU64,
}

struct State {
    next: u64,
    /// By number; its low 32 bits are the id.
    waiting: BTreeMap<u64, Waiting>,
    /// Since when the oldest request that is not forgiven is the oldest one, and so the server's to
    /// answer.
    oldest_since: Instant,
    bytes: usize,
    ended: Option<Failure>,
}

impl State {
    fn oldest(&self) -> Option<(u64, &Waiting)> {
        let mut due = self.waiting.iter().filter(|(_, waiting)| !waiting.forgiven);
        due.next().map(|(number, waiting)| (*number, waiting))
    }

    fn is_oldest(&self, number: u64) -> bool {
        self.oldest().is_some_and(|(oldest, _)| oldest == number)
    }
}

struct Waiting {
    /// `None`: nobody wants to know.
    answer: Option<Asker>,
    since: Instant,
    bytes: usize,
    /// As [`takes_long`] says.
    long: bool,
    /// The server need not answer it.
    forgiven: bool,
    noted: Option<Noted>,
}

/// An answer, and when it came.
type Answered = (ResponseBody, Instant);

/// Who waits for an answer.
type Asker = oneshot::Sender<Result<Answered, Failure>>;

struct Packet {
    number: u64,
    header: Bytes,
    data: Option<Bytes>,
    /// Of a request that writes.
    written: Option<Arc<Written>>,
}

impl Requests {
    /// Starts the channel's two tasks, behind INIT and VERSION; `packets` may hold what came behind
    /// it. `limit`: what the server may take for the oldest request. `ended` is cancelled when the
    /// channel is of no more use, and ends it when cancelled.
    pub(super) fn start(
        incoming: impl Incoming,
        outgoing: impl Outgoing,
        packets: PacketReader,
        limit: Duration,
        ended: CancellationToken,
    ) -> Self {
        let (sender, queue) = mpsc::unbounded_channel();
        let state = Mutex::new(State {
            next: 0,
            waiting: BTreeMap::new(),
            oldest_since: Instant::now(),
            bytes: 0,
            ended: None,
        });
        let round_trip = AtomicU64::new(u64::MAX);
        let sent = AtomicU64::new(0);
        let inner = Arc::new(Inner { state, outgoing: sender, round_trip, sent });
        tokio::spawn(send_all(outgoing, queue, inner.clone(), ended.clone()));
        tokio::spawn(receive_all(incoming, packets, inner.clone(), limit, ended.clone()));
        let alive = Arc::new(ended.clone().drop_guard());
        Self { inner, ended, _alive: alive }
    }

    /// Sends a request; its answer comes with the future.
    pub(super) fn ask(&self, body: RequestBody) -> Answer {
        self.ask_noting(body, None)
    }

    /// As [`Requests::ask`].
    pub(super) fn ask_noting(&self, body: RequestBody, noted: Option<Noted>) -> Answer {
        let (asking, answer) = self.prepare();
        asking.send(body, noted);
        answer
    }

    /// As [`Requests::ask`], of a request that is sent by its other half.
    pub(super) fn prepare(&self) -> (Asking, Answer) {
        let (asker, receiver) = oneshot::channel();
        let asking = Asking { inner: self.inner.clone(), asker };
        (asking, Answer { receiver, inner: Some(self.inner.clone()) })
    }

    /// Sends a request whose answer nobody waits for.
    pub(super) fn tell(&self, body: RequestBody) {
        self.inner.enqueue(body, None, None);
    }

    /// What is under way may stay without an answer: the channel goes on.
    pub(super) fn forgive(&self) {
        self.inner.lock().waiting.values_mut().for_each(|waiting| waiting.forgiven = true);
    }

    /// The shortest round trip seen; a guess for a near server before the first.
    pub(super) fn round_trip(&self) -> Duration {
        match self.inner.round_trip.load(Ordering::Relaxed) {
            u64::MAX => Duration::from_millis(1),
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// Gives the channel up: everything under way fails.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }
}

/// A request to be sent.
pub(super) struct Asking {
    inner: Arc<Inner>,
    asker: Asker,
}

impl Asking {
    pub(super) fn send(self, body: RequestBody, noted: Option<Noted>) {
        self.inner.enqueue(body, Some(self.asker), noted);
    }
}

/// An answer to come. Dropped before, a handle in it is closed.
pub(super) struct Answer {
    receiver: oneshot::Receiver<Result<Answered, Failure>>,
    inner: Option<Arc<Inner>>,
}

impl Answer {
    /// As the future itself; also when the server's answer came, however late it is taken.
    pub(super) async fn timed(mut self) -> Result<Answered, Failure> {
        std::future::poll_fn(|cx| self.poll_timed(cx)).await
    }

    fn poll_timed(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answered, Failure>> {
        let answer = ready!(Pin::new(&mut self.receiver).poll(cx));
        let inner = self.inner.take();
        Poll::Ready(answer.unwrap_or_else(|_| {
            let ended = inner.and_then(|inner| inner.lock().ended.clone());
            Err(ended.unwrap_or_else(|| {
                Failure::gateway(FailureKind::Aborted, "the file was cut before this was sent")
            }))
        }))
    }
}

impl Future for Answer {
    type Output = Result<ResponseBody, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_timed(cx).map_ok(|(body, _)| body)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        self.receiver.close();
        if let Ok(Ok((ResponseBody::Handle(handle), _))) = self.receiver.try_recv() {
            inner.enqueue(RequestBody::Close { handle }, None, None);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cannot be sent is told to who asks.
    fn enqueue(&self, body: RequestBody, asker: Option<Asker>, noted: Option<Noted>) {
        let refused = |asker: Option<Asker>, failure: Failure| {
            if let Some(asker) = asker {
                drop(asker.send(Err(failure)));
            }
        };
        let (bytes, long) = (payload(&body), takes_long(&body));
        // A handle that is not closed stays open at the server; there are no more of these than OPENs.
        let closes = matches!(body, RequestBody::Close { .. });
        let mut header = BytesMut::with_capacity(64);
        let mut state = self.lock();
        if let Some(failure) = state.ended.clone() {
            return refused(asker, failure);
        }
        let full = state.waiting.len() >= MAX_WAITING || state.bytes + bytes > MAX_BYTES;
        if full && !closes {
            let message = "too much is asked of the backend server at once; try again";
            return refused(asker, Failure::gateway(FailureKind::Busy, message));
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
        let written = noted.as_ref().map(|noted| noted.written.clone());
        state.waiting.insert(
            number,
            Waiting { answer: asker, since: now, bytes, long, forgiven: false, noted },
        );
        // Under the lock: what has the lower number goes first. Nobody receives once it has ended.
        let _ = self.outgoing.send(Packet { number, header: header.freeze(), data, written });
    }

    /// It is not sent: to the server there never was such a request.
    fn give_up(&self, number: u64) {
        let mut state = self.lock();
        let is_oldest = state.is_oldest(number);
        let Some(waiting) = state.waiting.remove(&number) else { return };
        state.bytes -= waiting.bytes;
        if is_oldest {
            state.oldest_since = Instant::now();
        }
    }

    /// Gives an answer to who waits for it. `Err`: why the server cannot be believed any more.
    fn resolve(&self, packet: Bytes) -> Result<(), String> {
        let Response { id, body } = Response::decode(packet).map_err(|e| e.to_string())?;
        if let ResponseBody::Handle(handle) = &body
            && handle.len() > MAX_HANDLE
        {
            return Err(format!("its handle has {} bytes, {MAX_HANDLE} are allowed", handle.len()));
        }
        let (waiting, now) = {
            let mut state = self.lock();
            let Some(oldest) = state.waiting.keys().next().copied() else {
                return Err(format!("it answered request {id}, which nobody made"));
            };
            let number = oldest + u64::from(id.wrapping_sub(oldest as u32));
            // Else what it answers would wait here to be sent, without a bound.
            if state.waiting.contains_key(&number) && number >= self.sent.load(Ordering::Acquire) {
                return Err(format!("it answered request {id}, which was not sent yet"));
            }
            let is_oldest = state.is_oldest(number);
            let Some(waiting) = state.waiting.remove(&number) else {
                return Err(format!("it answered request {id}, which nobody made"));
            };
            state.bytes -= waiting.bytes;
            let now = Instant::now();
            if is_oldest {
                state.oldest_since = now;
            }
            let round_trip = u64::try_from((now - waiting.since).as_nanos()).unwrap_or(u64::MAX);
            self.round_trip.fetch_min(round_trip, Ordering::Relaxed);
            (waiting, now)
        };
        if let Some(noted) = waiting.noted {
            noted.note(&body);
        }
        let unwanted = match waiting.answer {
            Some(asker) => asker.send(Ok((body, now))).err(),
            None => None,
        };
        if let Some(Ok((ResponseBody::Handle(handle), _))) = unwanted {
            // An OPEN that was given up: its handle must not stay open.
            self.enqueue(RequestBody::Close { handle }, None, None);
        }
        Ok(())
    }

    /// When the oldest request has waited for `limit`, or longer where it may; `Err` if it has.
    fn deadline(&self, limit: Duration) -> Result<Instant, ()> {
        let (state, now) = (self.lock(), Instant::now());
        let Some((_, oldest)) = state.oldest() else { return Ok(now + limit) };
        let deadline = state.oldest_since + if oldest.long { limit * LONG } else { limit };
        match deadline <= now {
            true => Err(()),
            false => Ok(deadline.min(now + limit)),
        }
    }

    /// From now on everything fails, what waits first.
    fn end(&self, failure: Failure) {
        let waiting = {
            let mut state = self.lock();
            state.ended.get_or_insert(failure);
            state.bytes = 0;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }
}

/// Bytes of a file that the request carries or its answer brings.
fn payload(body: &RequestBody) -> usize {
    match body {
        RequestBody::Read { length, .. } => *length as usize,
        RequestBody::Write { data, .. } => data.len(),
        _ => 0,
    }
}

/// Whether the server may have to move a file's bytes before it can answer; some do so with nothing
/// else beside it.
fn takes_long(body: &RequestBody) -> bool {
    let RequestBody::Extended(extension) = body else { return false };
    matches!(extension, Extension::CopyData { .. } | Extension::FileSync { .. })
}

async fn receive_all(
    mut incoming: impl Incoming,
    mut packets: PacketReader,
    inner: Arc<Inner>,
    limit: Duration,
    ended: CancellationToken,
) {
    let given_up = ended.clone();
    let given_up = given_up.cancelled();
    let watchdog = tokio::time::sleep(limit);
    tokio::pin!(given_up, watchdog);
    let why = loop {
        match resolve_all(&mut packets, &inner) {
            Ok(()) => {}
            Err(detail) => {
                tracing::warn!(%detail, "a backend server broke the SFTP protocol; its connection is dropped");
                break lost(detail);
            }
        }
        tokio::select! {
            biased;
            bytes = incoming.next() => match bytes {
                Ok(bytes) => packets.push(bytes),
                Err(detail) => break lost(detail),
            },
            () = &mut watchdog => match inner.deadline(limit) {
                Ok(deadline) => watchdog.as_mut().reset(deadline),
                Err(()) => break lost("it does not answer any more"),
            },
            () = &mut given_up => break lost("the session has ended"),
        }
    };
    inner.end(why);
    ended.cancel();
}

fn resolve_all(packets: &mut PacketReader, inner: &Inner) -> Result<(), String> {
    while let Some(packet) = packets.next().map_err(|e| e.to_string())? {
        inner.resolve(packet)?;
    }
    Ok(())
}

async fn send_all(
    mut outgoing: impl Outgoing,
    mut queue: mpsc::UnboundedReceiver<Packet>,
    inner: Arc<Inner>,
    ended: CancellationToken,
) {
    let sending = async {
        // Before it is sent: the answer may be there before the call returns.
        let note = |number: u64| inner.sent.store(number + 1, Ordering::Release);
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut small = BytesMut::new();
            let mut last = 0;
            for Packet { number, header, data, written } in batch.drain(..) {
                if written.is_some_and(|written| written.is_cut()) {
                    inner.give_up(number);
                    continue;
                }
                last = number;
                small.extend_from_slice(&header);
                match data {
                    Some(data) if data.len() > SMALL => {
                        note(number);
                        outgoing.send(small.split().freeze()).await?;
                        outgoing.send(data).await?;
                    }
                    data => small.extend_from_slice(&data.unwrap_or_default()),
                }
            }
            if !small.is_empty() {
                note(last);
                outgoing.send(small.freeze()).await?;
            }
        }
        Ok::<(), String>(())
    };
    tokio::select! {
        sent = sending => if let Err(detail) = sent {
            tracing::debug!(%detail, "sending to a backend server");
        },
        () = ended.cancelled() => {}
    }
    ended.cancel();
}

pub(super) fn lost(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::Unavailable,
        "the connection to the backend server is lost; log in again",
    )
    .with_detail(detail)
}
