//! One SFTP channel: requests come in, answers go out as they are ready.
//!
//! One task owns it all. Requests begin in the order of their packets, unless one must wait for
//! another (`order`), and are answered in whatever order they end. What is under way is bounded (`room`); what does not fit waits, and when too much
//! waits the client is not read any more.

use std::collections::VecDeque;
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
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answers::Answers;
use super::connection::{Busy, Connection};
use super::opening::{Asked, asked, refuse_program};
use super::requests::{Outcome, Requests, Work, announced};
use super::room::{Cost, Room};
use crate::net::poll_once;
use crate::op::{Failure, FailureKind};
use crate::session::Session;
use crate::wire::sftp::{
    DecodeError, MAX_PACKET, PacketReader, Request, ResponseBody, StatusCode, VERSION, decode_init,
};

/// Packets that wait for room; with more the client is not read. In bytes.
const WAITING: usize = 1024 * 1024;
/// The same while the client has answers to take: that it has taken some comes behind what it asked
/// since, so it is read on.
const WAITING_FOR_CLIENT: usize = 3 * 1024 * 1024;
/// What requests under way may take to end when the client has gone, before they are dropped.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

pub(super) struct Channel {
    connection: Arc<Connection>,
    session: Arc<Session>,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    reader: PacketReader,
    /// The client's first packet has come.
    greeted: bool,
    /// The client sends no more.
    ended: bool,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// The first that waits, decoded.
    next: Option<(Request, Cost)>,
    room: Room,
    requests: Requests,
    running: FuturesUnordered<Running>,
    answers: Answers,
    sending: Option<BoxFuture<'static, Option<Cost>>>,
    /// The session at the backend is lost: when this is told, the connection ends.
    lost: Option<String>,
}

/// A request under way.
struct Running {
    id: u32,
    cost: Cost,
    work: Work,
}

/// Why a channel ends.
enum End {
    /// The client has closed it, and has had every answer.
    Done,
    /// The client does not listen any more.
    Gone,
    /// What it sent is no SFTP.
    Broken(String),
}

impl Channel {
    /// Serves a session channel, from the moment that the subsystem is asked for, until `end` or its
    /// own end.
    pub(super) async fn serve(
        connection: Arc<Connection>,
        session: Arc<Session>,
        channel: russh::Channel<Msg>,
        handle: Handle,
        end: CancellationToken,
    ) {
        let (mut read, write) = channel.split();
        let drain = connection.shared.drain.clone();
        let asked = tokio::select! {
            asked = asked(&mut read) => asked,
            () = end.cancelled() => Asked::Nothing,
            () = drain.draining() => Asked::Nothing,
        };
        match asked {
            Asked::Sftp => {}
            Asked::Program => {
                // What it sends to its command must not hold up the other channels.
                drop(read);
                let _ = timeout(LAST_REQUESTS, refuse_program(&write, &handle)).await;
                return;
            }
            Asked::Nothing => {
                let _ = write.close().await;
                return;
            }
        }
        let requests = Requests::new(session.clone(), drain);
        let channel = Self {
            connection,
            session,
            read,
            write: Arc::new(write),
            reader: PacketReader::new(MAX_PACKET),
            greeted: false,
            ended: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            next: None,
            room: Room::default(),
            requests,
            running: FuturesUnordered::new(),
            answers: Answers::default(),
            sending: None,
            lost: None,
        };
        channel.run(end).await;
    }

    async fn run(mut self, end: CancellationToken) {
        let drain = self.connection.shared.drain.clone();
        let ended = tokio::select! {
            biased;
            () = end.cancelled() => End::Gone,
            () = drain.forced() => End::Gone,
            ended = self.exchange() => ended,
        };
        let status = match &ended {
            End::Done => Some(0),
            End::Broken(why) => {
                let door = &self.connection.door;
                tracing::warn!(session = door.session, peer = %door.peer, why, "SFTP channel ended");
                Some(1)
            }
            End::Gone => None,
        };
        if let Some(status) = status {
            let _ = timeout(LAST_REQUESTS, self.say_goodbye(status)).await;
        }
        // A backend's session is left in step: what it was asked is waited for.
        let _ = timeout(LAST_REQUESTS, self.settle()).await;
        self.running.clear();
        self.requests.abandon().await;
    }

    async fn exchange(&mut self) -> End {
        let drain = self.connection.shared.drain.clone();
        let mut busy: Option<Busy> = None;
        loop {
            if let Err(end) = self.begin_what_fits().await {
                return end;
            }
            self.send_next();
            let quiet = self.is_quiet();
            match quiet {
                true => busy = None,
                false if busy.is_none() => busy = Some(self.connection.busy()),
                false => {}
            }
            let draining = drain.is_draining();
            if quiet {
                if let Some(why) = self.lost.take() {
                    self.connection.end(Disconnect::ServiceNotAvailable, why);
                }
                if self.ended || (draining && self.requests.nothing_open()) {
                    return End::Done;
                }
            }
            tokio::select! {
                biased;
                sent = async { self.sending.as_mut()?.await }, if self.sending.is_some() => {
                    self.sending = None;
                    match sent {
                        Some(cost) => self.room.give_back(cost),
                        None => {
                            let why = "the client took no answer for too long";
                            self.connection.end(Disconnect::ConnectionLost, why);
                            return End::Gone;
                        }
                    }
                }
                Some((id, cost, outcome)) = self.running.next(), if !self.running.is_empty() => {
                    self.finished(id, cost, outcome);
                    while let Some(Some((id, cost, outcome))) = poll_once(self.running.next()) {
                        self.finished(id, cost, outcome);
                    }
                }
                message = self.read.wait(), if self.wants_more() => {
                    if let Err(end) = self.take_in(message) {
                        return end;
                    }
                    while self.wants_more()
                        && let Some(message) = poll_once(self.read.wait())
                    {
                        if let Err(end) = self.take_in(message) {
                            return end;
                        }
                    }
                }
                () = drain.draining(), if !draining => {}
            }
        }
    }

    fn wants_more(&self) -> bool {
        let most = if self.sending.is_some() { WAITING_FOR_CLIENT } else { WAITING };
        !self.ended && self.waiting_bytes < most
    }

    /// Nothing is under way and nothing is to be sent.
    fn is_quiet(&self) -> bool {
        self.next.is_none() && self.running.is_empty() && self.sending.is_none()
    }

    fn take_in(&mut self, message: Option<ChannelMsg>) -> Result<(), End> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                self.reader.push(data);
                loop {
                    match self.reader.next() {
                        Ok(Some(packet)) => {
                            self.waiting_bytes += packet.len();
                            self.waiting.push_back(packet);
                        }
                        Ok(None) => break,
                        Err(error) => return Err(End::Broken(error.to_string())),
                    }
                }
                self.connection.note_request();
            }
            Some(ChannelMsg::Eof) => {
                self.ended = true;
                if self.reader.held() > 0 {
                    return Err(End::Broken("the client stopped inside a packet".to_owned()));
                }
            }
            Some(ChannelMsg::Close) | None => return Err(End::Gone),
            Some(_) => {}
        }
        Ok(())
    }

    /// Begins what waits, in order, as long as there is room.
    async fn begin_what_fits(&mut self) -> Result<(), End> {
        loop {
            if self.next.is_none() {
                if !self.room.has(Cost { requests: 1, ..Cost::default() }) {
                    return Ok(());
                }
                let Some(packet) = self.waiting.pop_front() else { return Ok(()) };
                self.waiting_bytes -= packet.len();
                self.next = self.decode(packet)?;
                continue;
            }
            if !self.next.as_ref().is_some_and(|(_, cost)| self.room.has(*cost)) {
                return Ok(());
            }
            if let Some((request, cost)) = self.next.take() {
                self.begin(request, cost).await;
            }
        }
    }

    /// The request in a packet; `None` where there is nothing to begin.
    fn decode(&mut self, packet: Bytes) -> Result<Option<(Request, Cost)>, End> {
        if !self.greeted {
            self.greet(packet)?;
            return Ok(None);
        }
        match Request::decode(packet) {
            Ok(request) => {
                let cost = Cost::of(&request.body);
                Ok(Some((request, cost)))
            }
            Err(DecodeError::UnknownType { id, .. }) => {
                let code = StatusCode::OP_UNSUPPORTED;
                let message = Bytes::from_static(b"packets of this type are not known here");
                let cost = Cost { requests: 1, ..Cost::default() };
                self.room.take(cost);
                self.answers.push(id, ResponseBody::Status { code, message }, cost);
                Ok(None)
            }
            Err(error) => Err(End::Broken(error.to_string())),
        }
    }

    fn greet(&mut self, packet: Bytes) -> Result<(), End> {
        let version = decode_init(packet).map_err(|error| End::Broken(error.to_string()))?;
        if version < VERSION {
            let why = format!("the client speaks SFTP version {version}; {VERSION} is the least");
            return Err(End::Broken(why));
        }
        self.greeted = true;
        let mut hello = BytesMut::new();
        announced(self.session.abilities()).encode(&mut hello);
        self.answers.push_bytes(hello);
        Ok(())
    }

    /// Begins a request. It is polled here once: what has its turn is asked of the backend before
    /// those that follow.
    async fn begin(&mut self, request: Request, cost: Cost) {
        self.room.take(cost);
        let Request { id, body } = request;
        let mut work = self.requests.begin(body);
        match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            Poll::Ready(outcome) => self.finished(id, cost, outcome),
            Poll::Pending => self.running.push(Running { id, cost, work }),
        }
    }

    fn finished(&mut self, id: u32, cost: Cost, outcome: Result<Outcome, Failure>) {
        if let Err(failure) = &outcome
            && failure.kind == FailureKind::Unavailable
        {
            self.lost.get_or_insert_with(|| failure.message.clone());
        }
        let body = self.requests.answer(outcome);
        let left = cost.answered();
        self.room.give_back(Cost { requests: 0, read: 0, written: cost.written });
        self.answers.push(id, body, left);
    }

    fn send_next(&mut self) {
        if self.sending.is_none()
            && let Some(batch) = self.answers.next_batch()
        {
            let limit = self.connection.shared.gateway.limits.stall_timeout;
            self.sending = Some(Box::pin(batch.send(self.write.clone(), limit)));
        }
    }

    /// What was begun ends, unheard.
    async fn settle(&mut self) {
        while let Some((id, cost, outcome)) = self.running.next().await {
            self.finished(id, cost, outcome);
        }
    }

    async fn say_goodbye(&mut self, status: u32) -> Option<()> {
        if let Some(sending) = &mut self.sending {
            sending.await?;
        }
        self.write.exit_status(status).await.ok()?;
        self.write.eof().await.ok()?;
        self.write.close().await.ok()
    }
}

impl Future for Running {
    type Output = (u32, Cost, Result<Outcome, Failure>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (id, cost) = (self.id, self.cost);
        self.work.as_mut().poll(cx).map(|outcome| (id, cost, outcome))
    }
}
