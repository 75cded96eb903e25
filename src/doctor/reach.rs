//! Names, and whether TCP reaches their addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::finding::Findings;
use crate::net::connect_from;

/// Where no setting has a limit: for a lookup, and for each connection.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;
/// A lookup that takes longer delays each login.
const SLOW_LOOKUP: Duration = Duration::from_secs(1);

/// The end of an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Connected,
    /// By the machine, or by a firewall that answers.
    Refused,
    /// No answer: a firewall drops, or nothing has the address.
    Silent,
    NoRoute,
    /// Any other error of the system.
    Failed(io::ErrorKind),
}

/// What was found out about a `host:port`.
pub(super) struct Facts {
    pub lookup: Result<Vec<SocketAddr>, String>,
    pub lookup_time: Duration,
    /// In the order of the addresses.
    pub attempts: Vec<Attempt>,
}

/// Looks the address up and connects to each of its addresses, as a backend does. Returns whether one
/// answered.
pub(super) async fn examine(
    address: &str,
    source: Option<IpAddr>,
    limit: Duration,
    findings: &mut Findings,
) -> bool {
    let facts = gather(address, source, limit).await;
    judge(address, source, limit, &facts, findings)
}

async fn gather(address: &str, source: Option<IpAddr>, limit: Duration) -> Facts {
    let start = Instant::now();
    let lookup = match timeout(limit, lookup_host(address)).await {
        Ok(Ok(found)) => Ok(found.take(ADDRESSES_MAX).collect::<Vec<_>>()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(limit))),
    };
    let lookup_time = start.elapsed();
    let addresses = lookup.as_deref().unwrap_or_default().iter();
    let attempts = join_all(addresses.map(|address| attempt(*address, source, limit))).await;
    Facts { lookup, lookup_time, attempts }
}

/// Connects and closes.
pub(super) async fn attempt(
    address: SocketAddr,
    source: Option<IpAddr>,
    limit: Duration,
) -> Attempt {
    match timeout(limit, connect_from(source, address)).await {
        Ok(Ok(_)) => Attempt::Connected,
        Ok(Err(error)) => of_error(&error),
        Err(_) => Attempt::Silent,
    }
}

pub(super) fn of_error(error: &io::Error) -> Attempt {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Attempt::Refused,
        // It was accepted first: the gateway resets connections that no session expects.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Attempt::Connected,
        io::ErrorKind::TimedOut => Attempt::Silent,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Attempt::NoRoute,
        kind => Attempt::Failed(kind),
    }
}

fn judge(
    address: &str,
    source: Option<IpAddr>,
    limit: Duration,
    facts: &Facts,
    findings: &mut Findings,
) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let addresses = match &facts.lookup {
        Ok(addresses) if !addresses.is_empty() => addresses,
        Ok(_) => {
            findings.problem(format!("{host} has no address"), dns_remedy(host));
            return false;
        }
        Err(reason) => {
            findings.problem(format!("{host} does not resolve: {reason}"), dns_remedy(host));
            return false;
        }
    };
    let is_name = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    if is_name {
        judge_lookup(host, addresses, facts.lookup_time, findings);
    }
    let is_reached = facts.attempts.contains(&Attempt::Connected);
    for (at, attempt) in addresses.iter().zip(&facts.attempts) {
        let from = source.map(|source| format!(" from {source}")).unwrap_or_default();
        let (message, remedy) = match attempt {
            Attempt::Connected => {
                findings.ok(format!("{at} accepts connections{from}"));
                continue;
            }
            Attempt::Refused => (
                format!("{at} refuses connections{from}"),
                "is the server running, and is this its port? A firewall may refuse, too"
                    .to_owned(),
            ),
            Attempt::Silent => (
                format!("{at} does not answer{from} within {}", humantime::format_duration(limit)),
                format!(
                    "a firewall may drop the packets: it must let this machine connect to {at}"
                ),
            ),
            Attempt::NoRoute => (
                format!("{at} cannot be routed to{from}"),
                format!("`ip route get {}` shows the way", at.ip()),
            ),
            Attempt::Failed(kind) => (
                format!("connecting to {at}{from} fails: {kind}"),
                match source {
                    Some(source) => {
                        format!("is `source_address` {source} an address of this machine?")
                    }
                    None => String::new(),
                },
            ),
        };
        if is_reached {
            let so =
                "another address of the same server answers, but each login may wait for this one";
            findings.warning_with(format!("{message}; {so}"), remedy);
        } else {
            findings.problem(message, remedy);
        }
    }
    is_reached
}

fn judge_lookup(host: &str, addresses: &[SocketAddr], took: Duration, findings: &mut Findings) {
    let shown: Vec<_> = addresses.iter().map(|at| at.ip().to_string()).collect();
    let took_ms = took.as_millis();
    let message = format!("{host} is {} (looked up in {took_ms} ms)", shown.join(", "));
    if took > SLOW_LOOKUP {
        findings.warning_with(
            message,
            "slow lookups delay every login: use a near resolver, or write the address",
        );
    } else {
        findings.ok(message);
    }
}

fn dns_remedy(host: &str) -> String {
    format!("`getent ahosts {host}` asks as the gateway does; correct the name, /etc/hosts or DNS")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn judged(address: &str, facts: &Facts) -> (bool, Findings) {
        let mut findings = Findings::new("t");
        let reached = judge(address, None, TIMEOUT, facts, &mut findings);
        (reached, findings)
    }

    #[test]
    fn one_address_of_several_that_does_not_answer_is_a_warning() {
        let addresses = ["10.0.0.1:21", "10.0.0.2:21"].map(|at| at.parse().unwrap()).to_vec();
        let facts = |attempts: [Attempt; 2]| Facts {
            lookup: Ok(addresses.clone()),
            lookup_time: Duration::from_millis(3),
            attempts: attempts.to_vec(),
        };
        let (reached, found) =
            judged("s.example:21", &facts([Attempt::Silent, Attempt::Connected]));
        assert!(reached);
        let levels: Vec<_> = found.levels().into_iter().map(|(level, _)| level).collect();
        assert_eq!(levels, [Level::Ok, Level::Warning, Level::Ok], "{}", found.text());
        let (reached, found) = judged("s.example:21", &facts([Attempt::Silent, Attempt::Refused]));
        assert!(!reached);
        let text = found.text();
        assert_eq!(text.matches("problem").count(), 2, "{text}");
        assert!(text.contains("10.0.0.1:21 does not answer within 5s | a firewall"), "{text}");
        assert!(text.contains("10.0.0.2:21 refuses connections | is the server running"), "{text}");
    }

    #[test]
    fn names_without_an_address_and_slow_lookups_are_reported() {
        let failed = Facts {
            lookup: Err("no such host".into()),
            lookup_time: Duration::ZERO,
            attempts: Vec::new(),
        };
        let (reached, found) = judged("nowhere.example:21", &failed);
        assert!(!reached && found.text().contains("problem nowhere.example does not resolve"));
        let slow = Facts {
            lookup: Ok(vec!["10.0.0.1:21".parse().unwrap()]),
            lookup_time: Duration::from_secs(2),
            attempts: vec![Attempt::Connected],
        };
        let (reached, found) = judged("s.example:21", &slow);
        assert!(
            reached
                && found.text().starts_with("warning s.example is 10.0.0.1 (looked up in 2000 ms)")
        );
        // An address is not looked up.
        let (_, found) = judged("10.0.0.1:21", &slow);
        assert_eq!(found.levels().len(), 1);
    }

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        assert_eq!(attempt(address, None, TIMEOUT).await, Attempt::Connected);
        drop(free);
        assert_eq!(attempt(address, None, TIMEOUT).await, Attempt::Refused);
    }
}
