//! The order in which the servers of a backend are tried (`choose`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::server::Server;

/// Which server a session gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The first that is available, in the order of the configuration.
    #[default]
    Failover,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest sessions of this gateway.
    LeastSessions,
    /// The same for each user, as long as it is available.
    User,
    /// The same for each client address, as long as it is available.
    Source,
}

pub(super) struct Chooser {
    choice: Choice,
    /// Sessions so far.
    next: AtomicUsize,
}

impl Chooser {
    pub(super) fn new(choice: Choice) -> Self {
        Self { choice, next: AtomicUsize::new(0) }
    }

    /// Orders the available servers. One that has just returned comes last, but for its share of sessions.
    pub(super) fn order(
        &self,
        mut servers: Vec<Arc<Server>>,
        user: &[u8],
        source: IpAddr,
        now: Instant,
    ) -> Vec<Arc<Server>> {
        match self.choice {
            Choice::Failover => {}
            Choice::RoundRobin => self.rotate(&mut servers),
            Choice::LeastSessions => {
                // Among equals, one after the other.
                self.rotate(&mut servers);
                servers.sort_by_key(|server| server.sessions());
            }
            Choice::User => servers.sort_by_key(|server| weight(user, server.name())),
            Choice::Source => servers.sort_by_key(|server| weight(&source, server.name())),
        }
        // Stable: the others keep their order.
        servers.sort_by_cached_key(|server| rand::random::<f64>() >= server.share(now));
        servers
    }

    fn rotate(&self, servers: &mut [Arc<Server>]) {
        if !servers.is_empty() {
            servers.rotate_left(self.next.fetch_add(1, Ordering::Relaxed) % servers.len());
        }
    }
}

/// Rendezvous hashing: where a server fails, only its own users move. Every replica of the gateway computes
/// the same.
fn weight(of: &(impl Hash + ?Sized), server: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    server.hash(&mut hasher);
    hasher.finish()
}
