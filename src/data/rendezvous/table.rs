//! Who waits for which data connection: the bookkeeping, without sockets and without a clock.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};

use super::client_key::{ClientKey, ClientMatch};
use crate::data::view::{Look, Owner, OwnerState};
use crate::net::tls::SessionId;

/// For so long a port is left alone for all but its last session, where a reservation ended without a
/// connection: that may still be on its way, and must not be taken for another transfer's.
pub(super) const REST: Duration = Duration::from_secs(5);
/// Keys at rest that are remembered.
const RESTING: usize = 16 * 1024;
/// Connections that one reservation may have to look at: its own, and others' that claim to be it.
const ARRIVALS: usize = 4;
/// Connections of one address to a port that may be without a word, beyond its reservations: nobody
/// keeps others out by connecting and saying nothing.
const SPARE: usize = 64;
/// Of those who wait, so many are looked at when a port becomes free.
const TRIED: usize = 16;

/// What the pool's reservations are bounded by.
#[derive(Debug, Clone)]
pub struct Rules {
    pub client_match: ClientMatch,
    /// Reservations of one address at a time.
    pub per_address: usize,
    /// Requests that wait at a time, in all; of one client an eighth of that.
    pub queue: usize,
}

/// A port, and whom connections to it come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub port: u16,
    pub client: ClientKey,
}

/// Who wants to reserve. `L` is a TLS listener.
#[derive(Debug, Clone)]
pub(super) struct Request<L> {
    pub client: IpAddr,
    /// Number of the session.
    pub session: u64,
    /// Its TLS session, which its data connections will resume: they can be told from others'.
    /// `None`: the reservation shares its place with nobody.
    pub tls: Option<Claim<L>>,
    /// Whether it shares a place only where it finds none of its own: once in a while its client does
    /// not resume, and where several wait that connection is nobody's.
    pub shares_reluctantly: bool,
    pub deadline: Instant,
}

/// A TLS session that waits for connections which resume it.
#[derive(Debug, Clone)]
pub(super) struct Claim<L> {
    pub listener: L,
    pub id: SessionId,
    /// Sessions whose client keeps one store of tickets for all of them: each other's connections may
    /// resume any, so that they share no place.
    pub family: SessionId,
}

/// All live reservations of a pool. `C` is a connection.
pub(super) struct Table<C, L> {
    rules: Rules,
    ports: Vec<u16>,
    places: HashMap<Key, Place<C, L>>,
    resting: HashMap<Key, Rest>,
    reserved: usize,
    /// Reservations by address.
    held: HashMap<IpAddr, usize>,
    queues: HashMap<ClientKey, VecDeque<Queued<C, L>>>,
    queued: usize,
    /// Connections to shared places that have not said yet whose they are, by port and source.
    unplaced: HashMap<(u16, IpAddr), usize>,
    next: u64,
}

enum Place<C, L> {
    Alone(Waiting<C>),
    Shared { listener: L, sessions: HashMap<SessionId, Waiting<C>>, families: HashSet<SessionId> },
}

struct Waiting<C> {
    id: u64,
    family: Option<SessionId>,
    client: IpAddr,
    session: u64,
    deadline: Instant,
    arrivals: mpsc::Sender<C>,
    strangers: Arc<Notify>,
    /// It was given a connection that claims nothing.
    guessed: bool,
}

struct Rest {
    until: Instant,
    /// `None`: for connections of several.
    session: Option<u64>,
}

struct Queued<C, L> {
    request: Request<L>,
    answer: oneshot::Sender<Lease<C>>,
}

/// A reservation; to be given back with [`Table::release`].
#[derive(Debug)]
pub(super) struct Lease<C> {
    pub key: Key,
    pub id: u64,
    pub tls: Option<SessionId>,
    /// Ends when the reservation has expired.
    pub arrivals: mpsc::Receiver<C>,
    /// Told when somebody else came while nobody else waited.
    pub strangers: Arc<Notify>,
}

/// Why nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// The address has its most reservations.
    TooMany,
    /// None is free for this client; one may become so.
    NotNow,
}

/// What becomes of a connection.
pub(super) enum Arrival<C, L> {
    Given,
    /// Several may wait there: what it offers to resume tells whose it is. Last, the reservation whose
    /// it is if it offers nothing: the only one when it came.
    Shared(C, L, Option<u64>),
    Stray(C),
}

impl<C, L: Clone + PartialEq> Table<C, L> {
    pub(super) fn new(ports: Vec<u16>, rules: Rules) -> Self {
        Self {
            rules,
            ports,
            places: HashMap::new(),
            resting: HashMap::new(),
            reserved: 0,
            held: HashMap::new(),
            queues: HashMap::new(),
            queued: 0,
            unplaced: HashMap::new(),
            next: 0,
        }
    }

    pub(super) fn key(&self, port: u16, client: IpAddr) -> Key {
        Key { port, client: self.rules.client_match.key(client) }
    }

    /// In clear nobody overtakes those of the same client who wait.
    pub(super) fn reserve(
        &mut self,
        now: Instant,
        request: &Request<L>,
    ) -> Result<Lease<C>, NoPlace> {
        let client = self.rules.client_match.key(request.client);
        if self.held.get(&request.client).is_some_and(|held| *held >= self.rules.per_address) {
            return Err(NoPlace::TooMany);
        }
        if request.tls.is_none() && self.queues.contains_key(&client) {
            return Err(NoPlace::NotNow);
        }
        self.place(now, client, request).ok_or(NoPlace::NotNow)
    }

    /// `None`: the queue is full.
    pub(super) fn queue(&mut self, request: Request<L>) -> Option<oneshot::Receiver<Lease<C>>> {
        let client = self.rules.client_match.key(request.client);
        let own = self.queues.get(&client).map_or(0, VecDeque::len);
        if self.queued >= self.rules.queue || own * 8 >= self.rules.queue {
            return None;
        }
        let (answer, lease) = oneshot::channel();
        self.queues.entry(client).or_default().push_back(Queued { request, answer });
        self.queued += 1;
        Some(lease)
    }

    /// Gives those of this client who wait what is free now, in the order of asking; one for whom
    /// nothing is free does not hold up the next. Whoever waits no more is forgotten.
    pub(super) fn offer(&mut self, now: Instant, client: ClientKey) {
        let Some(mut queue) = self.queues.remove(&client) else { return };
        self.queued -= queue.len();
        queue.retain(|waiting| !waiting.answer.is_closed());
        let mut still = VecDeque::with_capacity(queue.len());
        while let Some(next) = queue.pop_front() {
            let full = self.held.get(&next.request.client);
            let full = full.is_some_and(|held| *held >= self.rules.per_address);
            let lease = if full { None } else { self.place(now, client, &next.request) };
            match lease {
                None => still.push_back(next),
                Some(lease) => {
                    if let Err(lease) = next.answer.send(lease) {
                        self.forget(lease.key, lease.id, lease.tls);
                    }
                }
            }
            if still.len() >= TRIED {
                break;
            }
        }
        still.append(&mut queue);
        self.queued += still.len();
        if !still.is_empty() {
            self.queues.insert(client, still);
        }
    }

    fn place(&mut self, now: Instant, client: ClientKey, request: &Request<L>) -> Option<Lease<C>> {
        let port = self.find(now, client, request)?;
        let key = Key { port, client };
        let (arrivals, received) = mpsc::channel(ARRIVALS);
        let strangers = Arc::new(Notify::new());
        self.next += 1;
        let waiting = Waiting {
            id: self.next,
            family: request.tls.as_ref().map(|claim| claim.family),
            client: request.client,
            session: request.session,
            deadline: request.deadline,
            arrivals,
            strangers: strangers.clone(),
            guessed: false,
        };
        if request.tls.is_none() {
            self.resting.remove(&key);
        }
        match (self.places.entry(key), &request.tls) {
            (Entry::Vacant(place), None) => {
                place.insert(Place::Alone(waiting));
            }
            (Entry::Vacant(place), Some(Claim { listener, id, family })) => {
                let sessions = HashMap::from([(*id, waiting)]);
                let families = HashSet::from([*family]);
                place.insert(Place::Shared { listener: listener.clone(), sessions, families });
            }
            (Entry::Occupied(mut place), Some(Claim { id, family, .. })) => match place.get_mut() {
                Place::Shared { sessions, families, .. } => {
                    sessions.insert(*id, waiting);
                    families.insert(*family);
                }
                Place::Alone(_) => return None,
            },
            (Entry::Occupied(_), None) => return None,
        }
        *self.held.entry(request.client).or_default() += 1;
        self.reserved += 1;
        let tls = request.tls.as_ref().map(|claim| claim.id);
        Some(Lease { key, id: self.next, tls, arrivals: received, strangers })
    }

    /// Ports are chosen unpredictably. One that rests for the session itself, or that is shared without
    /// need, is the last resort.
    fn find(&self, now: Instant, client: ClientKey, request: &Request<L>) -> Option<u16> {
        let start = rand::random_range(0..self.ports.len().max(1));
        let (behind, ahead) = self.ports.split_at(start.min(self.ports.len()));
        let mut last_resort = None;
        for port in ahead.iter().chain(behind) {
            let key = Key { port: *port, client };
            let good = match (self.places.get(&key), &request.tls) {
                // What is late resumes another session, or none: see `route`.
                (None, Some(_)) => true,
                (None, None) => match self.resting.get(&key).filter(|rest| rest.until > now) {
                    None => true,
                    Some(rest) if rest.session == Some(request.session) => false,
                    Some(_) => continue,
                },
                (Some(Place::Shared { listener, families, .. }), Some(claim))
                    if *listener == claim.listener && !families.contains(&claim.family) =>
                {
                    !request.shares_reluctantly
                }
                (Some(_), _) => continue,
            };
            if good {
                return Some(*port);
            }
            last_resort = Some(*port);
        }
        last_resort
    }

    pub(super) fn awaits(&self, key: Key) -> bool {
        self.places.contains_key(&key)
    }

    /// Brings a connection to its owner, or says what is still to be found out about it.
    pub(super) fn arrive(
        &mut self,
        now: Instant,
        (key, from): (Key, IpAddr),
        connection: C,
    ) -> Arrival<C, L> {
        match self.places.get(&key) {
            None => Arrival::Stray(connection),
            Some(Place::Shared { listener, sessions, .. }) => {
                let only = sessions.values().next().filter(|_| sessions.len() == 1);
                // It may be late, and another's.
                let rest = self.resting.get(&key).filter(|rest| rest.until > now);
                let own = |waiting: &&Waiting<C>| {
                    rest.is_none_or(|rest| rest.session == Some(waiting.session))
                };
                let only = only.filter(own).map(|waiting| waiting.id);
                let unplaced = self.unplaced.entry((key.port, from)).or_default();
                if *unplaced >= self.held.get(&from).copied().unwrap_or(0) + SPARE {
                    return Arrival::Stray(connection);
                }
                *unplaced += 1;
                Arrival::Shared(connection, listener.clone(), only)
            }
            Some(Place::Alone(_)) => {
                let Some(Place::Alone(waiting)) = self.places.remove(&key) else {
                    return Arrival::Stray(connection);
                };
                self.release_address(waiting.client);
                let in_time = waiting.deadline > now;
                let given = match in_time {
                    true => waiting.arrivals.try_send(connection).map_err(|e| e.into_inner()),
                    false => Err(connection),
                };
                self.offer(now, key.client);
                given.map_or_else(Arrival::Stray, |()| Arrival::Given)
            }
        }
    }

    /// Brings a connection to a shared place to the session that it claims. One that claims nothing
    /// is given to the only one who waits, once. A stray comes back; it uses up nothing.
    pub(super) fn route(
        &mut self,
        now: Instant,
        (key, from): (Key, IpAddr),
        claimed: &[SessionId],
        guess: Option<u64>,
        connection: C,
    ) -> Option<C> {
        self.unplaced_no_more(key.port, from);
        let Some(Place::Shared { sessions, .. }) = self.places.get_mut(&key) else {
            return Some(connection);
        };
        let only = sessions.len() == 1;
        let waiting = match claimed.iter().find(|id| sessions.contains_key(*id)) {
            Some(id) => sessions.get_mut(id),
            None => sessions.values_mut().next().filter(|_| only).filter(|only| {
                let guess = claimed.is_empty() && !only.guessed && guess == Some(only.id);
                only.tell_of_stranger(!guess && only.client == from);
                guess
            }),
        };
        let Some(waiting) = waiting.filter(|waiting| waiting.deadline > now) else {
            return Some(connection);
        };
        waiting.guessed |= claimed.is_empty();
        waiting.arrivals.try_send(connection).err().map(|e| e.into_inner())
    }

    /// A connection to a shared place went away before it said whose it is.
    pub(super) fn went_away(&mut self, (key, from): (Key, IpAddr)) {
        self.unplaced_no_more(key.port, from);
        if let Some(Place::Shared { sessions, .. }) = self.places.get(&key)
            && sessions.len() == 1
        {
            sessions.values().for_each(|only| only.tell_of_stranger(only.client == from));
        }
    }

    fn unplaced_no_more(&mut self, port: u16, from: IpAddr) {
        if let Entry::Occupied(mut unplaced) = self.unplaced.entry((port, from)) {
            *unplaced.get_mut() -= 1;
            if *unplaced.get() == 0 {
                unplaced.remove();
            }
        }
    }

    /// Puts a reservation's end off, unless it has expired.
    pub(super) fn renew(&mut self, lease: &Lease<C>, deadline: Instant) {
        let waiting = match (self.places.get_mut(&lease.key), lease.tls) {
            (Some(Place::Alone(waiting)), None) => Some(waiting),
            (Some(Place::Shared { sessions, .. }), Some(id)) => sessions.get_mut(&id),
            _ => None,
        };
        if let Some(waiting) = waiting.filter(|waiting| waiting.id == lease.id) {
            waiting.deadline = deadline;
        }
    }

    /// Ends what was not connected in time; how many.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        self.resting.retain(|_, rest| rest.until > now);
        let (held, resting) = (&mut self.held, &mut self.resting);
        let (mut expired, mut clients) = (0, Vec::new());
        let mut keep = |key: &Key, waiting: &Waiting<C>| {
            let keeps = waiting.deadline > now;
            if !keeps {
                give_back(held, waiting.client);
                rest(resting, *key, now, waiting.session);
                clients.push(key.client);
                expired += 1;
            }
            keeps
        };
        self.places.retain(|key, place| match place {
            Place::Alone(waiting) => keep(key, waiting),
            Place::Shared { sessions, families, .. } => {
                sessions.retain(|_, waiting| {
                    let keeps = keep(key, waiting);
                    if !keeps && let Some(family) = waiting.family {
                        families.remove(&family);
                    }
                    keeps
                });
                !sessions.is_empty()
            }
        });
        self.reserved -= expired;
        clients.into_iter().for_each(|client| self.offer(now, client));
        expired
    }

    /// Gives a reservation back. `connected`: what it was for has come.
    pub(super) fn release(&mut self, now: Instant, lease: &Lease<C>, connected: bool) {
        let Some(session) = self.forget(lease.key, lease.id, lease.tls) else { return };
        if !connected {
            rest(&mut self.resting, lease.key, now, session);
        }
        self.offer(now, lease.key.client);
    }

    /// The number of the session that held it.
    fn forget(&mut self, key: Key, id: u64, tls: Option<SessionId>) -> Option<u64> {
        let Entry::Occupied(mut place) = self.places.entry(key) else { return None };
        let waiting = match (place.get_mut(), tls) {
            (Place::Alone(waiting), None) if waiting.id == id => {
                let (client, session) = (waiting.client, waiting.session);
                place.remove();
                (client, session)
            }
            (Place::Shared { sessions, families, .. }, Some(tls)) => {
                let waiting = match sessions.entry(tls) {
                    Entry::Occupied(waiting) if waiting.get().id == id => waiting.remove(),
                    _ => return None,
                };
                if let Some(family) = waiting.family {
                    families.remove(&family);
                }
                if sessions.is_empty() {
                    place.remove();
                }
                (waiting.client, waiting.session)
            }
            _ => return None,
        };
        self.release_address(waiting.0);
        Some(waiting.1)
    }

    fn release_address(&mut self, client: IpAddr) {
        give_back(&mut self.held, client);
        self.reserved -= 1;
    }

    pub(super) fn reserved(&self) -> usize {
        self.reserved
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let nothing = self.places.is_empty() && self.resting.is_empty() && self.held.is_empty();
        nothing
            && self.queues.is_empty()
            && self.unplaced.is_empty()
            && (self.reserved, self.queued) == (0, 0)
    }

    /// Every reservation's port and owner.
    pub(super) fn look(&self, look: &mut Look) {
        for (key, place) in &self.places {
            let mut see = |waiting: &Waiting<C>, state| {
                let Waiting { session, client, .. } = *waiting;
                look.owner(key.port, Owner { session, client, state });
            };
            match place {
                Place::Alone(waiting) => see(waiting, OwnerState::Reserved),
                Place::Shared { sessions, .. } => {
                    sessions.values().for_each(|waiting| see(waiting, OwnerState::Shared));
                }
            }
        }
    }
}

impl<C> Waiting<C> {
    /// Only the client's own address counts: anybody can knock.
    fn tell_of_stranger(&self, counts: bool) {
        if counts {
            self.strangers.notify_one();
        }
    }
}

/// A connection may still be on its way there. Past the cap nothing is remembered: memory comes before
/// this comfort.
fn rest(resting: &mut HashMap<Key, Rest>, key: Key, now: Instant, session: u64) {
    let until = now + REST;
    let known = resting.len();
    match resting.entry(key) {
        Entry::Occupied(mut rest) => {
            let before = rest.get();
            let same = before.until <= now || before.session == Some(session);
            rest.insert(Rest { until, session: same.then_some(session) });
        }
        Entry::Vacant(rest) if known < RESTING => {
            rest.insert(Rest { until, session: Some(session) });
        }
        Entry::Vacant(_) => {}
    }
}

fn give_back(held: &mut HashMap<IpAddr, usize>, client: IpAddr) {
    if let Entry::Occupied(mut count) = held.entry(client) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
