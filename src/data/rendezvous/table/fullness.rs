//! How full a pool is for the next client of the busiest address.

use std::collections::HashMap;
use std::time::Instant;

use super::{OVERTAKE_TIMEOUT, Table};
use crate::data::rendezvous::client_key::ClientKey;
use crate::data::rendezvous::slot::Slot;
use crate::net::tls::ResumptionEvidence;

/// The number of a session that holds nothing.
pub(in crate::data::rendezvous) const NO_SESSION: u64 = u64::MAX;

/// Ports that a new session of a client cannot get.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// In clear, or under TLS that does not resume.
    in_clear: usize,
    /// Under TLS that resumes: it can share a port.
    under_tls: usize,
    /// Whether the client has sessions that share no port.
    has_clear: bool,
}

impl<C, L: Clone + PartialEq> Table<C, L> {
    /// From 0 to 1, for the address that is nearest to having no port left: 1 if its next session would wait,
    /// or be refused. That session is supposed to be as those that have ports: in clear if one of them shares
    /// no port, and otherwise under TLS, by a login of its own. One pass over reservations and quarantines.
    pub(in crate::data::rendezvous) fn fullness(&self, now: Instant) -> f64 {
        let taken = self.taken(now);
        let of_ports = taken.iter().map(|(client, taken)| {
            if self.must_queue(now, client, taken.has_clear) {
                return 1.0;
            }
            let ports = if taken.has_clear { taken.in_clear } else { taken.under_tls };
            ratio(ports, self.ports.len())
        });
        let of_addresses =
            self.by_address.values().map(|reserved| ratio(*reserved, self.rules.per_address));
        of_ports.chain(of_addresses).fold(0.0, f64::max)
    }

    /// As [`Table::reserve`] queues a request behind those of its client.
    fn must_queue(&self, now: Instant, client: &ClientKey, in_clear: bool) -> bool {
        let first = self.queues.get(client).and_then(|queue| queue.front());
        first.is_some_and(|first| in_clear || first.since + OVERTAKE_TIMEOUT <= now)
    }

    fn taken(&self, now: Instant) -> HashMap<ClientKey, Taken> {
        let next = next_login(now);
        let mut all: HashMap<ClientKey, Taken> = HashMap::new();
        for (key, slot) in self.slots.iter().filter(|(key, _)| self.has_port(key.port)) {
            let taken = all.entry(key.client).or_default();
            taken.in_clear += 1;
            let is_closed = match slot {
                Slot::Exclusive(_) => true,
                Slot::Shared(shared) => !shared.tells_apart(&next),
            };
            let is_ambiguous =
                || self.quarantines(now, key).any(|one| one.is_ambiguous(NO_SESSION, &next));
            taken.under_tls += usize::from(is_closed || is_ambiguous());
            taken.has_clear |= matches!(slot, Slot::Exclusive(_));
        }
        for key in self.quarantines.keys().filter(|key| self.has_port(key.port)) {
            let mut live = self.quarantines(now, key).peekable();
            if live.peek().is_none() {
                continue;
            }
            let taken = all.entry(key.client).or_default();
            let (mut has_clear, mut is_ambiguous) = (false, false);
            for one in live {
                has_clear |= one.is_in_clear();
                is_ambiguous |= one.is_ambiguous(NO_SESSION, &next);
            }
            taken.has_clear |= has_clear;
            if !self.slots.contains_key(key) {
                taken.in_clear += 1;
                taken.under_tls += usize::from(is_ambiguous);
            }
        }
        for (client, queue) in &self.queues {
            let taken = all.entry(*client).or_default();
            taken.has_clear |= queue.iter().any(|queued| queued.request.tls.is_none());
        }
        all
    }

    /// Whether `fullness` takes the next session of this address for one in clear.
    #[cfg(test)]
    pub(in crate::data::rendezvous) fn is_next_in_clear(
        &self,
        now: Instant,
        from: std::net::IpAddr,
    ) -> bool {
        let client = self.rules.client_match.key(from);
        self.taken(now).get(&client).is_some_and(|taken| taken.has_clear)
    }
}

/// A session that logs in now, and offers none before.
pub(in crate::data::rendezvous) fn next_login(now: Instant) -> ResumptionEvidence {
    ResumptionEvidence {
        handshake_started: now,
        session_stored: now,
        tickets_used: None,
        resumed_since: None,
        shares_store: false,
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if part >= whole { 1.0 } else { part as f64 / whole as f64 }
}
