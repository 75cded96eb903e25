//! Limits the costly key exchanges of a client address before a login (CVE-2002-20001).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The key exchanges that an address gets at once.
pub const EXCHANGES_MAX: u32 = 30;
/// After this time an address gets one more key exchange, up to [`EXCHANGES_MAX`].
pub const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// Addresses with a bucket of their own; all others share one.
const ADDRESSES_MAX: usize = 10_000;
/// Between two searches for full buckets.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Between two log lines about refused clients.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A token bucket for each IPv4 address and each IPv6 network of 64 bits, in bounded memory.
#[derive(Default)]
pub struct KeyExchangeLimiter {
    buckets: Mutex<Buckets>,
    last_logged: Mutex<LastLogged>,
}

/// Each bucket is the time at which it is full again (the generic cell rate algorithm).
#[derive(Default)]
struct Buckets {
    by_address: HashMap<IpAddr, Instant>,
    others: Option<Instant>,
    swept: Option<Instant>,
}

#[derive(Default)]
struct LastLogged {
    at: Option<Instant>,
    suppressed: u64,
}

impl KeyExchangeLimiter {
    /// Takes one exchange from the address' bucket; returns whether there was one.
    pub fn take(&self, address: IpAddr) -> bool {
        let (network, now) = (network(address), Instant::now());
        let mut buckets = self.lock();
        let is_full = buckets.by_address.len() >= ADDRESSES_MAX;
        if is_full && !buckets.by_address.contains_key(&network) {
            buckets.sweep(now);
        }
        if buckets.by_address.len() < ADDRESSES_MAX || buckets.by_address.contains_key(&network) {
            let full_at = buckets.by_address.entry(network).or_insert(now);
            return take(full_at, now);
        }
        take(buckets.others.get_or_insert(now), now)
    }

    /// Exchanges of the address that has used most of its own, of [`EXCHANGES_MAX`].
    pub fn used_most(&self) -> u32 {
        let now = Instant::now();
        let buckets = self.lock();
        let all = buckets.by_address.values().chain(&buckets.others);
        let last =
            all.max().map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        last.div_duration_f64(EXCHANGE_INTERVAL).ceil() as u32
    }

    /// Whether to log a refused client now: the number of those that were not logged since the last one.
    pub fn next_log_line(&self) -> Option<u64> {
        let mut last_logged = self.last_logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last_logged.at.is_some_and(|at| now.duration_since(at) < LOG_INTERVAL) {
            last_logged.suppressed += 1;
            return None;
        }
        last_logged.at = Some(now);
        Some(std::mem::take(&mut last_logged.suppressed))
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    /// Removes full buckets.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.by_address.retain(|_, full_at| *full_at > now);
    }
}

fn take(full_at: &mut Instant, now: Instant) -> bool {
    let next = (*full_at).max(now) + EXCHANGE_INTERVAL;
    let is_left = next <= now + EXCHANGE_INTERVAL * EXCHANGES_MAX;
    if is_left {
        *full_at = next;
    }
    is_left
}

/// A site has at least 64 bits of IPv6 addresses (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_gets_the_maximum_at_once_and_then_one_per_interval() {
        let exchanges = KeyExchangeLimiter::default();
        let taken = |address: &str| (0..100).take_while(|_| exchanges.take(ip(address))).count();
        assert_eq!(taken("192.0.2.1"), EXCHANGES_MAX as usize);
        assert_eq!(exchanges.used_most(), EXCHANGES_MAX);
        assert_eq!(taken("192.0.2.2"), EXCHANGES_MAX as usize, "another address has its own");
        assert_eq!(taken("::ffff:192.0.2.1"), 0, "the same address in IPv6's notation");
        tokio::time::advance(EXCHANGE_INTERVAL * 3).await;
        assert_eq!(exchanges.used_most(), EXCHANGES_MAX - 3);
        assert_eq!(taken("192.0.2.1"), 3);
        tokio::time::advance(EXCHANGE_INTERVAL * 1000).await;
        assert_eq!(exchanges.used_most(), 0);
        assert_eq!(taken("192.0.2.1"), EXCHANGES_MAX as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn ipv6_addresses_of_one_network_share_a_bucket() {
        let exchanges = KeyExchangeLimiter::default();
        for host in 0..EXCHANGES_MAX {
            assert!(exchanges.take(ip(&format!("2001:db8:0:1::{host:x}"))));
        }
        assert!(!exchanges.take(ip("2001:db8:0:1:ffff::1")));
        assert!(exchanges.take(ip("2001:db8:0:2::1")));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_further_addresses_share_a_bucket() {
        let exchanges = KeyExchangeLimiter::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let many = ADDRESSES_MAX as u32 + 1000;
        let admitted = (0..many).filter(|n| exchanges.take(address(*n))).count();
        assert_eq!(admitted, ADDRESSES_MAX + EXCHANGES_MAX as usize);
        assert_eq!(exchanges.lock().by_address.len(), ADDRESSES_MAX);
        assert!(exchanges.take(address(1)), "a known address keeps its own bucket");
        tokio::time::advance(EXCHANGE_INTERVAL * 2).await;
        assert!(exchanges.take(address(many)));
        assert_eq!(exchanges.lock().by_address.len(), 1, "full buckets are removed");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_clients_are_logged_once_per_interval() {
        let exchanges = KeyExchangeLimiter::default();
        assert_eq!(exchanges.next_log_line(), Some(0));
        for _ in 0..5 {
            assert_eq!(exchanges.next_log_line(), None);
        }
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!(exchanges.next_log_line(), Some(5));
    }
}
