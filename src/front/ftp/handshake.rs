//! The TLS handshake of a control connection (RFC 4217), and why it failed.

use std::io;
use std::ops::Range;
use std::time::Duration;

use rustls::{AlertDescription, Error, PeerIncompatible};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::Stream;
use crate::net::tls::{ControlTls, RefusedCertificate};
use crate::session::{Channel, ClientInfo, ClientRefusal, Gateway};
use crate::wire::first_bytes::{MAX_FIRST_BYTES, Protocol, old_tls_version, protocol};

/// The content type of the first record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: [u8; 1] = [22];

enum HandshakeError {
    /// A health check: no data, or only a ClientHello.
    HealthCheck,
    Refused(ClientRefusal, String),
}

/// Completes the handshake within `limit`. `None`: it failed, and is logged and counted, unless the
/// client was a health check. `received`: the client has sent something in clear before.
pub(super) async fn accept(
    gateway: &Gateway,
    client_info: &ClientInfo,
    tls: &ControlTls,
    tcp: TcpStream,
    limit: Duration,
    mut received: bool,
) -> Option<Stream> {
    let accepted = timeout(limit, handshake(tls, tcp, &mut received)).await;
    let error = match accepted {
        Ok(Ok(stream)) => {
            gateway.tls_established(&client_info.listener, Channel::Control, &stream);
            if let Some(protection) = stream.protection() {
                let _ = client_info.encryption.set(protection);
            }
            if let Some(name) = stream.server_name() {
                let _ = client_info.server_name.set(name.to_owned());
            }
            if let Some(certificate) = tls.certificate() {
                let _ = client_info.certificate.set(certificate.clone());
            }
            return Some(stream);
        }
        Ok(Err(error)) => error,
        Err(_) if !received => HandshakeError::HealthCheck,
        Err(_) => {
            let reason =
                "the client did not complete a TLS handshake in time (limits.login_timeout)";
            HandshakeError::Refused(ClientRefusal::LoginTimeout, reason.to_owned())
        }
    };
    match error {
        HandshakeError::HealthCheck => {
            gateway.ended_without_login(client_info, "there was no TLS handshake");
        }
        HandshakeError::Refused(kind, reason) => gateway.client_refused(client_info, kind, reason),
    }
    None
}

async fn handshake(
    tls: &ControlTls,
    tcp: TcpStream,
    received: &mut bool,
) -> Result<Stream, HandshakeError> {
    let mut first = [0; MAX_FIRST_BYTES];
    let length = match tcp.peek(&mut first).await {
        Ok(length) if length > 0 => length,
        _ => return Err(HandshakeError::HealthCheck),
    };
    *received = true;
    let first = &first[..length];
    match protocol(first) {
        Some(other @ (Protocol::Ssh | Protocol::Http)) => {
            let reason = other_protocol_reason(other).to_owned();
            Err(HandshakeError::Refused(ClientRefusal::Speaks(other), reason))
        }
        _ => match tls.accept_control(tcp).await {
            Ok(stream) => stream.ok_or(HandshakeError::HealthCheck),
            Err(_) if is_ssl_hello_check(first) => Err(HandshakeError::HealthCheck),
            Err(error) => {
                let (kind, reason) = explain(&error, first);
                Err(HandshakeError::Refused(kind, reason))
            }
        },
    }
}

/// HAProxy's `option ssl-hello-chk`: a ClientHello of SSL 3.0 that accepts any answer, recognized
/// by its random bytes.
fn is_ssl_hello_check(first: &[u8]) -> bool {
    const RANDOM: Range<usize> = 11..43;
    first.get(RANDOM).is_some_and(|random| random.windows(13).any(|it| it == b"HAPROXYSSLCHK"))
}

fn explain(error: &io::Error, first: &[u8]) -> (ClientRefusal, String) {
    use ClientRefusal as R;
    if !first.starts_with(&TLS_HANDSHAKE) {
        return (R::NoTls, "the client's first bytes are not TLS".to_owned());
    }
    if let Some(version) = old_tls_version(first) {
        let reason = format!("the client offers {version} at most; TLS 1.2 is the minimum");
        return (R::TlsTooOld, reason);
    }
    if let Some(refused) = RefusedCertificate::of(error) {
        return (R::ClientCertificate, refused.to_string());
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon,
        )) => (R::TlsHandshake, format!("no TLS algorithm in common: {error}")),
        Some(Error::NoCertificatesPresented) => {
            let reason = "the client has no certificate, and the listener has `tls.client_certificate: \
                          required`; configure one in the client";
            (R::NoClientCertificate, reason.to_owned())
        }
        Some(Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired),
        )) => {
            let reason = format!(
                "the client does not accept the listener's certificate ({alert:?}; tls.certificate)"
            );
            (R::TlsHandshake, reason)
        }
        _ => (R::TlsHandshake, format!("the TLS handshake failed: {error}")),
    }
}

/// For the log: what a client sent instead of FTP, and what helps.
pub(super) fn other_protocol_reason(other: Protocol) -> &'static str {
    match other {
        Protocol::Tls => {
            "the client uses implicit TLS; set `tls.mode: implicit`, or use explicit TLS (AUTH TLS) \
             in the client"
        }
        Protocol::Ssh => {
            "the client speaks SSH on an FTP port; SFTP needs a listener with `protocol: sftp`"
        }
        Protocol::Http => "the client speaks HTTP on an FTP port",
    }
}
