//! Connecting to servers, with a limit per address (`connects_at_once`): a server drops connections that
//! overflow its backlog. Further attempts wait in FIFO order.

mod connector;
mod metrics;
mod queue;
#[cfg(test)]
mod tests;
mod time;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::Registry;

pub use connector::{Connector, connect_from};
use metrics::Metrics;
use queue::Queue;
pub use time::{ConnectEnd, Connecting};

/// The queues of all addresses, which the backends of a configuration share.
pub struct Connectors {
    /// By `host:port`; bounded by the configuration.
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    /// Of the configuration before.
    previous: HashMap<String, Arc<Queue>>,
    /// The queues of each backend, by address.
    by_backend: Mutex<BTreeMap<String, BTreeMap<String, Arc<Queue>>>>,
    metrics: Arc<Metrics>,
}

impl Connectors {
    /// Starts without queues. Registers their metrics, once per registry; `backend` is the only label.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            queues: Mutex::default(),
            previous: HashMap::new(),
            by_backend: Mutex::default(),
            metrics: Arc::new(Metrics::register(registry)?),
        })
    }

    /// For another configuration, which goes on with the queues whose limit is the same.
    pub fn next(&self) -> Self {
        Self {
            queues: Mutex::default(),
            previous: self.queues.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            by_backend: Mutex::default(),
            metrics: self.metrics.clone(),
        }
    }

    /// Connection attempts at once to the servers of each backend, by its name: `connects_at_once` for each
    /// address, or less where another backend has the address, too.
    pub fn limits(&self) -> Vec<(String, usize)> {
        let all = self.by_backend.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of_backend: &BTreeMap<String, Arc<Queue>>| {
            of_backend.values().map(|queue| queue.slots()).sum()
        };
        all.iter().map(|(name, of_backend)| (name.clone(), sum(of_backend))).collect()
    }

    /// Ends the series of backends that no configuration and no session has any more.
    pub fn forget_ended(&self) {
        self.metrics.forget_ended();
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::register(&Registry::new()).expect("a registry of its own")
    }

    /// For the backend of this name, whose server is at `addresses` (`host:port`, tried in order).
    /// `at_once`: the limit per address; where several backends share an address, the lowest applies.
    pub fn connector(&self, backend: &str, addresses: &[String], at_once: usize) -> Connector {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_backend = self.by_backend.lock().unwrap_or_else(PoisonError::into_inner);
        let own = by_backend.entry(backend.to_owned()).or_default();
        let mut queue = |address: &String| {
            let queue = queues.entry(address.clone()).or_insert_with(|| {
                let previous = self.previous.get(address).filter(|it| it.slots() == at_once);
                previous.cloned().unwrap_or_else(|| Queue::new(at_once))
            });
            queue.limit_to(at_once);
            own.insert(address.clone(), queue.clone());
            (address.clone(), queue.clone())
        };
        Connector::new(addresses.iter().map(&mut queue).collect(), self.metrics.of(backend))
    }
}
