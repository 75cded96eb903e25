//! The end of a reservation: it is returned, or was not connected in time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Instant;

use super::{Lease, Table};
use crate::data::rendezvous::client_key::Key;
use crate::data::rendezvous::quarantine::{self, Holder};
use crate::data::rendezvous::slot::{Pending, SharedSlot, Slot};
use crate::net::tls::SessionId;

impl<C, L: Clone + PartialEq> Table<C, L> {
    /// Ends reservations that were not connected in time. Returns how many.
    pub(in crate::data::rendezvous) fn expire(&mut self, now: Instant) -> usize {
        self.quarantines.retain(|_, of_key| {
            of_key.retain(|one| one.until > now);
            !of_key.is_empty()
        });
        let (by_address, quarantines) = (&mut self.by_address, &mut self.quarantines);
        let (mut expired, mut clients) = (0, Vec::new());
        let mut keep = |key: &Key, pending: &Pending<C>| {
            let is_live = pending.deadline > now;
            if !is_live {
                decrement(by_address, pending.client);
                quarantine::add(quarantines, *key, now, (pending.session, pending.evidence));
                clients.push(key.client);
                expired += 1;
            }
            is_live
        };
        self.slots.retain(|key, slot| match slot {
            Slot::Exclusive(pending) => keep(key, pending),
            Slot::Shared(SharedSlot { sessions, .. }) => {
                sessions.retain(|_, pending| keep(key, pending));
                !sessions.is_empty()
            }
        });
        self.reserved -= expired;
        clients.into_iter().for_each(|client| self.offer(now, client));
        expired
    }

    /// Returns a lease. `connected`: no connection can arrive for it any more. Whether it had not expired
    /// before.
    pub(in crate::data::rendezvous) fn release(
        &mut self,
        now: Instant,
        lease: &Lease<C>,
        connected: bool,
    ) -> bool {
        let Some(holder) = self.remove(lease.key, lease.id, lease.tls) else { return false };
        if !connected {
            quarantine::add(&mut self.quarantines, lease.key, now, holder);
        }
        self.offer(now, lease.key.client);
        true
    }

    /// Returns the holder.
    pub(super) fn remove(&mut self, key: Key, id: u64, tls: Option<SessionId>) -> Option<Holder> {
        let Entry::Occupied(mut slot) = self.slots.entry(key) else { return None };
        let (client, holder) = match (slot.get_mut(), tls) {
            (Slot::Exclusive(pending), None) if pending.id == id => {
                let removed = (pending.client, (pending.session, pending.evidence));
                slot.remove();
                removed
            }
            (Slot::Shared(SharedSlot { sessions, .. }), Some(tls)) => {
                let pending = match sessions.entry(tls) {
                    Entry::Occupied(pending) if pending.get().id == id => pending.remove(),
                    _ => return None,
                };
                if sessions.is_empty() {
                    slot.remove();
                }
                (pending.client, (pending.session, pending.evidence))
            }
            _ => return None,
        };
        self.release_address(client);
        Some(holder)
    }

    pub(super) fn release_address(&mut self, client: IpAddr) {
        decrement(&mut self.by_address, client);
        self.reserved -= 1;
    }
}

fn decrement(counts: &mut HashMap<IpAddr, usize>, client: IpAddr) {
    if let Entry::Occupied(mut count) = counts.entry(client) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
