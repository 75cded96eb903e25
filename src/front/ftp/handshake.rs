//! The server's half of the TLS handshake of a control connection (RFC 4217), and in words why it failed.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, Error, PeerIncompatible};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::Stream;
use crate::net::tls::ControlTls;
use crate::session::{ClientRefusal, Door, Gateway};
use crate::wire::first_bytes::{ENOUGH, Protocol, old_tls_version, protocol};

/// Why there is no TLS.
enum Failed {
    /// It went without a word: it only looked whether somebody is here.
    Silent,
    Refused(ClientRefusal, String),
}

/// Brings the connection under TLS within `limit`. `None`: it failed, and is logged and counted.
pub(super) async fn accept(
    gateway: &Gateway,
    door: &Door,
    tls: &ControlTls,
    tcp: TcpStream,
    limit: Duration,
) -> Option<Stream> {
    let accepted = timeout(limit, handshake(tls, tcp)).await;
    let failed = match accepted {
        Ok(Ok(stream)) => {
            let _ = door.encryption.set(stream.encryption());
            return Some(stream);
        }
        Ok(Err(failed)) => failed,
        Err(_) => {
            let what = "no TLS handshake came in time (limits.login_timeout)";
            Failed::Refused(ClientRefusal::LoginTimeout, what.to_owned())
        }
    };
    match failed {
        Failed::Silent => {
            tracing::debug!(session = door.session, peer = %door.peer, listener = door.listener, "the connection ended before TLS began");
        }
        Failed::Refused(why, what) => gateway.client_refused(door, why, what),
    }
    None
}

async fn handshake(tls: &ControlTls, tcp: TcpStream) -> Result<Stream, Failed> {
    let mut first = [0; ENOUGH];
    let length = match tcp.peek(&mut first).await {
        Ok(length) if length > 0 => length,
        _ => return Err(Failed::Silent),
    };
    let first = &first[..length];
    match protocol(first) {
        Some(other @ (Protocol::Ssh | Protocol::Http)) => {
            let what = "it speaks another protocol than FTP over TLS";
            Err(Failed::Refused(ClientRefusal::Speaks(other), what.to_owned()))
        }
        _ => tls.accept_control(tcp).await.map_err(|error| {
            let (why, what) = explain(&error, first);
            Failed::Refused(why, what)
        }),
    }
}

fn explain(error: &io::Error, first: &[u8]) -> (ClientRefusal, String) {
    use ClientRefusal as R;
    if protocol(first) != Some(Protocol::Tls) && first.len() > 2 {
        return (R::NoTls, "what it sent first is no TLS".to_owned());
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
