//! Whatever the order of events: no connection comes to another's reservation, and nothing is left over.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::client_key::ClientMatch;
use super::client_key::Key;
use super::place::Claim;
use super::rest::REST;
use super::table::{Arrival, Candidates, Lease, NoPlace, Request, Routed, Rules, Table};
use crate::net::tls::{ResumptionEvidence, SessionId};

const CLIENTS: u8 = 2;
const SESSIONS: u64 = 16;
const TO_CONNECT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
enum Event {
    /// A session asks for a port, under TLS or not. What it had it gives back.
    Reserve {
        session: u64,
        tls: bool,
    },
    /// Its client connects to the port that it was told last, though it may be given back meanwhile.
    /// It resumes the session itself, or the one whose session it got into its store last.
    Connect {
        session: u64,
        itself: bool,
    },
    /// Somebody connects, with the ticket of a session or with none.
    Stray {
        client: u8,
        port: u16,
        claims: Option<u64>,
    },
    /// One of those who have not said yet whose they are says so, or goes away.
    Speak {
        which: usize,
    },
    GoAway {
        which: usize,
    },
    Cancel {
        session: u64,
    },
    StopWaiting {
        session: u64,
    },
    Pass {
        millis: u64,
    },
}

/// A connection, and for whom it was made.
#[derive(Debug, Clone)]
struct Connection {
    client: IpAddr,
    port: u16,
    made_for: Option<u64>,
    claims: Option<u64>,
    tls: bool,
    at: u64,
}

struct Session {
    lease: Option<Lease<Connection>>,
    waiting: Option<oneshot::Receiver<Lease<Connection>>>,
    tls: bool,
    told: Option<Told>,
    /// Under TLS: how many connections without a claim came.
    had: u32,
    /// It waits at its port since that event, and until then.
    since: u64,
    until: Instant,
}

impl Session {
    fn new(now: Instant) -> Self {
        let (lease, waiting, tls, told) = (None, None, false, None);
        Self { lease, waiting, tls, told, had: 0, since: 0, until: now }
    }
}

/// The port that a client was told last, and until when it may still connect there.
#[derive(Clone, Copy)]
struct Told {
    port: u16,
    until: Instant,
    tls: bool,
}

struct World {
    table: Table<Connection, u8>,
    sessions: HashMap<u64, Session>,
    unplaced: Vec<(Key, Connection, Candidates)>,
    start: Instant,
    now: Instant,
    /// Connections that came in time to who alone was waiting for them, and what became of them.
    due: u64,
    given: u64,
    /// Events so far.
    event: u64,
}

/// Sessions share clients' addresses, as behind translation.
fn address(session: u64) -> IpAddr {
    client((session % u64::from(CLIENTS)) as u8)
}

fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn id(session: u64) -> SessionId {
    [session as u8; 16]
}

/// Of the sessions of an address: two whose client is known to keep one store for them; two that may have
/// one store, and have it; two that may have one, and have their own; two that have been seen to have
/// their own.
fn standing(session: u64, start: Instant) -> ResumptionEvidence {
    let at = |seconds| start + Duration::from_secs(seconds);
    let kind = session / 4;
    let proven = (kind == 3).then(|| at(30));
    ResumptionEvidence {
        handshake_started: at(1),
        session_stored: at(2),
        tickets_used: None,
        resumed_since: proven,
        shares_store: kind == 0,
    }
}

/// Of whose session the client of another may think that it is its own.
fn mate(session: u64) -> u64 {
    if session / 4 < 2 { session ^ 2 } else { session }
}

impl World {
    fn new(ports: u16, client_match: ClientMatch) -> Self {
        let rules = Rules { client_match, per_address: 6, queue: 40 };
        let now = Instant::now();
        Self {
            table: Table::new((1..=ports).collect(), rules),
            sessions: (0..SESSIONS).map(|number| (number, Session::new(now))).collect(),
            unplaced: Vec::new(),
            start: now,
            now,
            due: 0,
            given: 0,
            event: 0,
        }
    }

    fn happen(&mut self, event: Event) {
        self.event += 1;
        match event {
            Event::Reserve { session, tls } => self.reserve(session, tls),
            Event::Connect { session, itself } => {
                let told = self.session(session).told.take();
                let Some(Told { port, tls, .. }) = told.filter(|told| told.until > self.now) else {
                    return;
                };
                let resumed = if itself { session } else { mate(session) };
                let (client, claims) = (address(session), tls.then_some(resumed));
                // Some that share with nobody speak TLS, too, and resume nothing.
                let tls = tls || session % 2 == 1;
                let (made_for, at) = (Some(session), self.event);
                self.arrive(Connection { client, port, made_for, claims, tls, at });
            }
            Event::Stray { client: number, port, claims } => {
                let client = client(number);
                // A ticket of a session is in its own hands only.
                let claims = claims.filter(|session| !self.sessions[session].tls);
                let at = self.event;
                self.arrive(Connection { client, port, made_for: None, claims, tls: true, at });
            }
            Event::Speak { which } => {
                if let Some((key, connection, candidates)) = self.take_unplaced(which) {
                    if !connection.tls {
                        return self.table.went_away((key, connection.client));
                    }
                    let claimed: Vec<_> = connection.claims.into_iter().map(id).collect();
                    let source = (key, connection.client);
                    // Its own session, which waits at that port and has for as long.
                    let due = connection.claims.is_some_and(|claims| {
                        let lease = self.sessions[&claims].lease.as_ref();
                        let waits = lease.is_some_and(|l| l.key == key && l.tls.is_some());
                        let renewed = self.sessions[&claims].until > self.now;
                        connection.made_for == Some(claims)
                            && waits
                            && renewed
                            && connection.at > self.sessions[&claims].since
                    });
                    self.due += u64::from(due);
                    let routed =
                        self.table.route(self.now, source, &claimed, candidates, connection);
                    self.given += u64::from(due && matches!(routed, Routed::Given));
                }
            }
            Event::GoAway { which } => {
                if let Some((key, connection, _)) = self.take_unplaced(which) {
                    self.table.went_away((key, connection.client));
                }
            }
            Event::Cancel { session } => self.cancel(session),
            Event::StopWaiting { session } => self.stop_waiting(session),
            Event::Pass { millis } => {
                self.now += Duration::from_millis(millis);
                self.table.expire(self.now);
                let keys = (0..SESSIONS).map(|s| self.table.key(0, address(s)).client);
                for client in keys.collect::<Vec<_>>() {
                    self.table.offer(self.now, client);
                }
            }
        }
        self.look();
    }

    fn session(&mut self, number: u64) -> &mut Session {
        self.sessions.get_mut(&number).unwrap()
    }

    fn take_unplaced(&mut self, which: usize) -> Option<(Key, Connection, Candidates)> {
        let count = self.unplaced.len();
        (count > 0).then(|| self.unplaced.swap_remove(which % count))
    }

    fn reserve(&mut self, session: u64, tls: bool) {
        self.cancel(session);
        self.stop_waiting(session);
        let request = Request {
            client: address(session),
            session,
            tls: tls.then(|| Claim {
                listener: 0,
                id: id(session),
                standing: standing(session, self.start),
                must_resume: true,
            }),
            deadline: self.now + TO_CONNECT,
        };
        self.session(session).tls = tls;
        match self.table.reserve(self.now, &request) {
            Ok(lease) => self.told(session, lease),
            Err(NoPlace::NotNow) => {
                self.session(session).waiting = self.table.queue(self.now, request);
            }
            Err(NoPlace::TooMany) => {}
        }
    }

    fn told(&mut self, session: u64, lease: Lease<Connection>) {
        self.table.renew(&lease, self.now + TO_CONNECT);
        // What is on its way when the time is over arrives before the port has rested.
        let (port, until) = (lease.key.port, self.now + TO_CONNECT + REST);
        let (now, event) = (self.now, self.event);
        let session = self.session(session);
        (session.since, session.until) = (event, now + TO_CONNECT);
        session.told = Some(Told { port, until, tls: session.tls });
        session.had = 0;
        session.lease = Some(lease);
    }

    fn cancel(&mut self, session: u64) {
        if let Some(lease) = self.session(session).lease.take() {
            self.table.release(self.now, &lease, false);
            let late = self.now + REST;
            if let Some(told) = &mut self.session(session).told {
                told.until = late.min(told.until);
            }
        }
    }

    fn stop_waiting(&mut self, session: u64) {
        if let Some(mut waiting) = self.session(session).waiting.take() {
            waiting.close();
            if let Ok(lease) = waiting.try_recv() {
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
                self.unplaced.push((key, connection, candidates));
            }
            Arrival::Shared(..) => panic!("another listener's"),
            Arrival::Given | Arrival::Stray(_) => {}
        }
    }

    /// What came to whom.
    fn look(&mut self) {
        let start = self.start;
        for number in 0..SESSIONS {
            let given = self.session(number).waiting.as_mut().and_then(|w| w.try_recv().ok());
            if let Some(lease) = given {
                self.session(number).waiting = None;
                self.told(number, lease);
            }
            let session = self.session(number);
            let Some(lease) = &mut session.lease else { continue };
            while let Ok(connection) = lease.arrivals.try_recv() {
                assert_eq!(connection.port, lease.key.port);
                let akin = connection.claims.is_none_or(|c| c == number || c == mate(number));
                if session.tls && standing(number, start).shares_store && !akin {
                    // The handshake refuses it.
                    continue;
                }
                let own = connection.made_for.is_none_or(|owner| owner == number);
                assert!(own, "{connection:?} came to session {number}");
                if connection.made_for.is_none() && !session.tls {
                    // In clear nothing tells who came first from an address.
                    session.told = None;
                }
                match (session.tls, connection.claims) {
                    (true, Some(claims)) => assert!(claims == number || claims == mate(number)),
                    // Nobody but the handshake can tell; once at most.
                    (true, None) => session.had += 1,
                    (false, _) => {}
                }
                assert!(session.had <= 1);
            }
        }
    }

    fn end(mut self) {
        for session in 0..SESSIONS {
            self.stop_waiting(session);
            self.cancel(session);
        }
        // Those that were served while others ended.
        for session in 0..SESSIONS {
            self.stop_waiting(session);
            self.cancel(session);
        }
        while let Some((key, connection, _)) = self.take_unplaced(0) {
            self.table.went_away((key, connection.client));
        }
        self.table.expire(self.now + REST + TO_CONNECT);
        assert!(self.table.is_empty(), "something is left over");
        assert_eq!(self.given, self.due, "somebody was not given what was theirs");
    }
}

fn event() -> impl Strategy<Value = Event> {
    let session = 0..SESSIONS;
    prop_oneof![
        4 => (session.clone(), any::<bool>()).prop_map(|(session, tls)| Event::Reserve { session, tls }),
        6 => (session.clone(), any::<bool>()).prop_map(|(session, itself)| Event::Connect { session, itself }),
        2 => (0..CLIENTS, 1..4u16, proptest::option::of(session.clone()))
            .prop_map(|(client, port, claims)| Event::Stray { client, port, claims }),
        3 => any::<usize>().prop_map(|which| Event::Speak { which }),
        1 => any::<usize>().prop_map(|which| Event::GoAway { which }),
        2 => session.clone().prop_map(|session| Event::Cancel { session }),
        1 => session.prop_map(|session| Event::StopWaiting { session }),
        2 => (0..12_000u64).prop_map(|millis| Event::Pass { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_comes_to_another_and_nothing_is_left_over(
        ports in 1..4u16,
        by_network in any::<bool>(),
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let client_match = if by_network { ClientMatch::Network } else { ClientMatch::Address };
        let mut world = World::new(ports, client_match);
        events.into_iter().for_each(|event| world.happen(event));
        world.end();
    }
}

/// It speaks when the port that its client waited for is another's, who has the same store.
#[test]
fn a_silent_connection_of_one_store_is_not_given_to_who_came_later() {
    let mut world = World::new(1, ClientMatch::Address);
    world.happen(Event::Reserve { session: 0, tls: true });
    world.happen(Event::Reserve { session: 2, tls: true });
    world.happen(Event::Connect { session: 0, itself: false });
    world.happen(Event::Reserve { session: 0, tls: false });
    world.happen(Event::Cancel { session: 0 });
    world.happen(Event::Pass { millis: 5000 });
    world.happen(Event::Speak { which: 0 });
    world.end();
}

/// It arrived while the port rested for it, and said nothing until the rest was over.
#[test]
fn a_late_connection_that_is_silent_is_nobodys() {
    let mut world = World::new(1, ClientMatch::Address);
    let pass = |millis| Event::Pass { millis };
    world.happen(Event::Reserve { session: 3, tls: false });
    world.happen(pass(30_000));
    world.happen(Event::Reserve { session: 6, tls: true });
    world.happen(Event::Connect { session: 3, itself: true });
    world.happen(pass(5000));
    world.happen(Event::Speak { which: 0 });
    world.end();
}
