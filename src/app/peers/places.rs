//! The ports that are not this process's alone. There may be many, so each is found by its pool and number.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::PoolPort;

/// Which other process accepts at a port, or shall accept there. All other ports are this process's.
#[derive(Default)]
pub(super) struct Places(HashMap<String, OfPool>);

#[derive(Default)]
struct OfPool {
    /// The other process accepts.
    at: HashMap<u16, u64>,
    /// This one accepts, as long as a reservation is there; then the other.
    leaving: HashMap<u16, u64>,
}

impl Places {
    /// The other process `id` accepts at these ports.
    pub(super) fn set_at(&mut self, pool: &str, ports: &[u16], id: u64) {
        let of_pool = self.0.entry(pool.to_owned()).or_default();
        for port in ports {
            of_pool.leaving.remove(port);
            of_pool.at.insert(*port, id);
        }
    }

    /// The other process `id` gets these ports, once no reservation is there.
    pub(super) fn set_leaving(&mut self, pool: &str, ports: &[u16], id: u64) {
        let of_pool = self.0.entry(pool.to_owned()).or_default();
        of_pool.leaving.extend(ports.iter().map(|port| (*port, id)));
    }

    /// These ports are this process's.
    pub(super) fn set_here(&mut self, pool: &str, ports: &[u16]) {
        let Some(of_pool) = self.0.get_mut(pool) else { return };
        for port in ports {
            of_pool.at.remove(port);
            of_pool.leaving.remove(port);
        }
    }

    /// Whether this process accepts there, and goes on with that.
    pub(super) fn is_here(&self, pool: &str, port: u16) -> bool {
        let of_pool = self.0.get(pool);
        of_pool.is_none_or(|it| !it.at.contains_key(&port) && !it.leaving.contains_key(&port))
    }

    /// Whether the other process accepts there.
    pub(super) fn is_at(&self, pool: &str, port: u16, id: u64) -> bool {
        self.0.get(pool).is_some_and(|of_pool| of_pool.at.get(&port) == Some(&id))
    }

    /// Whether the other process accepts at a port of the pool.
    pub(super) fn has_any_at(&self, pool: &str, id: u64) -> bool {
        self.0.get(pool).is_some_and(|of_pool| of_pool.at.values().any(|at| *at == id))
    }

    /// The ports of the pool that the other process gets, in their order.
    pub(super) fn leaving_to(&self, pool: &str, id: u64) -> BTreeSet<u16> {
        let leaving = self.0.get(pool).into_iter().flat_map(|of_pool| &of_pool.leaving);
        leaving.filter(|(_, to)| **to == id).map(|(port, _)| *port).collect()
    }

    /// The ports at which the other process accepts.
    pub(super) fn at(&self, id: u64) -> Vec<PoolPort> {
        let all = self.0.iter().flat_map(|(pool, it)| it.at.iter().map(move |at| (pool, at)));
        all.filter(|(_, (_, at))| **at == id)
            .map(|(pool, (port, _))| (pool.clone(), *port))
            .collect()
    }

    /// All ports that are the other process's, or that it shall get.
    pub(super) fn of(&self, id: u64) -> Vec<PoolPort> {
        let leaving = self.0.keys().flat_map(|pool| {
            let ports = self.leaving_to(pool, id).into_iter();
            ports.map(|port| (pool.clone(), port))
        });
        self.at(id).into_iter().chain(leaving).collect()
    }

    /// Those that were to leave stay; returns them.
    pub(super) fn keep_leaving(&mut self) -> Vec<PoolPort> {
        let leaving = self.0.iter_mut().flat_map(|(pool, of_pool)| {
            of_pool.leaving.drain().map(|(port, _)| (pool.clone(), port))
        });
        leaving.collect()
    }

    /// All ports that are elsewhere are there from now on.
    pub(super) fn all_at(&mut self, id: u64) {
        self.0.values_mut().flat_map(|of_pool| of_pool.at.values_mut()).for_each(|at| *at = id);
    }
}

/// The same ports, by pool.
pub(super) fn by_pool(ports: impl IntoIterator<Item = PoolPort>) -> HashMap<String, Vec<u16>> {
    let mut by_pool: HashMap<String, HashSet<u16>> = HashMap::new();
    for (pool, port) in ports {
        by_pool.entry(pool).or_default().insert(port);
    }
    by_pool.into_iter().map(|(pool, ports)| (pool, ports.into_iter().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_here_or_leaves_or_is_elsewhere() {
        let mut places = Places::default();
        assert!(places.is_here("a", 1));
        places.set_leaving("a", &[1, 2], 7);
        assert!(!places.is_here("a", 1) && places.is_here("b", 1) && !places.is_at("a", 1, 7));
        assert_eq!(Vec::from_iter(places.leaving_to("a", 7)), [1, 2]);
        assert!(places.leaving_to("a", 8).is_empty() && !places.has_any_at("a", 7));
        places.set_at("a", &[1], 7);
        assert!(places.is_at("a", 1, 7) && !places.is_at("a", 1, 8) && places.has_any_at("a", 7));
        assert_eq!(places.at(7), [("a".to_owned(), 1)]);
        assert_eq!(places.of(7), [("a".to_owned(), 1), ("a".to_owned(), 2)]);
        places.all_at(9);
        assert!(places.is_at("a", 1, 9));
        assert_eq!(places.keep_leaving(), [("a".to_owned(), 2)]);
        assert!(places.is_here("a", 2));
        places.set_here("a", &[1]);
        assert!(places.is_here("a", 1) && places.of(9).is_empty());
    }
}
