//! Requests that wait for a free port, in their order for each client.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Lease, Request, Table};
use crate::data::rendezvous::client_key::ClientKey;

/// Queued requests without a free port that are tried each time a port becomes free.
const MAX_QUEUED_ATTEMPTS: usize = 64;

/// A request that waits.
pub(super) struct Queued<C, L> {
    pub(super) request: Request<L>,
    pub(super) since: Instant,
    sender: oneshot::Sender<Lease<C>>,
}

impl<C, L: Clone + PartialEq> Table<C, L> {
    /// `None`: the queue is full.
    pub(in crate::data::rendezvous) fn queue(
        &mut self,
        since: Instant,
        request: Request<L>,
    ) -> Option<oneshot::Receiver<Lease<C>>> {
        let client = self.rules.client_match.key(request.client);
        let own = self.queues.get(&client).map_or(0, VecDeque::len);
        if self.queued >= self.rules.queue || own * 8 >= self.rules.queue {
            return None;
        }
        let (sender, lease) = oneshot::channel();
        self.queues.entry(client).or_default().push_back(Queued { request, since, sender });
        self.queued += 1;
        Some(lease)
    }

    /// Gives free ports to this client's queued requests, in their order; a request for which no port is
    /// free does not block the next. Requests whose receiver is gone are dropped.
    pub(in crate::data::rendezvous) fn offer(&mut self, now: Instant, client: ClientKey) {
        let Some(mut queue) = self.queues.remove(&client) else { return };
        self.queued -= queue.len();
        queue.retain(|queued| !queued.sender.is_closed());
        let mut remaining = VecDeque::with_capacity(queue.len());
        while let Some(next) = queue.pop_front() {
            let at_limit = self.is_at_address_limit(next.request.client);
            let lease = if at_limit { None } else { self.occupy(now, client, &next.request) };
            match lease {
                None => remaining.push_back(next),
                Some(lease) => {
                    if let Err(lease) = next.sender.send(lease) {
                        self.remove(lease.key, lease.id, lease.tls);
                    }
                }
            }
            if remaining.len() >= MAX_QUEUED_ATTEMPTS {
                break;
            }
        }
        remaining.append(&mut queue);
        self.queued += remaining.len();
        if !remaining.is_empty() {
            self.queues.insert(client, remaining);
        }
    }

    pub(super) fn offer_to_all(&mut self, now: Instant) {
        let waiting: Vec<_> = self.queues.keys().copied().collect();
        waiting.into_iter().for_each(|client| self.offer(now, client));
    }

    pub(in crate::data::rendezvous) fn queued(&self) -> usize {
        self.queued
    }
}
