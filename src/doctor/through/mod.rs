//! The way to a gateway through firewalls, tried as a client does it, from any machine (`--through`). The only
//! transfers are listings of the login folder.

mod alg;
mod client;
mod data_ports;
mod ftp;
mod listing;
mod observed;
mod sftp;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use rustls::RootCertStore;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::finding::Findings;
use super::firewall::Opening;
use super::reach::{self, Attempt};
use super::report::Report;

/// How a client reaches the gateway, and who it is.
pub struct Way {
    /// A name or an address.
    pub host: String,
    /// The port of the control connection, or of SFTP.
    pub port: u16,
    /// `None`: what the gateway's first bytes suggest.
    pub protocol: Option<Protocol>,
    /// The user name.
    pub user: String,
    /// Under TLS and over SSH sent only to a verified server; in clear only if `clear`.
    pub password: Zeroizing<Vec<u8>>,
    /// Also logs in without TLS, to compare the replies, if TLS has verified the server or is left out.
    pub clear: bool,
    /// Whose certificates are trusted. `None`: the system's authorities.
    pub authorities: Option<RootCertStore>,
    /// The name in the certificate. `None`: the host.
    pub server_name: Option<String>,
    /// Any certificate is accepted: the password may go to somebody else.
    pub accept_any_certificate: bool,
    /// The SHA-256 fingerprint of the SSH host key.
    pub host_key: Option<String>,
    /// The data ports, as clients see them; each is tried.
    pub data_ports: Option<RangeInclusive<u16>>,
}

/// What is spoken at the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// FTP in clear.
    Ftp,
    /// FTP with AUTH TLS (RFC 4217).
    ExplicitTls,
    /// FTP with TLS from the first byte on.
    ImplicitTls,
    /// SFTP.
    Sftp,
}

/// For a connection, and for the first bytes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server of FTP or SSH greets within this time; one that expects TLS does not.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// The usual port of implicit TLS.
const IMPLICIT_TLS_PORT: u16 = 990;

impl Way {
    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Tries the way. Takes a minute at most, and half a second for each data port that does not answer.
pub async fn examine(way: &Way) -> Report {
    let mut report = Report::default();
    let mut findings = Findings::new(format!("the way to {}", way.address()));
    let is_reached = reach::examine(&way.address(), None, CONNECT_TIMEOUT, &mut findings).await;
    let server = if is_reached { first_reached(&way.address()).await } else { None };
    let Some(server) = server else {
        report.add(findings);
        return report;
    };
    let protocol = match way.protocol {
        Some(protocol) => protocol,
        None => guess(server, way, &mut findings).await,
    };
    report.add(findings);
    let port = way.port.to_string();
    if protocol == Protocol::Sftp {
        report.add(sftp::examine(way).await);
        report.openings.push(Opening::new("this machine", &way.host, port, "SFTP"));
    } else {
        report.openings.push(Opening::new("this machine", &way.host, port, "control connections"));
        ftp::examine(way, server, protocol, &mut report).await;
    }
    report
}

/// The first address that accepts a connection.
async fn first_reached(address: &str) -> Option<SocketAddr> {
    for candidate in lookup_host(address).await.ok()? {
        if reach::attempt(candidate, None, CONNECT_TIMEOUT).await == Attempt::Connected {
            return Some(candidate);
        }
    }
    None
}

async fn guess(server: SocketAddr, way: &Way, findings: &mut Findings) -> Protocol {
    if way.port == IMPLICIT_TLS_PORT {
        findings.ok(
            "port 990: taken for FTP with TLS from the first byte on (--protocol says otherwise)",
        );
        return Protocol::ImplicitTls;
    }
    let mut first = [0; 4];
    let read = async {
        let mut tcp = TcpStream::connect(server).await.ok()?;
        tcp.read_exact(&mut first).await.ok()
    };
    let is_read = matches!(timeout(GREETING_TIMEOUT, read).await, Ok(Some(_)));
    match &first {
        _ if !is_read => {
            findings.ok(
                "it does not greet: taken for FTP with TLS from the first byte on (--protocol)",
            );
            Protocol::ImplicitTls
        }
        b"SSH-" => Protocol::Sftp,
        _ => Protocol::ExplicitTls,
    }
}
