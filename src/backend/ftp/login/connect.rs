//! Connecting: TCP, the PROXY protocol header, TLS (RFC 4217) and the greeting (RFC 959 section 5.4).

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::tls_alert;
use crate::backend::ftp::Shared;
use crate::backend::ftp::control::Control;
use crate::backend::ftp::reply;
use crate::backend::ftp::settings::{Settings, TlsMode};
use crate::backend::{Origin, SendProxyProtocol};
use crate::net::tls::{ClientTls, Distrust, DistrustedCertificate};
use crate::net::{ConnectEnd, Stream};
use crate::op::{Failure, FailureKind, Outage, PeerReply};

/// A control connection after the greeting.
pub(super) struct Opened {
    pub(super) control: Control,
    /// For its data connections.
    pub(super) tls: Option<ClientTls>,
    pub(super) greeting: PeerReply,
}

/// Opens a control connection up to the greeting, with TLS as configured. If the server supports
/// none of the preferred TLS versions, the others are tried.
pub(super) async fn open(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
) -> Result<Opened, Failure> {
    let connecting = shared.connector.connecting();
    let opened = open_unmeasured(settings, shared, origin).await;
    connecting.ended(ConnectEnd::of(&opened));
    opened
}

async fn open_unmeasured(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
) -> Result<Opened, Failure> {
    let (implicit, tls) = match &settings.tls {
        TlsMode::None => (false, None),
        TlsMode::Explicit(tls) => (false, Some(tls)),
        TlsMode::Implicit(tls) => (true, Some(tls)),
    };
    let Some(tls) = tls else {
        let stream = Stream::Plain(connect(settings, shared, origin).await?);
        let (control, greeting) = read_greeting(settings, stream).await?;
        return Ok(Opened { control, tls: None, greeting });
    };
    match open_tls(settings, shared, origin, implicit, tls.session(false)).await {
        Err(OpenError::Versions(_)) if tls.has_fallback() => {
            open_tls(settings, shared, origin, implicit, tls.session(true))
                .await
                .map_err(Failure::from)
        }
        opened => opened.map_err(Failure::from),
    }
}

enum OpenError {
    /// The server supports none of the offered TLS versions.
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

async fn open_tls(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
    implicit: bool,
    tls: ClientTls,
) -> Result<Opened, OpenError> {
    let tcp = connect(settings, shared, origin).await?;
    let (control, greeting) = if implicit {
        let stream = handshake(settings, &tls, tcp).await?;
        read_greeting(settings, stream).await?
    } else {
        let (mut control, greeting) = read_greeting(settings, Stream::Plain(tcp)).await?;
        let reply = control.command("AUTH", Some(b"TLS")).await?;
        reply::expect(2, "AUTH TLS", reply)
            .map_err(unmet_requirement("does not accept AUTH TLS"))?;
        let Stream::Plain(tcp) = control.into_stream() else {
            return Err(unreachable("AUTH TLS on a connection that is TLS already").into());
        };
        (Control::new(handshake(settings, &tls, tcp).await?, settings), greeting)
    };
    Ok(Opened { control, tls: Some(tls), greeting })
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
        // A new socket has room for it.
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
                "the TLS connection to the backend server failed, or its certificate is not trusted",
            )
            .with_outage(outage(&e));
            let detail = match DistrustedCertificate::of(&e) {
                Some(distrusted) => distrusted.to_string(),
                None => {
                    tls_alert::explain(&e, tls.has_certificate()).unwrap_or_else(|| e.to_string())
                }
            };
            let failure = failure.with_detail(format_args!("{server}: {detail}"));
            Err(if is_about_versions(&e) {
                OpenError::Versions(failure)
            } else {
                OpenError::Other(failure)
            })
        }
        Err(_) => {
            let timed_out =
                unreachable(format!("{server}: the TLS handshake timed out (`connect_timeout`)"));
            Err(timed_out.with_outage(Outage::Timeout).into())
        }
    }
}

fn outage(error: &io::Error) -> Outage {
    match DistrustedCertificate::of(error).map(|distrusted| distrusted.reason) {
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

/// 220, or 120 (ready in some minutes) first, which is waited for until the reply timeout.
async fn read_greeting(
    settings: &Settings,
    stream: Stream,
) -> Result<(Control, PeerReply), Failure> {
    let mut control = Control::new(stream, settings);
    loop {
        let reply = greeting(settings, &mut control).await.map_err(|failure| {
            let message = "the backend server did not send an FTP greeting; contact the gateway's \
                           operator";
            let detail = failure.detail.unwrap_or(failure.message);
            let outage = failure.outage.unwrap_or(Outage::UnexpectedAnswer);
            Failure::backend(FailureKind::Unavailable, message)
                .with_detail(detail)
                .with_outage(outage)
        })?;
        match reply.code {
            120 => {}
            220 => return Ok((control, reply)),
            _ => return Err(unreachable(format!("its greeting was {reply}"))),
        }
    }
}

async fn greeting(settings: &Settings, control: &mut Control) -> Result<PeerReply, Failure> {
    let Some(limit) = settings.greeting_timeout else { return control.reply().await };
    timeout(limit, control.reply()).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        let detail = format!("no greeting within {limit} (`connect_timeout`)");
        Err(unreachable(detail).with_outage(Outage::Timeout))
    })
}

/// The server is reachable but does not do what is configured: an operator has to fix that.
pub(super) fn unmet_requirement(what: &str) -> impl FnOnce(Failure) -> Failure {
    let message = format!(
        "the backend server {what}, which `tls.mode` of the backend requires; contact the server's operator"
    );
    move |failure| {
        Failure::backend(FailureKind::Unavailable, message)
            .with_detail(failure.message)
            .with_outage(Outage::Tls)
    }
}

fn unreachable(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::Unavailable,
        "the backend server cannot be reached; try again later or contact the gateway's operator",
    )
    .with_detail(detail)
}
