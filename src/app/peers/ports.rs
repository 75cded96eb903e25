//! Which process accepts at which data port: exactly one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::places::{Places, by_pool};
use super::{Peer, Peers, PoolPort};
use crate::net::{Acceptor, OpenSocket, SocketOwner};

impl Peers {
    /// Splits the ports of the pools that the next process has: some stay as long as there are sessions, and
    /// those where a reservation is. Nothing is accepted at the others any more. Returns the numbers of their
    /// sockets.
    pub(in crate::app) fn give_ports(
        &self,
        sockets: &[(usize, OpenSocket, Arc<Acceptor>)],
        next: u64,
    ) -> Vec<usize> {
        let mut of_pools: HashMap<&str, BTreeSet<u16>> = HashMap::new();
        for (_, open, _) in sockets {
            if let SocketOwner::Pool(pool) = &open.owner {
                of_pools.entry(pool).or_default().insert(open.at.port());
            }
        }
        let mut state = self.state();
        let mut given: HashMap<&str, HashSet<u16>> = HashMap::new();
        for (pool, ports) in of_pools {
            let here = ports.into_iter().filter(|port| state.places.is_here(pool, *port));
            let here: Vec<u16> = here.collect();
            self.process.pools.withhold(pool, &here);
            let is_busy = self.process.pools.busy_ports(pool);
            let kept_count = match self.process.drain.sessions() {
                0 => 0,
                _ => (here.len() / 4).max(1),
            };
            let (mut busy, mut idle): (Vec<u16>, Vec<u16>) =
                here.into_iter().partition(|port| is_busy.contains(port));
            // Busy ones first: they must stay anyway.
            let mut kept: Vec<u16> = busy.drain(..kept_count.min(busy.len())).collect();
            kept.extend(idle.drain(..(kept_count - kept.len()).min(idle.len())));
            self.process.pools.restore(pool, &kept);
            state.places.set_at(pool, &idle, next);
            state.places.set_leaving(pool, &busy, next);
            given.insert(pool, idle.into_iter().collect());
        }
        drop(state);
        let is_given = |(_, open, _): &&(usize, OpenSocket, Arc<Acceptor>)| match &open.owner {
            SocketOwner::Pool(pool) => {
                given.get(pool.as_str()).is_some_and(|ports| ports.contains(&open.at.port()))
            }
            SocketOwner::Listeners | SocketOwner::Metrics | SocketOwner::Admin => false,
        };
        let given = sockets.iter().filter(is_given);
        given.inspect(|(_, _, socket)| socket.pause()).map(|(number, ..)| *number).collect()
    }

    /// The number of the next peer.
    pub(in crate::app) fn next_peer(&self) -> u64 {
        self.state().last_id + 1
    }

    /// No other process accepts at the ports of this one any more, or ever did.
    pub(in crate::app) fn take_back_all(&self, next: u64) {
        let ports = self.state().places.of(next);
        self.take_back(ports);
    }

    /// After the hand-over, all ports that are elsewhere are the next process's, which may give them.
    pub(in crate::app) fn all_at(&self, next: u64) {
        self.state().places.all_at(next);
    }

    /// Accepts at these ports, and reserves them.
    pub(super) fn take_back(&self, ports: impl IntoIterator<Item = PoolPort>) {
        let mut state = self.state();
        for (pool, ports) in by_pool(ports) {
            tracing::debug!(pool, count = ports.len(), "data ports taken");
            state.places.set_here(&pool, &ports);
            self.sockets_at(&pool, &ports).iter().for_each(|socket| socket.resume());
            self.process.pools.restore(&pool, &ports);
        }
    }

    fn sockets_at(&self, pool: &str, ports: &[u16]) -> Vec<Arc<Acceptor>> {
        ports.iter().flat_map(|port| self.process.sockets.of_pool(pool, *port)).collect()
    }

    /// The ports that another process gets now: nothing is accepted there any more.
    pub(super) fn ports_for(
        &self,
        pool: &str,
        id: u64,
        peer: &mut Peer,
        places: &mut Places,
    ) -> Vec<u16> {
        let mut leaving = Vec::from_iter(places.leaving_to(pool, id));
        if leaving.is_empty() && peer.wants.contains(pool) {
            let own = self.process.sockets.ports_of_pool(pool);
            let here = || own.iter().filter(|port| places.is_here(pool, **port));
            let busy = self.process.pools.busy_ports(pool);
            leaving.extend(here().find(|port| !busy.contains(port)).or(here().next()));
            // Without one here, a third process is asked.
            if !leaving.is_empty() {
                peer.wants.remove(pool);
            }
        }
        if leaving.is_empty() {
            return leaving;
        }
        self.process.pools.withhold(pool, &leaving);
        let busy = self.process.pools.busy_ports(pool);
        let (later, now): (Vec<u16>, Vec<u16>) =
            leaving.into_iter().partition(|port| busy.contains(port));
        places.set_leaving(pool, &later, id);
        self.sockets_at(pool, &now).iter().for_each(|socket| socket.pause());
        places.set_at(pool, &now, id);
        now
    }
}
