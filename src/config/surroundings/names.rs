//! Names of servers and of this gateway, looked up with the system's resolver.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What became of each name: its addresses, or why there are none.
pub(in crate::config) type Names = BTreeMap<String, Result<Vec<IpAddr>, String>>;

/// For all names together: somebody waits.
const LIMIT: Duration = Duration::from_secs(3);

/// Lookups at once.
const WORKERS: usize = 16;

pub(super) fn resolve(names: &[String]) -> Names {
    resolve_by(names, LIMIT, |name| {
        let addresses = (name, 0).to_socket_addrs().map_err(|e| e.to_string())?;
        Ok(addresses.map(|address| address.ip().to_canonical()).collect())
    })
}

/// A lookup cannot be ended: what is late is left to its thread, which ends with the process.
fn resolve_by(
    names: &[String],
    limit: Duration,
    lookup: impl Fn(&str) -> Result<Vec<IpAddr>, String> + Clone + Send + 'static,
) -> Names {
    let late = || Err(format!("no answer within {}", humantime::format_duration(limit)));
    let mut found: Names = names.iter().map(|name| (name.clone(), late())).collect();
    let queue: Arc<Mutex<VecDeque<String>>> = Arc::new(Mutex::new(found.keys().cloned().collect()));
    let (tell, told) = channel();
    for _ in 0..WORKERS.min(found.len()) {
        let (queue, lookup, tell) = (queue.clone(), lookup.clone(), tell.clone());
        thread::spawn(move || {
            let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(name) = next() {
                let answer = lookup(&name);
                if tell.send((name, answer)).is_err() {
                    return;
                }
            }
        });
    }
    drop(tell);
    let end = Instant::now() + limit;
    while let Ok((name, answer)) = told.recv_timeout(end.saturating_duration_since(Instant::now()))
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
    fn a_resolver_that_hangs_holds_nobody_up_for_longer_than_the_limit() {
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
    fn localhost_is_known_and_what_is_reserved_for_nobody_is_not() {
        // RFC 6761 section 6.4.
        let names = ["localhost", "lockgate.invalid"].map(str::to_owned);
        let found = resolve(&names);
        assert!(found["localhost"].as_ref().unwrap().iter().any(|it| it.is_loopback()));
        assert!(found["lockgate.invalid"].is_err());
    }
}
