//! Who waits for which data connection: the bookkeeping, without sockets and without a clock.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};

use super::client_key::{ClientKey, ClientMatch, Key};
use super::place::{Claim, Place, Shared, Summary, Waiting};
use super::rest::{Rest, Who, rest};
use crate::data::view::{Look, Owner, OwnerState};
use crate::net::tls::SessionId;

/// Connections that one reservation may have to look at: its own, and others' that claim to be it.
const ARRIVALS: usize = 4;
/// Connections of one address to a port that may be without a word, beyond its reservations: nobody
/// keeps others out by connecting and saying nothing. Of an address that has reservations, and of one
/// that has none.
const SPARE: usize = 64;
const SPARE_OF_OTHERS: usize = 8;
/// The same of the whole pool, beyond what all its reservations may need.
const SPARE_IN_ALL: usize = 1024;
const A_RESERVATION: usize = 4;
/// Ports that are looked at for one that nobody waits at, before one is shared.
const LOOKED_AT: usize = 128;
/// Who waits so long for a port that nobody else waits at is overtaken no more.
const OVERTAKEN: Duration = Duration::from_secs(2);
/// Of those who wait, so many for whom nothing is free are looked at when a port becomes free.
const TRIED: usize = 64;

/// What the pool's reservations are bounded by.
#[derive(Debug, Clone)]
pub struct Rules {
    pub client_match: ClientMatch,
    /// Reservations of one address at a time.
    pub per_address: usize,
    /// Requests that wait at a time, in all; of one client an eighth of that.
    pub queue: usize,
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
    pub deadline: Instant,
}

/// All live reservations of a pool. `C` is a connection.
pub(super) struct Table<C, L> {
    rules: Rules,
    ports: Vec<u16>,
    places: HashMap<Key, Place<C, L>>,
    resting: HashMap<Key, Vec<Rest>>,
    reserved: usize,
    /// Reservations by address.
    held: HashMap<IpAddr, usize>,
    queues: HashMap<ClientKey, VecDeque<Queued<C, L>>>,
    queued: usize,
    /// Connections to shared places that have not said yet whose they are, by port and source, and in
    /// all.
    unplaced: HashMap<(u16, IpAddr), usize>,
    silent: usize,
    next: u64,
}

struct Queued<C, L> {
    request: Request<L>,
    since: Instant,
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
    /// Several may wait there: what it offers to resume tells whose it is.
    Shared(C, L, Candidates),
    Stray(C),
}

/// Whose a connection to a shared place can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidates {
    /// The reservation whose it is if it offers nothing: the only one when it came.
    only: Option<u64>,
    /// No later reservation can be meant.
    last: u64,
}

/// What a connection to a shared place turned out to be.
pub(super) enum Routed<C> {
    Given,
    /// With the session that it should have resumed instead of another one, where that is sure.
    Stray(C, Option<SessionId>),
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
            silent: 0,
            next: 0,
        }
    }

    pub(super) fn key(&self, port: u16, client: IpAddr) -> Key {
        Key { port, client: self.rules.client_match.key(client) }
    }

    /// In clear nobody overtakes those of the same client who wait; under TLS, not for long.
    pub(super) fn reserve(
        &mut self,
        now: Instant,
        request: &Request<L>,
    ) -> Result<Lease<C>, NoPlace> {
        let client = self.rules.client_match.key(request.client);
        if self.held.get(&request.client).is_some_and(|held| *held >= self.rules.per_address) {
            return Err(NoPlace::TooMany);
        }
        let queue = self.queues.get(&client).and_then(VecDeque::front);
        let patient = |first: &Queued<C, L>| request.tls.is_some() && first.since + OVERTAKEN > now;
        if queue.is_some_and(|first| !patient(first)) {
            return Err(NoPlace::NotNow);
        }
        self.place(now, client, request).ok_or(NoPlace::NotNow)
    }

    /// `None`: the queue is full.
    pub(super) fn queue(
        &mut self,
        since: Instant,
        request: Request<L>,
    ) -> Option<oneshot::Receiver<Lease<C>>> {
        let client = self.rules.client_match.key(request.client);
        let own = self.queues.get(&client).map_or(0, VecDeque::len);
        if self.queued >= self.rules.queue || own * 8 >= self.rules.queue {
            return None;
        }
        let (answer, lease) = oneshot::channel();
        self.queues.entry(client).or_default().push_back(Queued { request, since, answer });
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
            standing: request.tls.as_ref().map(|claim| claim.standing),
            client: request.client,
            session: request.session,
            deadline: request.deadline,
            arrivals,
            strangers: strangers.clone(),
            may_resume_none: request.tls.as_ref().is_some_and(|claim| !claim.must_resume),
            guessed: false,
        };
        if request.tls.is_none() {
            self.resting.remove(&key);
        }
        match (self.places.entry(key), &request.tls) {
            (Entry::Vacant(place), None) => {
                place.insert(Place::Alone(waiting));
            }
            (Entry::Vacant(place), Some(claim)) => {
                let (listener, all) = (claim.listener.clone(), Summary::of(&claim.standing));
                let sessions = HashMap::from([(claim.id, waiting)]);
                place.insert(Place::Shared(Shared { listener, sessions, all }));
            }
            (Entry::Occupied(mut place), Some(claim)) => match place.get_mut() {
                Place::Shared(shared) => shared.insert(claim, waiting),
                Place::Alone(_) => return None,
            },
            (Entry::Occupied(_), None) => return None,
        }
        *self.held.entry(request.client).or_default() += 1;
        self.reserved += 1;
        let tls = request.tls.as_ref().map(|claim| claim.id);
        Some(Lease { key, id: self.next, tls, arrivals: received, strangers })
    }

    /// Ports are chosen unpredictably. One that rests for the session itself, or that is shared, is
    /// the last resort.
    fn find(&self, now: Instant, client: ClientKey, request: &Request<L>) -> Option<u16> {
        let start = rand::random_range(0..self.ports.len().max(1));
        let (behind, ahead) = self.ports.split_at(start.min(self.ports.len()));
        let mut last_resort = None;
        for (looked_at, port) in ahead.iter().chain(behind).enumerate() {
            let key = Key { port: *port, client };
            let mut rests = self.rests(now, &key);
            let late = |claim: &Claim<L>| {
                self.rests(now, &key).any(|rest| rest.is_like(request.session, &claim.standing))
            };
            let free = match (self.places.get(&key), &request.tls) {
                // What is late resumes another session, or none, as far as that is sure: see `route`.
                (_, Some(claim)) if late(claim) => continue,
                (None, Some(_)) => true,
                (None, None) => match rests.next() {
                    None => true,
                    Some(rest) if rest.session != request.session => continue,
                    Some(_) if rests.all(|rest| rest.session == request.session) => false,
                    Some(_) => continue,
                },
                (Some(Place::Shared(shared)), Some(claim)) if shared.admits(claim) => false,
                (Some(_), _) => continue,
            };
            if free {
                return Some(*port);
            }
            last_resort = Some(*port);
            if looked_at >= LOOKED_AT {
                break;
            }
        }
        last_resort
    }

    fn rests<'a>(
        &'a self,
        now: Instant,
        key: &Key,
    ) -> impl Iterator<Item = &'a Rest> + use<'a, C, L> {
        let rests = self.resting.get(key).map(Vec::as_slice).unwrap_or_default();
        rests.iter().filter(move |rest| rest.until > now)
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
            Some(Place::Shared(shared)) => {
                let only = shared.only().map(|(_, waiting)| waiting);
                // It may be late, and another's.
                let own = |waiting: &&Waiting<C>| {
                    self.rests(now, &key).all(|rest| rest.session == waiting.session)
                };
                let only = only.filter(own).map(|waiting| waiting.id);
                let candidates = Candidates { only, last: self.next };
                let most = match self.held.get(&from) {
                    Some(held) => held + SPARE,
                    None => SPARE_OF_OTHERS,
                };
                let unplaced = self.unplaced.entry((key.port, from)).or_default();
                let all = self.reserved * A_RESERVATION + SPARE_IN_ALL;
                if *unplaced >= most || self.silent >= all {
                    if *unplaced == 0 {
                        self.unplaced.remove(&(key.port, from));
                    }
                    return Arrival::Stray(connection);
                }
                *unplaced += 1;
                self.silent += 1;
                Arrival::Shared(connection, shared.listener.clone(), candidates)
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

    /// Whether one of those whose the connection can be still waits.
    pub(super) fn still_awaits(&self, key: Key, candidates: Candidates) -> bool {
        let Some(Place::Shared(shared)) = self.places.get(&key) else { return false };
        shared.sessions.values().any(|waiting| waiting.id <= candidates.last)
    }

    /// Brings a connection to a shared place to the session that it claims. One that claims nothing
    /// is given to the only one who waits, once. A stray comes back; it uses up nothing.
    pub(super) fn route(
        &mut self,
        now: Instant,
        (key, from): (Key, IpAddr),
        claimed: &[SessionId],
        candidates: Candidates,
        connection: C,
    ) -> Routed<C> {
        self.unplaced_no_more(key.port, from);
        let Some(Place::Shared(shared)) = self.places.get_mut(&key) else {
            return Routed::Stray(connection, None);
        };
        let only = shared.only().map(|(id, _)| *id);
        let mut instead = None;
        // Whoever asked for the port later has not been told it yet when the client connected.
        let meant = |id: &&SessionId| {
            shared.sessions.get(*id).is_some_and(|waiting| waiting.id <= candidates.last)
        };
        let waiting = match claimed.iter().find(meant) {
            Some(id) => shared.sessions.get_mut(id),
            None => only.and_then(|id| shared.sessions.get_mut(&id)).filter(|waiting| {
                let guess = candidates.only == Some(waiting.id);
                // Of several with one store, each may resume any: the handshake tells, where it matters.
                let given = match claimed {
                    [] => guess && !waiting.guessed,
                    _ if waiting.may_resume_none => guess,
                    _ => waiting.shares_store() && waiting.id <= candidates.last,
                };
                let near = waiting.client == from;
                waiting.tell_of_stranger(!given && near);
                instead = only.filter(|_| guess && near && !claimed.is_empty());
                given
            }),
        };
        let Some(waiting) = waiting.filter(|waiting| waiting.deadline > now) else {
            return Routed::Stray(connection, instead);
        };
        waiting.guessed |= claimed.is_empty();
        match waiting.arrivals.try_send(connection) {
            Ok(()) => Routed::Given,
            Err(refused) => Routed::Stray(refused.into_inner(), None),
        }
    }

    /// A connection to a shared place went away before it said whose it is.
    pub(super) fn went_away(&mut self, (key, from): (Key, IpAddr)) {
        self.unplaced_no_more(key.port, from);
        if let Some(Place::Shared(shared)) = self.places.get(&key)
            && let Some((_, only)) = shared.only()
        {
            only.tell_of_stranger(only.client == from);
        }
    }

    fn unplaced_no_more(&mut self, port: u16, from: IpAddr) {
        if let Entry::Occupied(mut unplaced) = self.unplaced.entry((port, from)) {
            self.silent -= 1;
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
            (Some(Place::Shared(shared)), Some(id)) => shared.sessions.get_mut(&id),
            _ => None,
        };
        if let Some(waiting) = waiting.filter(|waiting| waiting.id == lease.id) {
            waiting.deadline = deadline;
        }
    }

    /// Ends what was not connected in time; how many.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        self.resting.retain(|_, rests| {
            rests.retain(|rest| rest.until > now);
            !rests.is_empty()
        });
        let (held, resting) = (&mut self.held, &mut self.resting);
        let (mut expired, mut clients) = (0, Vec::new());
        let mut keep = |key: &Key, waiting: &Waiting<C>| {
            let keeps = waiting.deadline > now;
            if !keeps {
                give_back(held, waiting.client);
                rest(resting, *key, now, (waiting.session, waiting.standing));
                clients.push(key.client);
                expired += 1;
            }
            keeps
        };
        self.places.retain(|key, place| match place {
            Place::Alone(waiting) => keep(key, waiting),
            Place::Shared(Shared { sessions, .. }) => {
                sessions.retain(|_, waiting| keep(key, waiting));
                !sessions.is_empty()
            }
        });
        self.reserved -= expired;
        clients.into_iter().for_each(|client| self.offer(now, client));
        expired
    }

    /// Gives a reservation back. `connected`: what it was for has come.
    pub(super) fn release(&mut self, now: Instant, lease: &Lease<C>, connected: bool) {
        let Some(who) = self.forget(lease.key, lease.id, lease.tls) else { return };
        if !connected {
            rest(&mut self.resting, lease.key, now, who);
        }
        self.offer(now, lease.key.client);
    }

    /// The session that held it.
    fn forget(&mut self, key: Key, id: u64, tls: Option<SessionId>) -> Option<Who> {
        let Entry::Occupied(mut place) = self.places.entry(key) else { return None };
        let waiting = match (place.get_mut(), tls) {
            (Place::Alone(waiting), None) if waiting.id == id => {
                let (client, who) = (waiting.client, (waiting.session, waiting.standing));
                place.remove();
                (client, who)
            }
            (Place::Shared(Shared { sessions, .. }), Some(tls)) => {
                let waiting = match sessions.entry(tls) {
                    Entry::Occupied(waiting) if waiting.get().id == id => waiting.remove(),
                    _ => return None,
                };
                if sessions.is_empty() {
                    place.remove();
                }
                (waiting.client, (waiting.session, waiting.standing))
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
            && (self.reserved, self.queued, self.silent) == (0, 0, 0)
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
                Place::Shared(shared) => {
                    shared.sessions.values().for_each(|waiting| see(waiting, OwnerState::Shared));
                }
            }
        }
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
