//! Connecting: TCP, the PROXY protocol header, TLS (RFC 4217) and the greeting (RFC 959 section 5.4).

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::backend::ftp::Shared;
use crate::backend::ftp::control::Control;
use crate::backend::ftp::reply;
use crate::backend::ftp::settings::{Settings, TlsMode};
use crate::backend::{Origin, SendProxyProtocol};
use crate::net::Stream;
use crate::net::tls::{ClientTls, Distrust, DistrustedCertificate};
use crate::op::{Failure, FailureKind, Outage};

/// A greeted control connection, protected as configured. A server that does not know the preferred
/// TLS versions is asked again with the others.
pub(super) async fn open(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
) -> Result<(Control, Option<ClientTls>), Failure> {
    let (implicit, tls) = match &settings.tls {
        TlsMode::None => (false, None),
        TlsMode::Explicit(tls) => (false, Some(tls)),
        TlsMode::Implicit(tls) => (true, Some(tls)),
    };
    let Some(tls) = tls else {
        let control =
            greeted(settings, Stream::Plain(connect(settings, shared, origin).await?)).await?;
        return Ok((control, None));
    };
    match protected(settings, shared, origin, implicit, tls.session(false)).await {
        Err(OpenError::Versions(_)) if tls.has_fallback() => {
            protected(settings, shared, origin, implicit, tls.session(true))
                .await
                .map_err(Failure::from)
        }
        opened => opened.map_err(Failure::from),
    }
}

enum OpenError {
    /// The server knows none of the TLS versions that were offered.
    Versions(Failure),
    Other(Failure),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Versions(failure) | OpenError::Other(failure) => failure,
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        OpenError::Other(failure)
    }
}

async fn protected(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
    implicit: bool,
    tls: ClientTls,
) -> Result<(Control, Option<ClientTls>), OpenError> {
    let tcp = connect(settings, shared, origin).await?;
    let control = if implicit {
        let stream = handshake(settings, &tls, tcp).await?;
        greeted(settings, stream).await?
    } else {
        let mut control = greeted(settings, Stream::Plain(tcp)).await?;
        let words = control.command("AUTH", Some(b"TLS")).await?;
        reply::expect(2, "AUTH TLS", words).map_err(refused("does not accept AUTH TLS"))?;
        let Stream::Plain(tcp) = control.into_stream() else {
            return Err(unreachable("AUTH TLS on a connection that is TLS already").into());
        };
        Control::new(handshake(settings, &tls, tcp).await?, settings)
    };
    Ok((control, Some(tls)))
}

async fn connect(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
) -> Result<TcpStream, Failure> {
    let reached = shared.connector.connect(settings.connect_timeout).await;
    let lost = |failure: Failure| failure.with_outage(Outage::Unreachable);
    let (mut tcp, _) = reached.map_err(|e| lost(unreachable(e)))?;
    if settings.send_proxy_protocol != SendProxyProtocol::None {
        // A socket that was just opened has room for it.
        tcp.write_all(&origin.header()).await.map_err(|e| lost(unreachable(e)))?;
    }
    Ok(tcp)
}

async fn handshake(
    settings: &Settings,
    tls: &ClientTls,
    tcp: TcpStream,
) -> Result<Stream, OpenError> {
    let server = tcp.peer_addr().map(|server| server.to_string()).unwrap_or_default();
    match timeout(settings.connect_timeout, tls.connect(tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => {
            let failure = Failure::backend(
                FailureKind::Unavailable,
                "the backend server's TLS could not be trusted or did not come about",
            )
            .with_outage(outage(&e));
            let failure = match DistrustedCertificate::of(&e) {
                Some(distrusted) => failure.with_detail(format_args!("{server}: {distrusted}")),
                None => failure.with_detail(format_args!("{server}: {e}")),
            };
            Err(if is_about_versions(&e) {
                OpenError::Versions(failure)
            } else {
                OpenError::Other(failure)
            })
        }
        Err(_) => {
            let late = unreachable(format!("{server}: the TLS handshake was not complete in time"));
            Err(late.with_outage(Outage::Timeout).into())
        }
    }
}

fn outage(error: &io::Error) -> Outage {
    match DistrustedCertificate::of(error).map(|distrusted| distrusted.why) {
        None => Outage::Tls,
        Some(Distrust::Expired) => Outage::CertificateExpired,
        Some(Distrust::NotYetValid) => Outage::CertificateNotYetValid,
        Some(Distrust::UnknownAuthority) => Outage::CertificateAuthority,
        Some(Distrust::OtherName) => Outage::CertificateName,
        Some(Distrust::Invalid) => Outage::CertificateInvalid,
    }
}

fn is_about_versions(error: &io::Error) -> bool {
    use rustls::{AlertDescription, Error};
    matches!(
        error.get_ref().and_then(|e| e.downcast_ref::<Error>()),
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_))
    )
}

/// 220, or 120 first: "ready in some minutes" is waited for within the deadline of a reply.
async fn greeted(settings: &Settings, stream: Stream) -> Result<Control, Failure> {
    let mut control = Control::new(stream, settings);
    loop {
        let words = control.reply().await.map_err(|failure| {
            let message = "the backend server was reached, but does not greet as an FTP server \
                           does; tell the gateway's operator";
            let heard = failure.detail.unwrap_or(failure.message);
            let outage = failure.outage.unwrap_or(Outage::UnexpectedAnswer);
            Failure::backend(FailureKind::Unavailable, message)
                .with_detail(heard)
                .with_outage(outage)
        })?;
        match words.code {
            120 => {}
            220 => return Ok(control),
            _ => return Err(unreachable(format!("it greeted with {words}"))),
        }
    }
}

/// A server that was reached but does not do what is configured: an operator has to look.
pub(super) fn refused(what: &str) -> impl FnOnce(Failure) -> Failure {
    let message =
        format!("the backend server {what}, which the gateway requires; tell its operator");
    move |failure| {
        Failure::backend(FailureKind::Unavailable, message)
            .with_detail(failure.message)
            .with_outage(Outage::Tls)
    }
}

fn unreachable(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::Unavailable,
        "the backend server cannot be reached; try again later or tell the gateway's operator",
    )
    .with_detail(detail)
}
