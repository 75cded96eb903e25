//! One SFTP channel: receives requests and sends responses as they are ready.
//!
//! One task owns the channel. Requests start in the order of their packets, unless one must wait
//! for another (`path_order`), and are answered in the order in which they finish. Unfinished
//! requests are bounded (`budget`). What does not fit waits (`request_queue`); when too much waits,
//! the client is not read any more.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use russh::server::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Usage, share};
use super::channel_request::{ChannelRequest, next_request, refuse_program};
use super::connection::{ActivityGuard, Connection};
use super::request_queue::{Received, RequestQueue};
use super::requests::{Outcome, RequestFuture, Requests, version_packet};
use super::response_queue::{NotSent, ResponseQueue};
use crate::op::{Failure, FailureKind};
use crate::session::{Session, SessionEnd};
use crate::task::poll_once;
use crate::wire::sftp::{Request, ResponseBody, StatusCode, VERSION, decode_init};

mod end;

/// Bytes of packets that wait for the budget; above it, the client is not read.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// The same while responses are being sent: the client's window adjustment comes after the requests
/// that it has sent since, so it is read on.
const QUEUED_BYTES_WHILE_SENDING_MAX: usize = 3 * 1024 * 1024;
/// For the client to receive the channel's last messages.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const INCOMPLETE_PACKET: &str =
    "the client did not send the rest of a packet in time (limits.stall_timeout)";

pub(super) struct Channel {
    connection: Arc<Connection>,
    session: Arc<Session>,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    queue: RequestQueue,
    /// The client sends no more.
    eof: bool,
    budget: Budget,
    requests: Requests,
    running: FuturesUnordered<Running>,
    responses: ResponseQueue,
    sending: Option<BoxFuture<'static, Result<Usage, NotSent>>>,
    /// The client reads no more responses.
    discards_responses: bool,
    /// The session at the backend is lost: the connection ends after the responses are sent.
    lost: Option<Failure>,
}

/// A started request.
struct Running {
    id: u32,
    usage: Usage,
    work: RequestFuture,
}

/// Why a channel ends.
enum End {
    /// The client has sent EOF, and every response was sent.
    Done,
    Closed,
    /// The channel or the connection ended before a response was sent.
    Unsent,
    /// The client accepts no responses.
    Stalled,
    /// The session must end at once.
    Forced,
    ProtocolError(String),
}

impl Channel {
    /// Serves a session channel, from the request for its subsystem, until `end` or its own end.
    pub(super) async fn serve(
        connection: Arc<Connection>,
        session: Arc<Session>,
        channel: russh::Channel<Msg>,
        handle: Handle,
        end: CancellationToken,
    ) {
        let (mut read, write) = channel.split();
        let live = connection.client_info.live.clone();
        let request = tokio::select! {
            biased;
            request = next_request(&mut read) => request,
            () = end.cancelled() => ChannelRequest::Closed,
            () = live.drain().draining() => ChannelRequest::Closed,
        };
        match request {
            ChannelRequest::Sftp => {}
            ChannelRequest::Program => {
                // Input for the program must not block the other channels.
                drop(read);
                let _ = timeout(CLOSE_TIMEOUT, refuse_program(&write, &handle)).await;
                return;
            }
            ChannelRequest::Closed => {
                let _ = write.close().await;
                return;
            }
        }
        let requests = Requests::new(session.clone(), connection.directories.clone(), live);
        let channel = Self {
            connection,
            session,
            read,
            write: Arc::new(write),
            queue: RequestQueue::new(),
            eof: false,
            budget: Budget::default(),
            requests,
            running: FuturesUnordered::new(),
            responses: ResponseQueue::default(),
            sending: None,
            discards_responses: false,
            lost: None,
        };
        channel.run(end).await;
    }

    async fn run(mut self, end: CancellationToken) {
        let live = self.connection.client_info.live.clone();
        let reason = tokio::select! {
            biased;
            end = live.forced() => {
                self.connection.client_info.end.set(end);
                // A client that only does not read replies lost nothing.
                if live.is_at_work() {
                    live.note_cut();
                }
                End::Forced
            }
            () = end.cancelled() => End::Closed,
            reason = self.serve_requests() => reason,
        };
        self.finish(reason).await;
    }

    async fn serve_requests(&mut self) -> End {
        let live = self.connection.client_info.live.clone();
        let mut active: Option<ActivityGuard> = None;
        loop {
            if let Err(end) = self.start_requests().await {
                self.queue.set_invalid();
                return end;
            }
            self.send_next();
            let idle = self.is_idle();
            if idle {
                active = None;
            } else if active.is_none() {
                active = Some(self.connection.active());
            }
            let draining = live.drain().is_draining();
            if idle {
                if let Some(failure) = self.lost.take() {
                    let end = SessionEnd::by(failure.fault, failure.message);
                    self.connection.end(Disconnect::ServiceNotAvailable, end);
                }
                if self.eof || (draining && self.requests.has_no_handles()) {
                    return End::Done;
                }
            }
            let packet_deadline = self.packet_deadline();
            tokio::select! {
                biased;
                Some(sent) = async { Some(self.sending.as_mut()?.await) }, if self.sending.is_some() => {
                    self.sending = None;
                    match sent {
                        Ok(usage) => self.budget.release(usage),
                        Err(NotSent::Closed) => return End::Unsent,
                        Err(NotSent::Stalled) => return End::Stalled,
                    }
                }
                Some((id, usage, outcome)) = self.running.next(), if !self.running.is_empty() => {
                    self.finish_request(id, usage, outcome);
                    while let Some(Some((id, usage, outcome))) = poll_once(self.running.next()) {
                        self.finish_request(id, usage, outcome);
                    }
                }
                message = self.read.wait(), if self.wants_input() => {
                    if let Err(end) = self.receive(message) {
                        return end;
                    }
                    while self.wants_input()
                        && let Some(message) = poll_once(self.read.wait())
                    {
                        if let Err(end) = self.receive(message) {
                            return end;
                        }
                    }
                }
                () = live.drain().draining(), if !draining => {}
                () = sleep_until(packet_deadline.unwrap_or_else(Instant::now)), if packet_deadline.is_some() => {
                    return End::ProtocolError(INCOMPLETE_PACKET.to_owned());
                }
            }
        }
    }

    /// The deadline for the rest of an incomplete packet.
    fn packet_deadline(&mut self) -> Option<Instant> {
        if !self.wants_input() {
            self.queue.restart_incomplete();
            return None;
        }
        let limit = self.connection.shared.gateway.limits.stall_timeout;
        self.queue.incomplete_since().map(|since| since + limit)
    }

    fn wants_input(&self) -> bool {
        let max =
            if self.sending.is_some() { QUEUED_BYTES_WHILE_SENDING_MAX } else { QUEUED_BYTES_MAX };
        !self.eof && self.queue.queued_bytes() < share(max, self.channels())
    }

    /// The channels of the connection, including this one.
    fn channels(&self) -> usize {
        self.connection.channels.len()
    }

    /// No request is unfinished, and every response was sent.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty() && self.sending.is_none()
    }

    fn receive(&mut self, message: Option<ChannelMsg>) -> Result<(), End> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                self.queue.push(data).map_err(|error| End::ProtocolError(error.to_string()))?;
                self.connection.note_request();
            }
            Some(ChannelMsg::Eof) => {
                self.eof = true;
                if self.queue.is_incomplete() {
                    let reason = "the client sent EOF within a packet";
                    return Err(End::ProtocolError(reason.to_owned()));
                }
            }
            Some(ChannelMsg::Close) | None => return Err(End::Closed),
            Some(_) => {}
        }
        Ok(())
    }

    /// Starts queued requests as far as the budget allows.
    async fn start_requests(&mut self) -> Result<(), End> {
        loop {
            match self.queue.next(&self.budget, self.channels()) {
                Ok(Some(Received::Request(request, usage))) => self.start(request, usage).await,
                Ok(Some(Received::Init(packet))) => self.init(packet)?,
                Ok(Some(Received::Unknown(id))) => self.refuse_unknown(id),
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::ProtocolError(error.to_string())),
            }
        }
    }

    fn init(&mut self, packet: Bytes) -> Result<(), End> {
        let version = decode_init(packet).map_err(|error| End::ProtocolError(error.to_string()))?;
        if version < VERSION {
            return Err(End::ProtocolError(format!(
                "the client speaks SFTP version {version}; {VERSION} is the minimum"
            )));
        }
        self.session.expect_many();
        let mut packet = BytesMut::new();
        version_packet(self.session.abilities()).encode(&mut packet);
        self.responses.push_version(packet);
        Ok(())
    }

    fn refuse_unknown(&mut self, id: u32) {
        let code = StatusCode::OP_UNSUPPORTED;
        let message = Bytes::from_static(b"Operation unsupported: unknown packet type");
        self.budget.acquire(Usage::ONE_REQUEST);
        self.responses.push(id, ResponseBody::Status { code, message }, Usage::ONE_REQUEST);
    }

    /// Starts a request. It is polled once here, so that it reaches the backend before those that
    /// follow.
    async fn start(&mut self, request: Request, usage: Usage) {
        self.budget.acquire(usage);
        let Request { id, body } = request;
        let mut work = self.requests.start(body);
        match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            Poll::Ready(outcome) => self.finish_request(id, usage, outcome),
            Poll::Pending => self.running.push(Running { id, usage, work }),
        }
    }

    fn finish_request(&mut self, id: u32, usage: Usage, outcome: Result<Outcome, Failure>) {
        if let Err(failure) = &outcome
            && failure.kind == FailureKind::Unavailable
        {
            self.lost.get_or_insert_with(|| failure.clone());
        }
        let body = self.requests.response(outcome);
        if self.discards_responses {
            return self.budget.release(usage);
        }
        let until_sent = usage.without_request();
        self.budget.release(Usage { request_bytes: usage.request_bytes, ..Usage::default() });
        self.responses.push(id, body, until_sent);
    }

    fn send_next(&mut self) {
        if self.sending.is_none()
            && let Some(batch) = self.responses.next_batch()
        {
            let limit = self.connection.shared.gateway.limits.stall_timeout;
            self.sending = Some(Box::pin(batch.send(self.write.clone(), limit)));
        }
    }
}

impl Future for Running {
    type Output = (u32, Usage, Result<Outcome, Failure>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (id, usage) = (self.id, self.usage);
        self.work.as_mut().poll(cx).map(|outcome| (id, usage, outcome))
    }
}
