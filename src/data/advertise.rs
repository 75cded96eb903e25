//! The address and ports in the replies to PASV and EPSV. They differ from the listening ones where a NAT
//! or a load balancer translates addresses or ports.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::net::WeakMap;
use crate::task;

/// For one lookup of a name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Between the end of a lookup and the next.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(60);

/// The address and ports for the clients of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// `None`: every client.
    pub clients: Option<IpNet>,
    /// `None`: the address that the control connection came to.
    pub address: Option<Host>,
    /// Added to the listening port; 0 where ports are not translated. Every port of the pool stays within
    /// 1 to 65535.
    pub port_offset: i32,
}

/// An address, or a name that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A fixed address.
    Ip(IpAddr),
    /// Looked up at start and every minute.
    Name(String),
}

/// The address and ports for one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertised {
    /// For PASV replies and, at backends, PORT and EPRT; of the control connection's family.
    pub address: IpAddr,
    port_offset: i32,
}

/// No address can be advertised yet.
#[derive(Debug, thiserror::Error)]
#[error(
    "the gateway does not know its advertised address yet: {name} is not resolved ({reason}); try again"
)]
pub struct Unresolved {
    name: String,
    reason: String,
}

/// The `advertise` of a pool, with its names looked up.
pub(super) struct Advertiser {
    entries: Vec<(Advertise, Option<Arc<Lookup>>)>,
}

/// The names that pools advertise, with their addresses: another configuration goes on with them.
#[derive(Default)]
pub(super) struct Lookups(WeakMap<(String, String), Lookup>);

/// One name and its addresses.
struct Lookup {
    pool: String,
    name: String,
    is_served: AtomicBool,
    state: Mutex<State>,
}

impl Lookups {
    fn of(&self, pool: &str, name: &str) -> Arc<Lookup> {
        self.0.forget_ended(|_| {});
        self.0.get_or_insert_with(&(pool.to_owned(), name.to_owned()), || Lookup {
            pool: pool.to_owned(),
            name: name.to_owned(),
            is_served: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }
}

/// The last good address of each family: a resolver may fail for one family only.
#[derive(Default)]
struct State {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    /// Of the last lookup.
    failure: Option<String>,
}

impl Advertised {
    /// The port to advertise for a listening one.
    pub fn port(self, listened: u16) -> u16 {
        u16::try_from(i32::from(listened) + self.port_offset).unwrap_or(listened)
    }
}

impl Advertiser {
    pub(super) fn new(pool: &str, entries: &[Advertise], known: &Lookups) -> Self {
        let with_lookup = |entry: &Advertise| {
            let lookup = match &entry.address {
                Some(Host::Name(name)) => Some(known.of(pool, name)),
                _ => None,
            };
            (entry.clone(), lookup)
        };
        Self { entries: entries.iter().map(with_lookup).collect() }
    }

    /// Looks the names up until `stop`, or nobody advertises them any more.
    pub(super) fn serve(&self, stop: &CancellationToken) {
        for lookup in self.entries.iter().filter_map(|(_, lookup)| lookup.as_ref()) {
            if !lookup.is_served.swap(true, Ordering::Relaxed) {
                let repeated = Lookup::repeat(Arc::downgrade(lookup), resolved);
                task::spawn(stop.clone().run_until_cancelled_owned(repeated));
            }
        }
    }

    /// For `client`, whose control connection came to `local`: the first entry that matches the client
    /// and has an address of the connection's family.
    pub(super) fn advertised(
        &self,
        client: IpAddr,
        local: IpAddr,
    ) -> Result<Advertised, Unresolved> {
        for (entry, lookup) in &self.entries {
            if !entry.clients.is_none_or(|network| network.contains(&client)) {
                continue;
            }
            let address = match (&entry.address, lookup) {
                (None, _) => Some(local),
                (Some(Host::Ip(address)), _) => Some(*address),
                (Some(Host::Name(_)), Some(lookup)) => lookup.address(local)?,
                (Some(Host::Name(_)), None) => None,
            };
            if let Some(address) = address.filter(|it| it.is_ipv4() == local.is_ipv4()) {
                return Ok(Advertised { address, port_offset: entry.port_offset });
            }
        }
        Ok(Advertised { address: local, port_offset: 0 })
    }
}

impl Lookup {
    /// The address of the family of `local`; `None` if the name has none.
    fn address(&self, local: IpAddr) -> Result<Option<IpAddr>, Unresolved> {
        let state = self.lock();
        if state.v4.or(state.v6).is_none() {
            let reason = state.failure.as_deref().unwrap_or("the lookup is under way");
            return Err(Unresolved { name: self.name.clone(), reason: reason.to_owned() });
        }
        Ok(if local.is_ipv4() { state.v4 } else { state.v6 })
    }

    /// Repeats the lookup, one at a time, as long as somebody has it.
    async fn repeat<F>(this: Weak<Self>, resolve: impl Fn(String) -> F)
    where
        F: Future<Output = Result<Vec<IpAddr>, String>>,
    {
        loop {
            let Some(name) = this.upgrade().map(|this| this.name.clone()) else { return };
            let note = |answer| this.upgrade().into_iter().for_each(|it| it.note(&answer));
            let lookup = resolve(name);
            tokio::pin!(lookup);
            let answer = match timeout(LOOKUP_TIMEOUT, &mut lookup).await {
                Ok(answer) => answer,
                Err(_) => {
                    let limit = humantime::format_duration(LOOKUP_TIMEOUT);
                    note(Err(format!("no answer within {limit}")));
                    lookup.await
                }
            };
            note(answer);
            sleep(LOOKUP_INTERVAL).await;
        }
    }

    /// Records an answer, and logs what has changed.
    fn note(&self, answer: &Result<Vec<IpAddr>, String>) {
        let addresses = answer.clone().and_then(|mut addresses| {
            addresses.retain(|address| !address.is_unspecified() && !address.is_multicast());
            // The order may change from answer to answer.
            addresses.sort();
            if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
        });
        let Self { pool, name, .. } = self;
        let mut state = self.lock();
        match addresses {
            Ok(addresses) => {
                let v4 = addresses.iter().find(|it| it.is_ipv4()).copied().or(state.v4);
                let v6 = addresses.iter().find(|it| it.is_ipv6()).copied().or(state.v6);
                if state.failure.take().is_some() || (v4, v6) != (state.v4, state.v6) {
                    let shown = |address: Option<IpAddr>| address.map(|it| it.to_string());
                    tracing::info!(
                        pool,
                        name,
                        v4 = shown(v4),
                        v6 = shown(v6),
                        "advertised name resolved"
                    );
                }
                (state.v4, state.v6) = (v4, v6);
            }
            Err(error) => {
                if state.failure.as_ref() != Some(&error) {
                    let known = state.v4.or(state.v6).is_some();
                    let then = if known { "the last answer is kept" } else { "PASV is refused" };
                    tracing::warn!(
                        pool,
                        name,
                        error,
                        "advertised name cannot be looked up: {then}; trying again every minute"
                    );
                }
                state.failure = Some(error);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn resolved(name: String) -> Result<Vec<IpAddr>, String> {
    let addresses = tokio::net::lookup_host((name, 0)).await.map_err(|e| e.to_string())?;
    Ok(addresses.map(|address| address.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn entry(clients: &str, address: Option<&str>, port_offset: i32) -> Advertise {
        let address = address.map(|text| match text.parse() {
            Ok(ip) => Host::Ip(ip),
            Err(_) => Host::Name(text.to_owned()),
        });
        Advertise { clients: clients.parse().ok(), address, port_offset }
    }

    fn shown(advertiser: &Advertiser, client: &str, local: &str) -> String {
        match advertiser.advertised(ip(client), ip(local)) {
            Ok(found) => format!("{} {}", found.address, found.port(50000)),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn the_first_matching_entry_of_the_connections_family_is_advertised() {
        let advertiser = Advertiser::new(
            "p",
            &[
                entry("10.0.0.0/8", Some("10.0.0.5"), 0),
                entry("192.0.2.0/24", None, -20000),
                entry("", Some("2001:db8::7"), 0),
                entry("", Some("203.0.113.7"), 10000),
            ],
            &Lookups::default(),
        );
        for (client, local, expected) in [
            ("10.1.1.1", "10.0.0.1", "10.0.0.5 50000"),
            ("192.0.2.9", "10.0.0.1", "10.0.0.1 30000"),
            ("198.51.100.1", "10.0.0.1", "203.0.113.7 60000"),
            ("2001:db8::99", "fd00::1", "2001:db8::7 50000"),
        ] {
            assert_eq!(shown(&advertiser, client, local), expected);
        }
        assert_eq!(
            shown(&Advertiser::new("p", &[], &Lookups::default()), "192.0.2.9", "10.0.0.1"),
            "10.0.0.1 50000"
        );
    }

    /// One answer after the other, the last one repeated. `None`: an answer after half a minute.
    async fn after(answers: &[Option<Result<&[&str], &str>>], time: Duration) -> Advertiser {
        let advertiser =
            Advertiser::new("p", &[entry("", Some("ftp.example.com"), 0)], &Lookups::default());
        let lookup = advertiser.entries[0].1.clone().unwrap();
        let answers: VecDeque<_> = answers.iter().copied().collect();
        let answers = Mutex::new(answers);
        let resolve = |name: String| {
            assert_eq!(name, "ftp.example.com");
            let mut answers = answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.pop_front() } else { Some(answers[0]) };
            async move {
                let Some(answer) = answer.unwrap() else {
                    sleep(Duration::from_secs(30)).await;
                    return Ok(vec![ip("192.0.2.30")]);
                };
                let addresses = answer.map_err(str::to_owned)?;
                Ok(addresses.iter().map(|text| ip(text)).collect())
            }
        };
        assert!(timeout(time, Lookup::repeat(Arc::downgrade(&lookup), resolve)).await.is_err());
        advertiser
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_again_and_the_last_good_address_is_kept() {
        let seconds = Duration::from_secs;
        let (first, second) =
            (Some(Ok(&["192.0.2.2", "192.0.2.1"][..])), Some(Ok(&["192.0.2.9"][..])));
        let client = |advertiser: &Advertiser| shown(advertiser, "198.51.100.1", "10.0.0.1");
        assert_eq!(client(&after(&[first, second], seconds(59)).await), "192.0.2.1 50000");
        assert_eq!(client(&after(&[first, second], seconds(61)).await), "192.0.2.9 50000");
        let failing = after(&[first, Some(Err("SERVFAIL"))], seconds(600)).await;
        assert_eq!(client(&failing), "192.0.2.1 50000");
        // An answer for one family keeps the other.
        let v6 = after(&[first, Some(Ok(&["2001:db8::1"]))], seconds(61)).await;
        assert_eq!(client(&v6), "192.0.2.1 50000");
        assert_eq!(shown(&v6, "2001:db8::2", "fd00::1"), "2001:db8::1 50000");
    }

    #[test]
    fn another_configuration_knows_the_address_at_once() {
        let (known, entries) = (Lookups::default(), [entry("", Some("ftp.example.com"), 0)]);
        let one = Advertiser::new("p", &entries, &known);
        let lookup = one.entries[0].1.clone().unwrap();
        lookup.note(&Ok(vec![ip("192.0.2.1")]));
        let next = Advertiser::new("p", &entries, &known);
        drop((one, lookup));
        assert_eq!(shown(&next, "198.51.100.1", "10.0.0.1"), "192.0.2.1 50000");
        drop(next);
        let later = Advertiser::new("p", &entries, &known);
        assert!(shown(&later, "198.51.100.1", "10.0.0.1").contains("not resolved"));
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_good_answer_the_error_has_a_reason() {
        let seconds = Duration::from_secs;
        let shown = |advertiser: &Advertiser| shown(advertiser, "198.51.100.1", "10.0.0.1");
        let unknown = "the gateway does not know its advertised address yet: ftp.example.com is not \
                       resolved";
        let failing = after(&[Some(Err("SERVFAIL"))], seconds(1)).await;
        assert_eq!(shown(&failing), format!("{unknown} (SERVFAIL); try again"));
        let useless = after(&[Some(Ok(&["0.0.0.0"]))], seconds(1)).await;
        assert_eq!(shown(&useless), format!("{unknown} (it has no address); try again"));
        let early = after(&[None], seconds(1)).await;
        assert_eq!(shown(&early), format!("{unknown} (the lookup is under way); try again"));
        let late = after(&[None], seconds(20)).await;
        assert_eq!(shown(&late), format!("{unknown} (no answer within 10s); try again"));
        // A late answer is used.
        assert_eq!(shown(&after(&[None], seconds(31)).await), "192.0.2.30 50000");
    }
}
