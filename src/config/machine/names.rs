//! Looks up host names with the system's resolver.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The addresses of each name, or the error.
pub(in crate::config) type Names = BTreeMap<String, Result<Vec<IpAddr>, String>>;

/// For all names together.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Lookups at once.
const LOOKUPS_MAX: usize = 16;

pub(super) fn resolve(names: &[String]) -> Names {
    resolve_by(names, RESOLVE_TIMEOUT, |name| {
        let addresses = (name, 0).to_socket_addrs().map_err(|e| e.to_string())?;
        Ok(addresses.map(|address| address.ip().to_canonical()).collect())
    })
}

/// A lookup cannot be cancelled: late ones are left to their threads, which end with the process.
fn resolve_by(
    names: &[String],
    limit: Duration,
    lookup: impl Fn(&str) -> Result<Vec<IpAddr>, String> + Clone + Send + 'static,
) -> Names {
    let late = || Err(format!("no answer within {}", humantime::format_duration(limit)));
    let mut found: Names = names.iter().map(|name| (name.clone(), late())).collect();
    let queue: Arc<Mutex<VecDeque<String>>> = Arc::new(Mutex::new(found.keys().cloned().collect()));
    let (sender, receiver) = channel();
    for _ in 0..LOOKUPS_MAX.min(found.len()) {
        let (queue, lookup, sender) = (queue.clone(), lookup.clone(), sender.clone());
        thread::spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(name) = next() {
                let answer = lookup(&name);
                if sender.send((name, answer)).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let end = Instant::now() + limit;
    while let Ok((name, answer)) =
        receiver.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        found.insert(name, answer);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_hanging_lookup_times_out() {
        // Ends when the test does.
        let (_hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let names = ["hangs", "known", "unknown"].map(str::to_owned);
        let found = resolve_by(&names, Duration::from_millis(300), move |name| match name {
            "known" => Ok(vec!["192.0.2.1".parse().unwrap()]),
            "unknown" => Err("no such host".into()),
            _ => {
                let _ = held.lock().unwrap().recv();
                Err("ended".into())
            }
        });
        assert_eq!(found["known"], Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(found["unknown"], Err("no such host".into()));
        assert_eq!(found["hangs"], Err("no answer within 300ms".into()));
    }

    #[test]
    fn localhost_resolves_and_invalid_does_not() {
        // RFC 6761 section 6.4.
        let names = ["localhost", "lockgate.invalid"].map(str::to_owned);
        let found = resolve(&names);
        assert!(found["localhost"].as_ref().unwrap().iter().any(|it| it.is_loopback()));
        assert!(found["lockgate.invalid"].is_err());
    }
}
