//! The bookkeeping of reservations, without sockets and without a clock.

mod arrivals;
mod end;
mod fullness;
mod queue;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::client_key::{ClientKey, ClientMatch, Key};
use super::quarantine::Quarantine;
use super::slot::{ExpectedSession, Pending, SharedSlot, Slot};
use crate::data::view::{Owner, OwnerState, ViewBuilder};
use crate::net::tls::SessionId;

pub(super) use arrivals::{Arrival, Candidates, Routed};
#[cfg(test)]
pub(super) use fullness::{NO_SESSION, next_login};
use queue::Queued;

/// Connections that one reservation may have to check: its own, and others that resume the same session.
const MAX_CANDIDATE_CONNECTIONS: usize = 4;
/// Ports that are tried in search of a free one, before one is shared.
const MAX_PORT_ATTEMPTS: usize = 128;
/// How long a queued request may be overtaken by others that can share a port.
const OVERTAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// The bounds of a pool's reservations.
#[derive(Debug, Clone)]
pub(in crate::data) struct Rules {
    pub client_match: ClientMatch,
    /// Reservations of one address at a time.
    pub per_address: usize,
    /// Queued requests at a time; of one client at most an eighth of them.
    pub queue: usize,
}

/// A request for a reservation. `L` is a TLS listener.
#[derive(Debug, Clone)]
pub(super) struct Request<L> {
    pub client: IpAddr,
    /// Number of the session.
    pub session: u64,
    /// `None`: the reservation cannot share a slot.
    pub tls: Option<ExpectedSession<L>>,
    pub deadline: Instant,
}

/// All live reservations of a pool. `C` is a connection.
pub(super) struct Table<C, L> {
    rules: Rules,
    /// In order.
    ports: Vec<u16>,
    /// Of them, those that are not reserved: another process has them, or shall get them.
    withheld: HashSet<u16>,
    slots: HashMap<Key, Slot<C, L>>,
    quarantines: HashMap<Key, Vec<Quarantine>>,
    reserved: usize,
    /// Reservations by address.
    by_address: HashMap<IpAddr, usize>,
    queues: HashMap<ClientKey, VecDeque<Queued<C, L>>>,
    queued: usize,
    /// Connections to shared slots whose owner is not known yet, by port and source, and in all.
    unidentified: HashMap<(u16, IpAddr), usize>,
    unidentified_total: usize,
    last_id: u64,
}

/// A reservation; must be returned with [`Table::release`].
#[derive(Debug)]
pub(super) struct Lease<C> {
    pub key: Key,
    pub id: u64,
    pub tls: Option<SessionId>,
    /// Closed when the reservation expires.
    pub arrivals: mpsc::Receiver<C>,
    /// Notified when a connection of another session, or of none, came while no other reservation waited.
    pub strangers: Arc<Notify>,
}

/// Why nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotReserved {
    /// The address has the maximum of reservations.
    AddressLimit,
    /// No port is free for this client now.
    NoneFree,
}

impl<C, L: Clone + PartialEq> Table<C, L> {
    /// Starts without ports.
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            ports: Vec::new(),
            withheld: HashSet::new(),
            slots: HashMap::new(),
            quarantines: HashMap::new(),
            reserved: 0,
            by_address: HashMap::new(),
            queues: HashMap::new(),
            queued: 0,
            unidentified: HashMap::new(),
            unidentified_total: 0,
            last_id: 0,
        }
    }

    /// Reserves these ports from now on, so many for each address. Reservations of other ports go on.
    pub(super) fn put_in_force(&mut self, now: Instant, ports: Vec<u16>, per_address: usize) {
        self.ports = ports;
        self.rules.per_address = per_address;
        self.offer_to_all(now);
    }

    /// Reserves these ports no more, until [`Self::restore`]; reservations that they have go on.
    pub(super) fn withhold(&mut self, ports: &[u16]) {
        self.withheld.extend(ports);
    }

    /// Reserves these ports again.
    pub(super) fn restore(&mut self, now: Instant, ports: &[u16]) {
        ports.iter().for_each(|port| {
            self.withheld.remove(port);
        });
        self.offer_to_all(now);
    }

    /// The ports at which a connection for a reservation may still arrive.
    pub(super) fn busy_ports(&self, now: Instant) -> HashSet<u16> {
        let is_late = |of_key: &[Quarantine]| of_key.iter().any(|one| one.until > now);
        let late = self.quarantines.iter().filter(|(_, of_key)| is_late(of_key));
        self.slots.keys().chain(late.map(|(key, _)| key)).map(|key| key.port).collect()
    }

    pub(super) fn ports(&self) -> &[u16] {
        &self.ports
    }

    pub(super) fn has_port(&self, port: u16) -> bool {
        self.ports.binary_search(&port).is_ok()
    }

    /// Whether a reservation waits for a connection to this port.
    pub(super) fn is_awaited(&self, port: u16) -> bool {
        self.slots.keys().any(|key| key.port == port)
    }

    pub(super) fn client_match(&self) -> ClientMatch {
        self.rules.client_match
    }

    pub(super) fn key(&self, port: u16, client: IpAddr) -> Key {
        Key { port, client: self.rules.client_match.key(client) }
    }

    /// In clear, a request does not overtake queued ones of the same client; under TLS, not for long.
    pub(super) fn reserve(
        &mut self,
        now: Instant,
        request: &Request<L>,
    ) -> Result<Lease<C>, NotReserved> {
        let client = self.rules.client_match.key(request.client);
        if self.is_at_address_limit(request.client) {
            return Err(NotReserved::AddressLimit);
        }
        let first = self.queues.get(&client).and_then(VecDeque::front);
        let may_overtake =
            |first: &Queued<C, L>| request.tls.is_some() && first.since + OVERTAKE_TIMEOUT > now;
        if first.is_some_and(|first| !may_overtake(first)) {
            return Err(NotReserved::NoneFree);
        }
        self.occupy(now, client, request).ok_or(NotReserved::NoneFree)
    }

    fn is_at_address_limit(&self, client: IpAddr) -> bool {
        self.by_address.get(&client).is_some_and(|count| *count >= self.rules.per_address)
    }

    fn occupy(
        &mut self,
        now: Instant,
        client: ClientKey,
        request: &Request<L>,
    ) -> Option<Lease<C>> {
        let port = self.find_port(now, client, request)?;
        let key = Key { port, client };
        let (arrivals, receiver) = mpsc::channel(MAX_CANDIDATE_CONNECTIONS);
        let strangers = Arc::new(Notify::new());
        self.last_id += 1;
        let pending = Pending {
            id: self.last_id,
            evidence: request.tls.as_ref().map(|expected| expected.evidence),
            client: request.client,
            session: request.session,
            deadline: request.deadline,
            arrivals,
            strangers: strangers.clone(),
            resumption_optional: request.tls.as_ref().is_some_and(|tls| !tls.must_resume),
            guessed: false,
        };
        if request.tls.is_none() {
            self.quarantines.remove(&key);
        }
        match (self.slots.entry(key), &request.tls) {
            (Entry::Vacant(slot), None) => {
                slot.insert(Slot::Exclusive(pending));
            }
            (Entry::Vacant(slot), Some(expected)) => {
                slot.insert(Slot::Shared(SharedSlot::new(expected, pending)));
            }
            (Entry::Occupied(mut slot), Some(expected)) => match slot.get_mut() {
                Slot::Shared(shared) => shared.insert(expected, pending),
                Slot::Exclusive(_) => return None,
            },
            (Entry::Occupied(_), None) => return None,
        }
        *self.by_address.entry(request.client).or_default() += 1;
        self.reserved += 1;
        let tls = request.tls.as_ref().map(|expected| expected.id);
        Some(Lease { key, id: self.last_id, tls, arrivals: receiver, strangers })
    }

    /// Chooses an unpredictable port. A port that is shared, or in quarantine for the session itself, is
    /// the last resort.
    fn find_port(&self, now: Instant, client: ClientKey, request: &Request<L>) -> Option<u16> {
        let start = rand::random_range(0..self.ports.len().max(1));
        let (before, after) = self.ports.split_at(start.min(self.ports.len()));
        let mut last_resort = None;
        for (tried, port) in after.iter().chain(before).enumerate() {
            if self.withheld.contains(port) {
                continue;
            }
            let key = Key { port: *port, client };
            let mut quarantines = self.quarantines(now, &key);
            let is_ambiguous = |expected: &ExpectedSession<L>| {
                let mut quarantines = self.quarantines(now, &key);
                quarantines.any(|one| one.is_ambiguous(request.session, &expected.evidence))
            };
            let is_free = match (self.slots.get(&key), &request.tls) {
                // Otherwise a late connection resumes another session, or none, as far as that is certain:
                // see `route`.
                (_, Some(expected)) if is_ambiguous(expected) => continue,
                (None, Some(_)) => true,
                (None, None) => match quarantines.next() {
                    None => true,
                    Some(one) if one.session != request.session => continue,
                    Some(_) if quarantines.all(|one| one.session == request.session) => false,
                    Some(_) => continue,
                },
                (Some(Slot::Shared(shared)), Some(expected)) if shared.admits(expected) => false,
                (Some(_), _) => continue,
            };
            if is_free {
                return Some(*port);
            }
            last_resort = Some(*port);
            if tried >= MAX_PORT_ATTEMPTS {
                break;
            }
        }
        last_resort
    }

    fn quarantines<'a>(
        &'a self,
        now: Instant,
        key: &Key,
    ) -> impl Iterator<Item = &'a Quarantine> + use<'a, C, L> {
        let of_key = self.quarantines.get(key).map(Vec::as_slice).unwrap_or_default();
        of_key.iter().filter(move |one| one.until > now)
    }

    /// Extends a reservation, unless it has expired.
    pub(super) fn renew(&mut self, lease: &Lease<C>, deadline: Instant) {
        let pending = match (self.slots.get_mut(&lease.key), lease.tls) {
            (Some(Slot::Exclusive(pending)), None) => Some(pending),
            (Some(Slot::Shared(shared)), Some(id)) => shared.sessions.get_mut(&id),
            _ => None,
        };
        if let Some(pending) = pending.filter(|pending| pending.id == lease.id) {
            pending.deadline = deadline;
        }
    }

    pub(super) fn reserved(&self) -> usize {
        self.reserved
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
            && self.quarantines.is_empty()
            && self.by_address.is_empty()
            && self.queues.is_empty()
            && self.unidentified.is_empty()
            && (self.reserved, self.queued, self.unidentified_total) == (0, 0, 0)
    }

    /// Adds every reservation's port and owner, and the ports in quarantine.
    pub(super) fn add_owners(&self, now: Instant, view: &mut ViewBuilder) {
        for key in self.quarantines.keys().filter(|key| self.quarantines(now, key).next().is_some())
        {
            view.set_quarantined(key.port);
        }
        for (key, slot) in &self.slots {
            let mut add = |pending: &Pending<C>, state| {
                let Pending { session, client, .. } = *pending;
                view.add_owner(key.port, Owner { session, client, state });
            };
            match slot {
                Slot::Exclusive(pending) => add(pending, OwnerState::Reserved),
                Slot::Shared(shared) => {
                    shared.sessions.values().for_each(|pending| add(pending, OwnerState::Shared));
                }
            }
        }
    }
}
