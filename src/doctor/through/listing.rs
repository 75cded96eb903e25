//! A listing through firewalls: PASV or EPSV, the data connection, LIST (RFC 959, 2428).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::client::{Client, dial};
use super::observed::{Observed, Outcome, Passive};
use crate::doctor::finding::Findings;
use crate::doctor::reach::{self, Attempt};
use crate::net::Stream;
use crate::net::tls::ClientTls;
use crate::wire::ftp::host_port::{parse_epsv_reply, parse_pasv_reply};

/// For a whole listing.
const LISTING_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a listing.
const LISTING_MAX: u64 = 16 * 1024 * 1024;

/// Asks for a data port with `verb` and transfers a listing over it. `None`: no reply.
pub(super) async fn passive(
    verb: &str,
    client: &mut Client,
    observed: &Observed,
    tls: Option<&ClientTls>,
    findings: &mut Findings,
) -> Option<Passive> {
    let server = observed.server;
    let reply = match client.command(verb, b"").await {
        Ok(reply) => reply,
        Err(error) => {
            let remedy =
                "a firewall that inspects FTP may end the connection: let it inspect nothing here";
            findings.problem(error, remedy);
            return None;
        }
    };
    let address = match (verb, reply.code) {
        ("PASV", 227) => parse_pasv_reply(&reply.lines).ok().map(SocketAddr::from),
        ("EPSV", 229) => {
            parse_epsv_reply(&reply.lines).ok().map(|port| SocketAddr::new(server.ip(), port))
        }
        _ => None,
    };
    let Some(to) = address else {
        findings.warning_with(
            format!("{verb} was answered {reply}"),
            "clients that use this command cannot transfer",
        );
        return Some(Passive { reply, address, outcome: None });
    };
    let what = format!("{verb}: {reply}");
    // Whoever answers would choose which hosts this machine connects to.
    let outcome =
        if observed.is_same_host(to) { list(client, to, tls).await } else { Outcome::OtherHost };
    match &outcome {
        Outcome::Listed(bytes) => {
            findings
                .ok(format!("{what}; {to} was connected to, and sent a listing of {bytes} bytes"));
        }
        Outcome::NotConnected(attempt) => {
            let (how, remedy) = match attempt {
                Attempt::Refused => {
                    ("refuses connections", "forward the data ports to the gateway")
                }
                Attempt::Silent => (
                    "does not answer",
                    "let this machine connect to the data ports, and see that `advertise` names an address that \
                     it can reach",
                ),
                _ => (
                    "cannot be connected to",
                    "`advertise` must name an address that this machine can reach",
                ),
            };
            findings.problem(format!("{what}; but {to} {how}"), remedy);
        }
        Outcome::OtherHost => findings.warning_with(
            format!(
                "{what}; {} is not the host of the control connection, {}, so it was not connected to",
                to.ip(),
                server.ip().to_canonical()
            ),
            "`advertise` should name the address that clients connect to; or something on the way rewrites the reply",
        ),
        Outcome::Failed(error) => findings.problem(
            format!("{what}; {to} was connected to, but the listing failed: {error}"),
            "the gateway's log names the session's error",
        ),
    }
    Some(Passive { reply, address, outcome: Some(outcome) })
}

/// LIST of the login folder.
async fn list(client: &mut Client, to: SocketAddr, tls: Option<&ClientTls>) -> Outcome {
    let tcp = match dial(to).await {
        Ok(tcp) => tcp,
        Err(error) => return Outcome::NotConnected(reach::of_error(&error)),
    };
    let listed = async {
        let reply = client.command("LIST", b"").await?;
        if reply.code / 100 != 1 {
            return Err(reply.to_string());
        }
        let mut stream = match tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                tls.connect_data(tcp).await.map_err(|e| format!("the TLS handshake: {e}"))?
            }
        };
        let mut sink = tokio::io::sink();
        let bytes = tokio::io::copy(&mut (&mut stream).take(LISTING_MAX), &mut sink).await;
        let bytes = bytes.map_err(|e| format!("receiving: {e}"))?;
        drop(stream);
        let reply = client.reply().await?;
        if reply.code / 100 == 2 { Ok(bytes) } else { Err(reply.to_string()) }
    };
    match timeout(LISTING_TIMEOUT, listed).await {
        Ok(Ok(bytes)) => Outcome::Listed(bytes),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => Outcome::Failed("it takes too long".to_owned()),
    }
}
