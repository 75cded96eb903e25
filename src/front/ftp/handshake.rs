//! The server's half of the TLS handshake of a control connection (RFC 4217), and in words why it failed.

use std::io;
use std::ops::Range;
use std::time::Duration;

use rustls::{AlertDescription, Error, PeerIncompatible};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::Stream;
use crate::net::tls::ControlTls;
use crate::session::{ClientInfo, ClientRefusal, Gateway};
use crate::wire::first_bytes::{MAX_FIRST_BYTES, Protocol, old_tls_version, protocol};

/// The content type of the first record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: [u8; 1] = [22];

/// Why there is no TLS.
enum Failed {
    /// It only looked whether somebody is here, or whether TLS is.
    Silent,
    Refused(ClientRefusal, String),
}

/// Brings the connection under TLS within `limit`. `None`: it failed, and is logged and counted, unless
/// the client only looked whether somebody is here. `heard`: it has said something in clear before.
pub(super) async fn accept(
    gateway: &Gateway,
    client_info: &ClientInfo,
    tls: &ControlTls,
    tcp: TcpStream,
    limit: Duration,
    mut heard: bool,
) -> Option<Stream> {
    let accepted = timeout(limit, handshake(tls, tcp, &mut heard)).await;
    let failed = match accepted {
        Ok(Ok(stream)) => {
            let _ = client_info.encryption.set(stream.encryption());
            return Some(stream);
        }
        Ok(Err(failed)) => failed,
        Err(_) if !heard => Failed::Silent,
        Err(_) => {
            let what = "the client did not complete a TLS handshake in time (limits.login_timeout)";
            Failed::Refused(ClientRefusal::LoginTimeout, what.to_owned())
        }
    };
    match failed {
        Failed::Silent => gateway.ended_without_login(client_info, "there was no TLS handshake"),
        Failed::Refused(why, what) => gateway.client_refused(client_info, why, what),
    }
    None
}

async fn handshake(tls: &ControlTls, tcp: TcpStream, heard: &mut bool) -> Result<Stream, Failed> {
    let mut first = [0; MAX_FIRST_BYTES];
    let length = match tcp.peek(&mut first).await {
        Ok(length) if length > 0 => length,
        _ => return Err(Failed::Silent),
    };
    *heard = true;
    let first = &first[..length];
    match protocol(first) {
        Some(other @ (Protocol::Ssh | Protocol::Http)) => {
            let what = other_protocol_words(other).to_owned();
            Err(Failed::Refused(ClientRefusal::Speaks(other), what))
        }
        _ => match tls.accept_control(tcp).await {
            Ok(stream) => stream.ok_or(Failed::Silent),
            Err(_) if is_ssl_hello_check(first) => Err(Failed::Silent),
            Err(error) => {
                let (why, what) = explain(&error, first);
                Err(Failed::Refused(why, what))
            }
        },
    }
}

/// HAProxy's `option ssl-hello-chk`: a ClientHello of SSL 3.0, to which any answer will do. Its random
/// bytes say so.
fn is_ssl_hello_check(first: &[u8]) -> bool {
    const RANDOM: Range<usize> = 11..43;
    first.get(RANDOM).is_some_and(|random| random.windows(13).any(|it| it == b"HAPROXYSSLCHK"))
}

fn explain(error: &io::Error, first: &[u8]) -> (ClientRefusal, String) {
    use ClientRefusal as R;
    if !first.starts_with(&TLS_HANDSHAKE) {
        return (R::NoTls, "its first bytes are not TLS".to_owned());
    }
    if let Some(version) = old_tls_version(first) {
        let what =
            format!("the client offers {version} at most, and TLS 1.2 is the least that is served");
        return (R::TlsTooOld, what);
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon,
        )) => {
            (R::TlsHandshake, format!("the client offers no TLS algorithm that is served: {error}"))
        }
        Some(Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired),
        )) => {
            let what = format!(
                "the client does not accept the listener's certificate ({alert:?}); see `tls.certificate`"
            );
            (R::TlsHandshake, what)
        }
        _ => (R::TlsHandshake, format!("the TLS handshake failed: {error}")),
    }
}

/// What is told of a client that speaks another protocol, and what helps.
pub(super) fn other_protocol_words(other: Protocol) -> &'static str {
    match other {
        Protocol::Tls => {
            "it speaks TLS from its first byte: see `tls.mode: implicit`, or let the client use explicit \
             TLS (AUTH TLS)"
        }
        Protocol::Ssh => {
            "it speaks SSH; this is an FTP port, SFTP needs a listener with `protocol: sftp`"
        }
        Protocol::Http => "it speaks HTTP; this is an FTP port",
    }
}
