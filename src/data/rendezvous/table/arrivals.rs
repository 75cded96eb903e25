//! Matches arriving connections to reservations.

use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Instant;

use super::Table;
use crate::data::rendezvous::client_key::Key;
use crate::data::rendezvous::slot::{Pending, Slot};
use crate::net::tls::SessionId;

/// Unidentified connections of one address to a port, beyond the address's reservations, so that no
/// client excludes others by connecting and sending nothing. For an address with reservations, and for one
/// without.
const MAX_UNIDENTIFIED_PER_PORT: usize = 64;
const MAX_UNIDENTIFIED_WITHOUT_RESERVATION: usize = 8;
/// The same for the whole pool, beyond what all its reservations may need.
const MAX_UNIDENTIFIED_TOTAL: usize = 1024;
const MAX_UNIDENTIFIED_PER_RESERVATION: usize = 4;

/// What happens to a connection.
pub(in crate::data::rendezvous) enum Arrival<C, L> {
    Delivered,
    /// Several reservations may wait there: the session that it offers to resume identifies the owner.
    Shared(C, L, Candidates),
    Stray(C),
}

/// The possible owners of a connection to a shared slot.
#[derive(Debug, Clone, Copy)]
pub(in crate::data::rendezvous) struct Candidates {
    /// The owner if it offers no session: the only reservation when it arrived.
    only: Option<u64>,
    /// Later reservations are not candidates.
    last: u64,
}

/// What happens to a connection to a shared slot once it has sent its ClientHello.
pub(in crate::data::rendezvous) enum Routed<C> {
    Delivered,
    /// With the session that it should have resumed instead, where that is certain.
    Stray(C, Option<SessionId>),
}

impl<C, L: Clone + PartialEq> Table<C, L> {
    pub(in crate::data::rendezvous) fn awaits(&self, key: Key) -> bool {
        self.slots.contains_key(&key)
    }

    /// Delivers a connection to its owner, or returns what has to be found out about it.
    pub(in crate::data::rendezvous) fn arrive(
        &mut self,
        now: Instant,
        (key, from): (Key, IpAddr),
        connection: C,
    ) -> Arrival<C, L> {
        match self.slots.get(&key) {
            None => Arrival::Stray(connection),
            Some(Slot::Shared(shared)) => {
                let only = shared.only().map(|(_, pending)| pending);
                // It may be a late connection of another reservation.
                let is_own = |pending: &&Pending<C>| {
                    self.quarantines(now, &key).all(|one| one.session == pending.session)
                };
                let only = only.filter(is_own).map(|pending| pending.id);
                let candidates = Candidates { only, last: self.last_id };
                let max = match self.by_address.get(&from) {
                    Some(count) => count + MAX_UNIDENTIFIED_PER_PORT,
                    None => MAX_UNIDENTIFIED_WITHOUT_RESERVATION,
                };
                let unidentified = self.unidentified.entry((key.port, from)).or_default();
                let max_total =
                    self.reserved * MAX_UNIDENTIFIED_PER_RESERVATION + MAX_UNIDENTIFIED_TOTAL;
                if *unidentified >= max || self.unidentified_total >= max_total {
                    if *unidentified == 0 {
                        self.unidentified.remove(&(key.port, from));
                    }
                    return Arrival::Stray(connection);
                }
                *unidentified += 1;
                self.unidentified_total += 1;
                Arrival::Shared(connection, shared.listener.clone(), candidates)
            }
            Some(Slot::Exclusive(_)) => {
                let Some(Slot::Exclusive(pending)) = self.slots.remove(&key) else {
                    return Arrival::Stray(connection);
                };
                self.release_address(pending.client);
                let delivered = if pending.deadline > now {
                    pending.arrivals.try_send(connection).map_err(|e| e.into_inner())
                } else {
                    Err(connection)
                };
                self.offer(now, key.client);
                delivered.map_or_else(Arrival::Stray, |()| Arrival::Delivered)
            }
        }
    }

    /// Whether one of the candidates still waits.
    pub(in crate::data::rendezvous) fn still_awaits(
        &self,
        key: Key,
        candidates: Candidates,
    ) -> bool {
        let Some(Slot::Shared(shared)) = self.slots.get(&key) else { return false };
        shared.sessions.values().any(|pending| pending.id <= candidates.last)
    }

    /// Delivers a connection to a shared slot to the owner of an offered session. A connection that offers
    /// none is given to the only reservation, once. A stray is returned and uses up nothing.
    pub(in crate::data::rendezvous) fn route(
        &mut self,
        now: Instant,
        (key, from): (Key, IpAddr),
        offered: &[SessionId],
        candidates: Candidates,
        connection: C,
    ) -> Routed<C> {
        self.decrement_unidentified(key.port, from);
        let Some(Slot::Shared(shared)) = self.slots.get_mut(&key) else {
            return Routed::Stray(connection, None);
        };
        let only = shared.only().map(|(id, _)| *id);
        let mut instead = None;
        // The client of a later reservation did not know the port when this connection was made.
        let is_candidate = |id: &&SessionId| {
            shared.sessions.get(*id).is_some_and(|pending| pending.id <= candidates.last)
        };
        let pending = match offered.iter().find(is_candidate) {
            Some(id) => shared.sessions.get_mut(id),
            None => only.and_then(|id| shared.sessions.get_mut(&id)).filter(|pending| {
                let is_only = candidates.only == Some(pending.id);
                // A client with one store for several sessions may resume any of them: the handshake
                // checks that, where it matters.
                let deliver = match offered {
                    [] => is_only && !pending.guessed,
                    _ if pending.resumption_optional => is_only,
                    _ => pending.shares_store() && pending.id <= candidates.last,
                };
                // From other addresses any host can connect.
                let is_client = pending.client == from;
                if !deliver && is_client {
                    pending.strangers.notify_one();
                }
                instead = only.filter(|_| is_only && is_client && !offered.is_empty());
                deliver
            }),
        };
        let Some(pending) = pending.filter(|pending| pending.deadline > now) else {
            return Routed::Stray(connection, instead);
        };
        pending.guessed |= offered.is_empty();
        match pending.arrivals.try_send(connection) {
            Ok(()) => Routed::Delivered,
            Err(refused) => Routed::Stray(refused.into_inner(), None),
        }
    }

    /// A connection to a shared slot was closed before its owner was known.
    pub(in crate::data::rendezvous) fn closed_unidentified(&mut self, (key, from): (Key, IpAddr)) {
        self.decrement_unidentified(key.port, from);
        if let Some(Slot::Shared(shared)) = self.slots.get(&key)
            && let Some((_, only)) = shared.only()
            && only.client == from
        {
            only.strangers.notify_one();
        }
    }

    fn decrement_unidentified(&mut self, port: u16, from: IpAddr) {
        if let Entry::Occupied(mut unidentified) = self.unidentified.entry((port, from)) {
            self.unidentified_total -= 1;
            *unidentified.get_mut() -= 1;
            if *unidentified.get() == 0 {
                unidentified.remove();
            }
        }
    }
}
