//! One SFTP channel: requests come in, answers go out as they are ready.
//!
//! One task owns it all. Requests begin in the order of their packets, unless one must wait for
//! another (`order`), and are answered in whatever order they end. What is under way is bounded
//! (`room`); what does not fit waits (`incoming`), and when too much waits the client is not read any
//! more.

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
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::answers::Answers;
use super::connection::{Busy, CHANNEL_END_TIMEOUT, Connection};
use super::incoming::{Arrived, Incoming};
use super::opening::{ChannelRequest, asked, refuse_program};
use super::requests::{Outcome, Requests, Work, announced};
use super::room::{Cost, Room, share};
use crate::net::poll_once;
use crate::op::{Failure, FailureKind, Fault};
use crate::session::{Session, SessionEnd};
use crate::wire::sftp::{Request, ResponseBody, StatusCode, VERSION, decode_init};

/// Packets that wait for room; with more the client is not read. In bytes.
const WAITING: usize = 1024 * 1024;
/// The same while the client has answers to take: that it has taken some comes behind what it asked
/// since, so it is read on.
const WAITING_FOR_CLIENT: usize = 3 * 1024 * 1024;
/// Of which so much is for the cutting alone.
const CUTTING: Duration = Duration::from_secs(3);
const LAST_WORDS: Duration = Duration::from_secs(2);
const INCOMPLETE_PACKET: &str =
    "the client did not send the rest of a packet in time (limits.stall_timeout)";
const STALLED: &str = "the client took no answer for too long";

pub(super) struct Channel {
    connection: Arc<Connection>,
    session: Arc<Session>,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    incoming: Incoming,
    /// The client sends no more.
    ended: bool,
    room: Room,
    requests: Requests,
    running: FuturesUnordered<Running>,
    answers: Answers,
    sending: Option<BoxFuture<'static, Option<Cost>>>,
    /// Nobody takes answers any more.
    unheard: bool,
    /// The session at the backend is lost: when this is told, the connection ends.
    lost: Option<Failure>,
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
    /// It takes no answers.
    Stalled,
    /// The gateway stops.
    Forced,
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
            biased;
            asked = asked(&mut read) => asked,
            () = end.cancelled() => ChannelRequest::Nothing,
            () = drain.draining() => ChannelRequest::Nothing,
        };
        match asked {
            ChannelRequest::Sftp => {}
            ChannelRequest::Program => {
                // What it sends to its command must not hold up the other channels.
                drop(read);
                let _ = timeout(LAST_WORDS, refuse_program(&write, &handle)).await;
                return;
            }
            ChannelRequest::Nothing => {
                let _ = write.close().await;
                return;
            }
        }
        let requests = Requests::new(session.clone(), connection.folders.clone(), drain);
        let channel = Self {
            connection,
            session,
            read,
            write: Arc::new(write),
            incoming: Incoming::new(),
            ended: false,
            room: Room::default(),
            requests,
            running: FuturesUnordered::new(),
            answers: Answers::default(),
            sending: None,
            unheard: false,
            lost: None,
        };
        channel.run(end).await;
    }

    async fn run(mut self, end: CancellationToken) {
        let drain = self.connection.shared.drain.clone();
        let ended = tokio::select! {
            biased;
            () = drain.forced() => {
                self.connection.client_info.end.set(SessionEnd::shutdown());
                End::Forced
            }
            () = end.cancelled() => End::Gone,
            ended = self.exchange() => ended,
        };
        let end_by = Instant::now() + CHANNEL_END_TIMEOUT;
        let answered = !matches!(ended, End::Stalled) && self.has_answered_all();
        self.last_words(&ended).await;
        self.stop_answering();
        let rest = async {
            if !matches!(ended, End::Forced) {
                self.do_the_rest().await;
            }
            self.settle().await;
        };
        // What is late is dropped.
        let _ = timeout_at(end_by - CUTTING, rest).await;
        self.running.clear();
        // Files that are dropped count as cut, too.
        let failure = self.failure(&ended);
        let _ = timeout_at(end_by, self.requests.abandon(&failure, answered)).await;
    }

    /// Why what is open ends without CLOSE.
    fn failure(&self, ended: &End) -> Failure {
        let left_open = "the client closed the channel and left the file open";
        let aborted = |why: &str| Failure::client(FailureKind::Aborted, why);
        match ended {
            End::Stalled => aborted(STALLED),
            End::Broken(why) => aborted(why),
            End::Done | End::Gone | End::Forced => match self.connection.client_info.end.get() {
                Some(end) => end.failure(),
                None => aborted(left_open),
            },
        }
    }

    async fn last_words(&mut self, ended: &End) {
        let status = match ended {
            End::Done => Some(0),
            End::Broken(why) => {
                tracing::warn!(why, "SFTP channel ended");
                Some(1)
            }
            End::Stalled => {
                let why = STALLED;
                tracing::warn!(why, "SFTP channel ended");
                // Others of the connection may be well.
                match self.channels() > 1 {
                    true => drop(timeout(LAST_WORDS, self.write.close()).await),
                    false => {
                        let end = SessionEnd::by(Fault::Client, why);
                        self.connection.end(Disconnect::ConnectionLost, end);
                    }
                }
                None
            }
            End::Gone | End::Forced => None,
        };
        if let Some(status) = status {
            let _ = timeout(LAST_WORDS, self.say_goodbye(status)).await;
        }
    }

    /// What is not sent yet takes up no room any more.
    fn stop_answering(&mut self) {
        self.unheard = true;
        self.sending = None;
        self.answers = Answers::default();
        self.room = Room::taken_by(self.running.iter().map(|running| running.cost));
    }

    /// What had arrived whole before the end is done: a client that has sent CLOSE need not wait for
    /// the answer. As much at once as there is room for, as ever.
    async fn do_the_rest(&mut self) {
        loop {
            self.take_in_the_rest();
            match self.incoming.next_unheard(&self.room, self.channels()) {
                Some((request, cost)) => {
                    self.begin(request, cost).await;
                    // What is done at once would keep all others of this thread waiting.
                    consume_budget().await;
                }
                None => match self.running.next().await {
                    Some((id, cost, outcome)) => self.finished(id, cost, outcome),
                    None => return,
                },
            }
        }
    }

    fn take_in_the_rest(&mut self) {
        while self.wants_more()
            && let Some(message) = poll_once(self.read.wait())
        {
            self.ended |= self.take_in(message).is_err();
        }
    }

    async fn exchange(&mut self) -> End {
        let drain = self.connection.shared.drain.clone();
        let mut busy: Option<Busy> = None;
        loop {
            if let Err(end) = self.begin_what_fits().await {
                self.incoming.is_broken();
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
                if let Some(failure) = self.lost.take() {
                    let end = SessionEnd::by(failure.fault, failure.message);
                    self.connection.end(Disconnect::ServiceNotAvailable, end);
                }
                if self.ended || (draining && self.requests.nothing_open()) {
                    return End::Done;
                }
            }
            let packet_deadline = self.packet_deadline();
            tokio::select! {
                biased;
                sent = async { self.sending.as_mut()?.await }, if self.sending.is_some() => {
                    self.sending = None;
                    match sent {
                        Some(cost) => self.room.give_back(cost),
                        None => return End::Stalled,
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
                () = sleep_until(packet_deadline.unwrap_or_else(Instant::now)), if packet_deadline.is_some() => {
                    return End::Broken(INCOMPLETE_PACKET.to_owned());
                }
            }
        }
    }

    /// Until when the packet that is being received must be whole.
    fn packet_deadline(&mut self) -> Option<Instant> {
        if !self.wants_more() {
            self.incoming.is_held_up();
            return None;
        }
        let limit = self.connection.shared.gateway.limits.stall_timeout;
        self.incoming.incomplete_since().map(|since| since + limit)
    }

    fn wants_more(&self) -> bool {
        let most = if self.sending.is_some() { WAITING_FOR_CLIENT } else { WAITING };
        !self.ended && self.incoming.waiting() < share(most, self.channels())
    }

    /// Channels of the connection, this one with them.
    fn channels(&self) -> usize {
        self.connection.channels.len()
    }

    /// Nothing is under way and nothing is to be sent.
    fn is_quiet(&self) -> bool {
        self.incoming.is_empty() && self.running.is_empty() && self.sending.is_none()
    }

    /// Nothing is under way, and every answer was sent.
    fn has_answered_all(&mut self) -> bool {
        if let Some(sending) = &mut self.sending {
            let sent = poll_once(sending.as_mut());
            if sent.is_some() {
                self.sending = None;
            }
            if sent.flatten().is_none() {
                return false;
            }
        }
        self.running.is_empty() && self.answers.is_empty()
    }

    fn take_in(&mut self, message: Option<ChannelMsg>) -> Result<(), End> {
        match message {
            Some(ChannelMsg::Data { data }) => {
                self.incoming.push(data).map_err(|error| End::Broken(error.to_string()))?;
                self.connection.note_request();
            }
            Some(ChannelMsg::Eof) => {
                self.ended = true;
                if self.incoming.is_cut() {
                    return Err(End::Broken("the client stopped inside a packet".to_owned()));
                }
            }
            Some(ChannelMsg::Close) | None => return Err(End::Gone),
            Some(_) => {}
        }
        Ok(())
    }

    /// Begins what waits, as long as there is room.
    async fn begin_what_fits(&mut self) -> Result<(), End> {
        loop {
            match self.incoming.next(&self.room, self.channels()) {
                Ok(Some(Arrived::Request(request, cost))) => self.begin(request, cost).await,
                Ok(Some(Arrived::Greeting(packet))) => self.greet(packet)?,
                Ok(Some(Arrived::Unknown(id))) => self.refuse_unknown(id),
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::Broken(error.to_string())),
            }
        }
    }

    fn greet(&mut self, packet: Bytes) -> Result<(), End> {
        let version = decode_init(packet).map_err(|error| End::Broken(error.to_string()))?;
        if version < VERSION {
            let why = format!("the client speaks SFTP version {version}; {VERSION} is the least");
            return Err(End::Broken(why));
        }
        self.session.expect_many();
        let mut hello = BytesMut::new();
        announced(self.session.abilities()).encode(&mut hello);
        self.answers.push_bytes(hello);
        Ok(())
    }

    fn refuse_unknown(&mut self, id: u32) {
        let code = StatusCode::OP_UNSUPPORTED;
        let message = Bytes::from_static(b"packets of this type are not known here");
        self.room.take(Cost::ONE);
        self.answers.push(id, ResponseBody::Status { code, message }, Cost::ONE);
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
            self.lost.get_or_insert_with(|| failure.clone());
        }
        let body = self.requests.answer(outcome);
        if self.unheard {
            return self.room.give_back(cost);
        }
        let left = cost.answered();
        self.room.give_back(Cost { held: cost.held, ..Cost::default() });
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

    /// What was begun ends: a backend's session is left in step.
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
