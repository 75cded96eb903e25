//! A table of reservations, its sessions and their clients, and what must be true after each event.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{CLIENTS, Event, SESSIONS};
use crate::data::rendezvous::client_key::{ClientMatch, Key};
use crate::data::rendezvous::quarantine::QUARANTINE_TTL;
use crate::data::rendezvous::slot::ExpectedSession;
use crate::data::rendezvous::table::{
    Arrival, Candidates, Lease, NO_SESSION, NotReserved, Request, Routed, Rules, Table, next_login,
};
use crate::net::tls::{ResumptionEvidence, SessionId};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection, and the session that it was made for.
#[derive(Debug, Clone)]
struct Connection {
    client: IpAddr,
    port: u16,
    made_for: Option<u64>,
    resumes: Option<u64>,
    tls: bool,
    at: u64,
}

struct Session {
    lease: Option<Lease<Connection>>,
    queued: Option<oneshot::Receiver<Lease<Connection>>>,
    tls: bool,
    known_port: Option<KnownPort>,
    /// Under TLS: delivered connections that resume nothing.
    guessed: u32,
    /// It waits at its port since this event, until this time.
    since: u64,
    until: Instant,
}

impl Session {
    fn new(now: Instant) -> Self {
        let (lease, queued, tls, known_port) = (None, None, false, None);
        Self { lease, queued, tls, known_port, guessed: 0, since: 0, until: now }
    }
}

/// The port that a client received last, and until when it may connect there.
#[derive(Clone, Copy)]
struct KnownPort {
    port: u16,
    until: Instant,
    tls: bool,
}

pub(super) struct World {
    table: Table<Connection, u8>,
    sessions: HashMap<u64, Session>,
    unidentified: Vec<(Key, Connection, Candidates)>,
    start: Instant,
    now: Instant,
    /// Connections that came in time and must be delivered, and how many of them were.
    due: u64,
    delivered: u64,
    /// Events so far.
    event: u64,
}

/// Several sessions share a client address, as with NAT.
fn address(session: u64) -> IpAddr {
    client((session % u64::from(CLIENTS)) as u8)
}

fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn id(session: u64) -> SessionId {
    [session as u8; 16]
}

/// Of the sessions of an address, two are known to share one store, two may share one and do, two may share
/// one and do not, and two were seen to have stores of their own.
fn evidence(session: u64, start: Instant) -> ResumptionEvidence {
    let at = |seconds| start + Duration::from_secs(seconds);
    let kind = session / 4;
    let resumed_since = (kind == 3).then(|| at(30));
    ResumptionEvidence {
        handshake_started: at(1),
        session_stored: at(2),
        tickets_used: None,
        resumed_since,
        shares_store: kind == 0,
    }
}

/// The session that the client of another one may resume instead of its own.
fn store_mate(session: u64) -> u64 {
    if session / 4 < 2 { session ^ 2 } else { session }
}

impl World {
    pub(super) fn new(ports: u16, client_match: ClientMatch) -> Self {
        let rules = Rules { client_match, per_address: 6, queue: 40 };
        let now = Instant::now();
        let mut table = Table::new(rules);
        table.put_in_force(now, (1..=ports).collect(), 6);
        Self {
            table,
            sessions: (0..SESSIONS).map(|number| (number, Session::new(now))).collect(),
            unidentified: Vec::new(),
            start: now,
            now,
            due: 0,
            delivered: 0,
            event: 0,
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        self.event += 1;
        match event {
            Event::Reserve { session, tls } => self.reserve(session, tls),
            Event::Connect { session, own } => {
                let known = self.session(session).known_port.take();
                let Some(KnownPort { port, tls, .. }) = known.filter(|it| it.until > self.now)
                else {
                    return;
                };
                let resumed = if own { session } else { store_mate(session) };
                let (client, resumes) = (address(session), tls.then_some(resumed));
                // Some connections for exclusive reservations use TLS, too, and resume nothing.
                let tls = tls || session % 2 == 1;
                let (made_for, at) = (Some(session), self.event);
                self.arrive(Connection { client, port, made_for, resumes, tls, at });
            }
            Event::Stray { client: number, port, resumes } => {
                let client = client(number);
                // Only its own client has the ticket of a session under TLS.
                let resumes = resumes.filter(|session| !self.sessions[session].tls);
                let at = self.event;
                self.arrive(Connection { client, port, made_for: None, resumes, tls: true, at });
            }
            Event::SendHello { which } => {
                if let Some((key, connection, candidates)) = self.take_unidentified(which) {
                    if !connection.tls {
                        return self.table.closed_unidentified((key, connection.client));
                    }
                    let offered: Vec<_> = connection.resumes.into_iter().map(id).collect();
                    let source = (key, connection.client);
                    // It resumes its own session, which waits at the port since before the connection.
                    let is_due = connection.resumes.is_some_and(|resumed| {
                        let owner = &self.sessions[&resumed];
                        let lease = owner.lease.as_ref();
                        connection.made_for == Some(resumed)
                            && lease.is_some_and(|l| l.key == key && l.tls.is_some())
                            && owner.until > self.now
                            && connection.at > owner.since
                    });
                    self.due += u64::from(is_due);
                    let routed =
                        self.table.route(self.now, source, &offered, candidates, connection);
                    self.delivered += u64::from(is_due && matches!(routed, Routed::Delivered));
                }
            }
            Event::Disconnect { which } => {
                if let Some((key, connection, _)) = self.take_unidentified(which) {
                    self.table.closed_unidentified((key, connection.client));
                }
            }
            Event::Cancel { session } => self.cancel(session),
            Event::LeaveQueue { session } => self.leave_queue(session),
            Event::AdvanceTime { millis } => {
                self.now += Duration::from_millis(millis);
                self.table.expire(self.now);
                let keys = (0..SESSIONS).map(|s| self.table.key(0, address(s)).client);
                for client in keys.collect::<Vec<_>>() {
                    self.table.offer(self.now, client);
                }
            }
        }
        self.check_fullness();
        self.check_deliveries();
    }

    fn session(&mut self, number: u64) -> &mut Session {
        self.sessions.get_mut(&number).unwrap()
    }

    fn take_unidentified(&mut self, which: usize) -> Option<(Key, Connection, Candidates)> {
        let count = self.unidentified.len();
        (count > 0).then(|| self.unidentified.swap_remove(which % count))
    }

    fn reserve(&mut self, session: u64, tls: bool) {
        self.cancel(session);
        self.leave_queue(session);
        let request = Request {
            client: address(session),
            session,
            tls: tls.then(|| ExpectedSession {
                listener: 0,
                id: id(session),
                evidence: evidence(session, self.start),
                must_resume: true,
            }),
            deadline: self.now + CONNECT_TIMEOUT,
        };
        self.session(session).tls = tls;
        match self.table.reserve(self.now, &request) {
            Ok(lease) => self.leased(session, lease),
            Err(NotReserved::NoneFree) => {
                self.session(session).queued = self.table.queue(self.now, request);
            }
            Err(NotReserved::AddressLimit) => {}
        }
    }

    fn leased(&mut self, session: u64, lease: Lease<Connection>) {
        self.table.renew(&lease, self.now + CONNECT_TIMEOUT);
        // A connection that is under way at the deadline arrives before the quarantine ends.
        let (port, until) = (lease.key.port, self.now + CONNECT_TIMEOUT + QUARANTINE_TTL);
        let (now, event) = (self.now, self.event);
        let session = self.session(session);
        (session.since, session.until) = (event, now + CONNECT_TIMEOUT);
        session.known_port = Some(KnownPort { port, until, tls: session.tls });
        session.guessed = 0;
        session.lease = Some(lease);
    }

    fn cancel(&mut self, session: u64) {
        if let Some(lease) = self.session(session).lease.take() {
            self.table.release(self.now, &lease, false);
            let latest = self.now + QUARANTINE_TTL;
            if let Some(known) = &mut self.session(session).known_port {
                known.until = latest.min(known.until);
            }
        }
    }

    fn leave_queue(&mut self, session: u64) {
        if let Some(mut queued) = self.session(session).queued.take() {
            queued.close();
            if let Ok(lease) = queued.try_recv() {
                self.table.release(self.now, &lease, false);
            }
            let client = self.table.key(0, address(session)).client;
            self.table.offer(self.now, client);
        }
    }

    fn arrive(&mut self, connection: Connection) {
        let key = self.table.key(connection.port, connection.client);
        let source = (key, connection.client);
        match self.table.arrive(self.now, source, connection) {
            Arrival::Shared(connection, 0, candidates) => {
                self.unidentified.push((key, connection, candidates));
            }
            Arrival::Shared(..) => panic!("of another listener"),
            Arrival::Delivered | Arrival::Stray(_) => {}
        }
    }

    /// Receives leases and connections, and checks whose they are.
    fn check_deliveries(&mut self) {
        let start = self.start;
        for number in 0..SESSIONS {
            let queued = self.session(number).queued.as_mut();
            if let Some(lease) = queued.and_then(|queued| queued.try_recv().ok()) {
                self.session(number).queued = None;
                self.leased(number, lease);
            }
            let session = self.session(number);
            let Some(lease) = &mut session.lease else { continue };
            while let Ok(connection) = lease.arrivals.try_recv() {
                assert_eq!(connection.port, lease.key.port);
                let is_of_store =
                    connection.resumes.is_none_or(|r| r == number || r == store_mate(number));
                if session.tls && evidence(number, start).shares_store && !is_of_store {
                    // The handshake refuses it.
                    continue;
                }
                let is_own = connection.made_for.is_none_or(|owner| owner == number);
                assert!(is_own, "{connection:?} was delivered to session {number}");
                if connection.made_for.is_none() && !session.tls {
                    // In clear, the first connection of the address uses the reservation up.
                    session.known_port = None;
                }
                match (session.tls, connection.resumes) {
                    (true, Some(_)) => assert!(is_of_store),
                    // Only the handshake shows the owner; at most one such connection is delivered.
                    (true, None) => session.guessed += 1,
                    (false, _) => {}
                }
                assert!(session.guessed <= 1);
            }
        }
    }

    /// Fullness is 1 if the next session of a client would not get a port, and less if that of each would.
    fn check_fullness(&mut self) {
        let fullness = self.table.fullness(self.now);
        assert!((0.0..=1.0).contains(&fullness), "{fullness}");
        let is_refused = (0..CLIENTS).any(|number| !self.next_gets_port(client(number)));
        assert_eq!(fullness >= 1.0, is_refused, "{fullness}");
    }

    fn next_gets_port(&mut self, client: IpAddr) -> bool {
        let in_clear = self.table.is_next_in_clear(self.now, client);
        let tls = ExpectedSession {
            listener: 0,
            id: [u8::MAX; 16],
            evidence: next_login(self.now),
            must_resume: true,
        };
        let tls = Some(tls).filter(|_| !in_clear);
        let deadline = self.now + CONNECT_TIMEOUT;
        let request = Request { client, session: NO_SESSION, tls, deadline };
        let Ok(lease) = self.table.reserve(self.now, &request) else { return false };
        self.table.release(self.now, &lease, true);
        true
    }

    pub(super) fn end(mut self) {
        for session in 0..SESSIONS {
            self.leave_queue(session);
            self.cancel(session);
        }
        // Requests that got a lease when others ended.
        for session in 0..SESSIONS {
            self.leave_queue(session);
            self.cancel(session);
        }
        while let Some((key, connection, _)) = self.take_unidentified(0) {
            self.table.closed_unidentified((key, connection.client));
        }
        self.table.expire(self.now + QUARANTINE_TTL + CONNECT_TIMEOUT);
        assert!(self.table.is_empty(), "something is left over");
        assert_eq!(self.delivered, self.due, "a connection was not delivered to its owner");
    }
}
