//! Whether the addresses in replies to PASV lead back to this machine. Without a gateway that holds the ports, one
//! is opened for a moment.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::finding::Findings;
use super::reach::{self, Attempt};
use super::running::RunningGateway;
use crate::config::Compiled;
use crate::data::{Advertise, Host, PoolSettings, Ports};
use crate::net::{Acceptor, accept, listen};

/// For the whole way there and back.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Bytes that show whose connection arrived.
const TOKEN_LENGTH: usize = 16;

/// Where a connection to an advertised address ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// At the port that was opened for it.
    Arrived,
    /// The running gateway has the port, and has noted the connection as one that no session expects.
    Noted,
    /// It was accepted elsewhere.
    Elsewhere,
    NotConnected(Attempt),
    /// Another program has the port, or this user may not open it.
    NoPort(io::ErrorKind),
}

pub(super) async fn examine(config: &Compiled, running: &RunningGateway) -> Findings {
    let mut all = Findings::new("");
    // With a proxy, a connection without its header is refused.
    for pool in config.pools.iter().filter(|pool| pool.proxy_protocol.is_empty()) {
        let Ports::Range(range) = &pool.ports else { continue };
        let mut findings = Findings::new(format!("data ports \"{}\"", pool.name));
        for entry in &pool.advertise {
            let Some(host) = &entry.address else { continue };
            for ip in addresses(host, &mut findings).await {
                let port = advertised_port(entry, *range.start());
                let at = SocketAddr::new(ip, port);
                let outcome = try_way(pool, *range.start(), at, running).await;
                judge(at, outcome, &mut findings);
            }
        }
        all.append(findings);
    }
    all
}

fn advertised_port(entry: &Advertise, listened: u16) -> u16 {
    u16::try_from(i32::from(listened) + entry.port_offset).unwrap_or(listened)
}

async fn addresses(host: &Host, findings: &mut Findings) -> Vec<IpAddr> {
    let name = match host {
        Host::Ip(ip) => return vec![*ip],
        Host::Name(name) => name,
    };
    let remedy = "clients to which it is advertised are refused PASV until it resolves";
    match timeout(reach::TIMEOUT, lookup_host((name.as_str(), 0))).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.map(|it| it.ip()).take(ADDRESSES_MAX).collect();
            let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
            findings.ok(format!("the advertised name {name} is {}", shown.join(", ")));
            found
        }
        Ok(Err(error)) => {
            findings
                .problem(format!("the advertised name {name} does not resolve: {error}"), remedy);
            Vec::new()
        }
        Err(_) => {
            findings.problem(
                format!("the lookup of the advertised name {name} takes too long"),
                remedy,
            );
            Vec::new()
        }
    }
}

async fn try_way(
    pool: &PoolSettings,
    port: u16,
    to: SocketAddr,
    running: &RunningGateway,
) -> Outcome {
    if running.has_data_port(port) {
        let before = running.last_stray(port).await;
        return match reach::attempt(to, None, TIMEOUT).await {
            Attempt::Connected if running.has_stray_after(port, &before, TIMEOUT).await => {
                Outcome::Noted
            }
            Attempt::Connected => Outcome::Elsewhere,
            attempt => Outcome::NotConnected(attempt),
        };
    }
    let own = pool.listen.iter().filter(|ip| ip.is_ipv4() == to.is_ipv4());
    let listeners: Result<Vec<_>, _> =
        own.map(|ip| listen(SocketAddr::new(*ip, port)).map(Acceptor::new)).collect();
    match listeners {
        Ok(listeners) => send_token(listeners, to).await,
        Err(error) => Outcome::NoPort(error.kind()),
    }
}

/// Connects and sends random bytes, for which the listeners wait.
async fn send_token(listeners: Vec<Acceptor>, to: SocketAddr) -> Outcome {
    let token: [u8; TOKEN_LENGTH] = rand::random();
    let arrived = join_all(listeners.iter().map(|listener| async {
        let waited = timeout(TIMEOUT, async {
            loop {
                let (mut tcp, _) = accept(listener).await;
                let mut received = [0; TOKEN_LENGTH];
                if tcp.read_exact(&mut received).await.is_ok() && received == token {
                    return;
                }
            }
        });
        waited.await.is_ok()
    }));
    let sent = timeout(TIMEOUT, async {
        let mut tcp = TcpStream::connect(to).await?;
        tcp.write_all(&token).await?;
        io::Result::Ok(tcp)
    });
    tokio::pin!(arrived);
    tokio::select! {
        sent = sent => match sent {
            // Kept open until it was seen.
            Ok(Ok(_open)) => {
                let arrived = arrived.await.contains(&true);
                if arrived { Outcome::Arrived } else { Outcome::Elsewhere }
            }
            Ok(Err(error)) => match reach::of_error(&error) {
                Attempt::Connected => Outcome::Elsewhere,
                attempt => Outcome::NotConnected(attempt),
            },
            Err(_) => Outcome::NotConnected(Attempt::Silent),
        },
        arrived = &mut arrived => if arrived.contains(&true) {
            Outcome::Arrived
        } else {
            Outcome::NotConnected(Attempt::Silent)
        },
    }
}

const HAIRPIN: &str = "many NATs do not lead machines behind them back in (hairpin NAT), and clients outside may \
                       succeed all the same: `lockgate doctor --through HOST:PORT` on a machine outside tells";

fn judge(at: SocketAddr, outcome: Outcome, findings: &mut Findings) {
    match outcome {
        Outcome::Arrived => findings.ok(format!("the advertised {at} leads to this machine")),
        Outcome::Noted => findings.ok(format!("the advertised {at} leads to the running gateway")),
        Outcome::Elsewhere => findings.warning_with(
            format!("the advertised {at} accepts connections, but they do not arrive here"),
            "does the NAT forward the port to this machine, and to this port? Data connections would reach \
             somebody else",
        ),
        Outcome::NotConnected(attempt) => {
            let what = match attempt {
                Attempt::Refused => "refuses connections",
                Attempt::NoRoute => "cannot be routed to",
                _ => "does not answer",
            };
            findings.warning_with(format!("the advertised {at} {what} from this machine"), HAIRPIN);
        }
        Outcome::NoPort(kind) => findings.skipped(
            format!("the advertised {at} was not tried: its port cannot be opened here ({kind})"),
            "see the data ports above",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_cannot_reach_itself_is_a_warning_only() {
        let judged = |outcome| {
            let mut findings = Findings::new("t");
            judge("203.0.113.7:50000".parse().unwrap(), outcome, &mut findings);
            findings.text()
        };
        let text = judged(Outcome::NotConnected(Attempt::Silent));
        assert!(text.starts_with("warning the advertised 203.0.113.7:50000 does not answer"));
        assert!(text.contains("hairpin"), "{text}");
        assert!(judged(Outcome::Elsewhere).starts_with("warning"));
        assert!(judged(Outcome::Arrived).starts_with("ok"));
        assert!(judged(Outcome::NoPort(io::ErrorKind::AddrInUse)).starts_with("skipped"));
    }

    #[tokio::test]
    async fn a_connection_that_arrives_elsewhere_is_noticed() {
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listen = |at| listen(at).map(Acceptor::new);
        let (here, elsewhere) = (listen(local).unwrap(), listen(local).unwrap());
        let (to, other) = (here.local_addr().unwrap(), elsewhere.local_addr().unwrap());
        assert_eq!(send_token(vec![here], to).await, Outcome::Arrived);
        let here = listen(local).unwrap();
        assert_eq!(send_token(vec![here], other).await, Outcome::Elsewhere);
        drop(elsewhere);
        let here = listen(local).unwrap();
        let refused = send_token(vec![here], other).await;
        assert_eq!(refused, Outcome::NotConnected(Attempt::Refused));
    }
}
