//! A session of FTP through firewalls: in clear or under TLS, with a listing over PASV and one over EPSV (RFC 959,
//! 2428, 4217).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{Client, dial};
use super::listing::passive;
use super::observed::Observed;
use super::{Protocol, Way, alg, data_ports};
use crate::doctor::finding::Findings;
use crate::doctor::firewall::Opening;
use crate::doctor::report::Report;
use crate::net::Stream;
use crate::net::tls::{
    CertificateSummary, ClientTls, DistrustedCertificate, SessionReuse, calendar_date,
};
use crate::op::PeerReply;
use crate::wire::ftp::host_port::format_port;

/// For a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Adds the findings of all sessions.
pub(super) async fn examine(
    way: &Way,
    server: SocketAddr,
    protocol: Protocol,
    report: &mut Report,
) {
    let mut under_tls = None;
    if protocol != Protocol::Ftp {
        let mut findings = Findings::new("under TLS");
        under_tls = session(way, server, protocol, &mut findings).await;
        report.add(findings);
    }
    let mut in_clear = None;
    let clear = protocol == Protocol::Ftp || (way.clear && protocol == Protocol::ExplicitTls);
    if clear {
        let mut findings = Findings::new("in clear");
        let is_verified = under_tls.as_ref().is_some_and(|seen: &Observed| seen.is_verified);
        if protocol == Protocol::Ftp || is_verified {
            in_clear = session(way, server, Protocol::Ftp, &mut findings).await;
        } else {
            findings.skipped(
                "no login in clear: TLS did not show that this is the gateway, so it gets no password",
                "see above; --protocol ftp with --clear sends the password to whoever answers",
            );
        }
        report.add(findings);
    }
    let mut findings = Findings::new("application-level gateways (ALG) on the way");
    alg::judge(in_clear.as_ref(), under_tls.as_ref(), protocol, &mut findings);
    report.add(findings);
    // Under TLS nobody on the way has changed it.
    let advertised = [&under_tls, &in_clear].into_iter().flatten().find_map(Observed::data_address);
    if let Some(address) = advertised {
        let mut findings = Findings::new("data ports");
        data_ports::examine(address, way.data_ports.clone(), &mut findings).await;
        report.add(findings);
        let ports = way.data_ports.as_ref().map_or_else(
            || format!("{}, and the others of `data_ports`", address.port()),
            |ports| format!("{}-{}", ports.start(), ports.end()),
        );
        let to = address.ip().to_string();
        report.openings.push(Opening::new("this machine", to, ports, "data connections"));
    }
}

/// `None`: there is nothing to compare. The findings say why.
async fn session(
    way: &Way,
    server: SocketAddr,
    protocol: Protocol,
    findings: &mut Findings,
) -> Option<Observed> {
    let tls = match client_tls(way, protocol) {
        Ok(tls) => tls,
        Err(error) => {
            findings
                .problem(error, "give a file with certificates (--ca), or a valid --server-name");
            return None;
        }
    };
    let versions = if tls.is_some() { &[false, true][..] } else { &[false] };
    for &fallback in versions {
        let tls = tls.as_ref().map(|tls| tls.session(fallback));
        let mut attempt = Findings::new(findings.topic());
        match open(server, protocol, tls.as_ref(), &mut attempt).await {
            Err(Stop::Versions) if !fallback => {}
            Err(stop) => {
                findings.append(attempt);
                return stop.observed();
            }
            Ok((client, observed)) => {
                findings.append(attempt);
                if tls.is_none() && !way.clear {
                    findings.skipped(
                        "no login: it would send the password in clear",
                        "--clear does so; use an account for tests",
                    );
                    return Some(observed);
                }
                return Some(log_in(way, client, observed, tls.as_ref(), findings).await);
            }
        }
    }
    None
}

fn client_tls(way: &Way, protocol: Protocol) -> Result<Option<ClientTls>, String> {
    if protocol == Protocol::Ftp {
        return Ok(None);
    }
    let name = way.server_name.as_ref().unwrap_or(&way.host);
    let verify = !way.accept_any_certificate;
    // Gateways may require that data connections resume the session.
    ClientTls::new(name, way.authorities.clone(), verify, SessionReuse::Auto)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// Why a session ends before the login.
enum Stop {
    /// The server has none of the offered versions of TLS.
    Versions,
    /// The findings say it.
    Told(Option<Box<Observed>>),
}

impl Stop {
    fn observed(self) -> Option<Observed> {
        match self {
            Self::Versions => None,
            Self::Told(observed) => observed.map(|it| *it),
        }
    }
}

async fn open(
    server: SocketAddr,
    protocol: Protocol,
    tls: Option<&ClientTls>,
    findings: &mut Findings,
) -> Result<(Client, Observed), Stop> {
    let tcp = match dial(server).await {
        Ok(tcp) => tcp,
        Err(error) => {
            findings.problem(format!("connecting to {server}: {error}"), "try again");
            return Err(Stop::Told(None));
        }
    };
    let mut client = match (protocol, tls) {
        (Protocol::ImplicitTls, Some(tls)) => Client::new(handshake(tls, tcp, findings).await?),
        _ => Client::new(Stream::Plain(tcp)),
    };
    let greeting = match client.reply().await {
        Ok(reply) => reply,
        Err(error) => {
            findings.problem(
                format!("there is no greeting of FTP: {error}"),
                "is this the gateway's port? --protocol says what is spoken there",
            );
            return Err(Stop::Told(None));
        }
    };
    findings.ok(format!("it greets: {greeting}"));
    let mut observed = Observed::new(server, greeting);
    if protocol == Protocol::ExplicitTls
        && let Some(tls) = tls
    {
        if let Ok(features) = client.command("FEAT", b"").await {
            let is_auth = |line: &Vec<u8>| line.trim_ascii_start().starts_with(b"AUTH");
            observed.announces_auth = features.code == 211 && features.lines.iter().any(is_auth);
        }
        client = authenticate(client, tls, &mut observed, findings).await?;
    }
    // Otherwise the handshake has failed.
    observed.is_verified = tls.is_some();
    Ok((client, observed))
}

/// AUTH TLS (RFC 4217 section 4).
async fn authenticate(
    mut client: Client,
    tls: &ClientTls,
    observed: &mut Observed,
    findings: &mut Findings,
) -> Result<Client, Stop> {
    match client.command("AUTH", b"TLS").await {
        Ok(reply) => {
            let is_accepted = reply.code == 234;
            let shown = reply.to_string();
            observed.auth = Some(reply);
            if !is_accepted {
                findings.problem(
                    format!("AUTH TLS was refused: {shown}; no password was sent"),
                    "does the listener have `tls`? Otherwise something on the way refuses it. To log in \
                     without TLS, use --protocol ftp with --clear",
                );
                return Err(Stop::Told(Some(Box::new(observed.clone()))));
            }
        }
        Err(error) => {
            findings.problem(
                error,
                "a firewall that inspects FTP may drop what it does not know: let it inspect nothing here",
            );
            return Err(Stop::Told(Some(Box::new(observed.clone()))));
        }
    }
    match client.into_stream() {
        Stream::Plain(tcp) => Ok(Client::new(handshake(tls, tcp, findings).await?)),
        stream @ Stream::Tls(_) => Ok(Client::new(stream)),
    }
}

async fn handshake(
    tls: &ClientTls,
    tcp: TcpStream,
    findings: &mut Findings,
) -> Result<Stream, Stop> {
    let error = match timeout(HANDSHAKE_TIMEOUT, tls.connect(tcp)).await {
        Ok(Ok(stream)) => {
            if let Some(protection) = stream.protection() {
                findings.ok(protection.to_string());
            }
            if let Some(certificate) = CertificateSummary::of_peer(&stream) {
                let until = calendar_date(certificate.until);
                let subject = certificate.display_name();
                findings.ok(format!("certificate \"{subject}\", valid until {until}"));
            }
            return Ok(stream);
        }
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    if is_about_versions(&error) && tls.has_fallback() {
        return Err(Stop::Versions);
    }
    match DistrustedCertificate::of(&error) {
        Some(distrusted) => findings.problem(
            format!("{distrusted}; no password was sent"),
            "--ca names a file with the authority's certificate, --server-name the name in it. If it is not the \
             gateway's certificate, a firewall on the way opens TLS itself",
        ),
        None => findings.problem(
            format!("the TLS handshake failed: {error}"),
            "does the port expect TLS from the first byte (--protocol), and is that what answers here the gateway?",
        ),
    }
    Err(Stop::Told(None))
}

fn is_about_versions(error: &io::Error) -> bool {
    use rustls::{AlertDescription, Error};
    matches!(
        error.get_ref().and_then(|e| e.downcast_ref::<Error>()),
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_))
    )
}

/// USER, PASS, PBSZ, PROT; then the listings.
async fn log_in(
    way: &Way,
    mut client: Client,
    mut observed: Observed,
    tls: Option<&ClientTls>,
    findings: &mut Findings,
) -> Observed {
    let code_and_text = |reply: Result<PeerReply, String>| match reply {
        Ok(reply) => (reply.code, reply.to_string()),
        Err(error) => (0, error),
    };
    let (mut code, mut shown) = code_and_text(client.command("USER", way.user.as_bytes()).await);
    if code == 331 {
        (code, shown) = code_and_text(client.command("PASS", &way.password).await);
    } else if tls.is_none() && code / 100 == 5 {
        findings.ok(format!("logins without TLS are refused before the password: {shown}"));
        return observed;
    }
    if code / 100 != 2 {
        findings.problem(
            format!("the login of {} failed: {shown}", way.user),
            "are user and password right? On the gateway, the log and `lockgate explain` tell more",
        );
        return observed;
    }
    findings.ok(format!("{} is logged in", way.user));
    if tls.is_some() {
        for (verb, argument) in [("PBSZ", "0"), ("PROT", "P")] {
            let (code, shown) = code_and_text(client.command(verb, argument.as_bytes()).await);
            if code != 200 {
                findings.problem(
                    format!("{verb} {argument} was refused: {shown}"),
                    "is this lockgate?",
                );
                return observed;
            }
        }
    }
    // PASV cannot carry an address of IPv6.
    if observed.server.is_ipv4() {
        let pasv = passive("PASV", &mut client, &observed, tls, findings).await;
        observed.pasv = pasv;
    }
    observed.epsv = passive("EPSV", &mut client, &observed, tls, findings).await;
    // No transfer follows: only whether the gateway takes the address for the client's is of interest.
    if let Ok(SocketAddr::V4(own)) = client.local_addr() {
        observed.port = client.command("PORT", format_port(own).as_bytes()).await.ok();
    }
    let _ = client.command("QUIT", b"").await;
    observed
}
