//! Which process accepts at which data port: exactly one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Peer, Peers, Place, PoolPort};
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
        let mut by_pool: HashMap<&str, BTreeSet<u16>> = HashMap::new();
        for (_, open, _) in sockets {
            if let SocketOwner::Pool(pool) = &open.owner {
                by_pool.entry(pool).or_default().insert(open.at.port());
            }
        }
        let mut state = self.state();
        let mut given = HashSet::new();
        for (pool, ports) in by_pool {
            let is_here = |port: &u16| !state.places.contains_key(&(pool.to_owned(), *port));
            let here: Vec<u16> = ports.into_iter().filter(is_here).collect();
            self.process.pools.withhold(pool, &here);
            let (idle, busy): (Vec<_>, Vec<_>) =
                here.iter().partition(|port| self.process.pools.is_idle(pool, **port));
            let kept_count = match self.process.drain.sessions() {
                0 => 0,
                _ => (here.len() / 4).max(1),
            };
            // Busy ones first: they must stay anyway.
            let kept: Vec<u16> =
                busy.iter().chain(&idle).copied().copied().take(kept_count).collect();
            self.process.pools.restore(pool, &kept);
            for port in here.iter().filter(|port| !kept.contains(port)) {
                let is_idle = idle.contains(&port);
                let place = if is_idle { Place::At(next) } else { Place::Leaving(next) };
                state.places.insert((pool.to_owned(), *port), place);
                if is_idle {
                    given.insert((pool.to_owned(), *port));
                }
            }
        }
        drop(state);
        let is_given = |(_, open, _): &&(usize, OpenSocket, Arc<Acceptor>)| match &open.owner {
            SocketOwner::Pool(pool) => given.contains(&(pool.clone(), open.at.port())),
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
        let ports: Vec<_> = {
            let state = self.state();
            let of_next =
                |place: &Place| matches!(place, Place::At(id) | Place::Leaving(id) if *id == next);
            let all = state.places.iter().filter(|(_, place)| of_next(place));
            all.map(|(port, _)| port.clone()).collect()
        };
        self.take_back(&ports);
    }

    /// After the hand-over, all ports that are elsewhere are the next process's, which may give them.
    pub(in crate::app) fn all_at(&self, next: u64) {
        for place in self.state().places.values_mut() {
            if let Place::At(id) = place {
                *id = next;
            }
        }
    }

    /// Accepts at these ports, and reserves them.
    pub(super) fn take_back(&self, ports: &[PoolPort]) {
        tracing::debug!(?ports, "data ports taken");
        let mut state = self.state();
        for (pool, port) in ports {
            state.places.remove(&(pool.clone(), *port));
            self.process.sockets.of_pool(pool, *port).iter().for_each(|socket| socket.resume());
            self.process.pools.restore(pool, &[*port]);
        }
    }

    /// The ports that another process gets now: nothing is accepted there any more.
    pub(super) fn ports_for(
        &self,
        pool: &str,
        id: u64,
        peer: &mut Peer,
        places: &mut HashMap<PoolPort, Place>,
    ) -> Vec<u16> {
        let of_pool = places.iter().filter(|((of, _), _)| of == pool);
        let leaving = of_pool.filter(|(_, place)| **place == Place::Leaving(id));
        let mut leaving: Vec<u16> = leaving.map(|((_, port), _)| *port).collect();
        if leaving.is_empty() && peer.wants.contains(pool) {
            let all = self.process.sockets.all().into_iter();
            let own = all.filter(|(open, _)| open.owner == SocketOwner::Pool(pool.to_owned()));
            let own: BTreeSet<u16> = own.map(|(open, _)| open.at.port()).collect();
            let here = |port: &&u16| !places.contains_key(&(pool.to_owned(), **port));
            let is_idle = |port: &&u16| self.process.pools.is_idle(pool, **port);
            let port = own.iter().filter(here).find(is_idle).or(own.iter().find(here));
            leaving.extend(port);
            // Without one here, a third process is asked.
            if !leaving.is_empty() {
                peer.wants.remove(pool);
            }
        }
        self.process.pools.withhold(pool, &leaving);
        let (now, later): (Vec<u16>, Vec<u16>) =
            leaving.into_iter().partition(|port| self.process.pools.is_idle(pool, *port));
        for port in later {
            places.insert((pool.to_owned(), port), Place::Leaving(id));
        }
        for port in &now {
            self.process.sockets.of_pool(pool, *port).iter().for_each(|socket| socket.pause());
            places.insert((pool.to_owned(), *port), Place::At(id));
        }
        now
    }
}
