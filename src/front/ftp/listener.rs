//! Accepting FTP clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::Instrument;

use super::client::Client;
use super::handshake;
use super::settings::{ListenerSettings, TlsPolicy};
use super::shared::Shared;
use crate::front::refusal;
use crate::net::tls::ControlTls;
use crate::net::{Endpoints, ListenError, Listener, Sockets, Stream};
use crate::session::{AdmissionPermit, BANNED, ClientInfo, ClientRefusal};
use crate::wire::ftp::reply;

const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens every address that is not open yet of an FTP listener, or none.
pub fn bind(shared: Shared, sockets: &Sockets) -> Result<Listener, ListenError> {
    let shared = Arc::new(shared);
    let ListenerSettings { name, addresses, proxy_protocol, .. } = &shared.settings;
    let for_clients = shared.clone();
    let proxy_protocol = shared.gateway.proxy_protocol(name, proxy_protocol);
    let on_accept = move |tcp, endpoints| on_accept(&for_clients, tcp, endpoints);
    Listener::bind((name, addresses), proxy_protocol, sockets, &shared.drain, on_accept)
}

fn on_accept(shared: &Arc<Shared>, tcp: TcpStream, endpoints: Endpoints) {
    if shared.gateway.refuses(&shared.settings.name, endpoints.peer.ip()) {
        // Under implicit TLS it could not be read.
        if !matches!(shared.settings.tls, TlsPolicy::Implicit(_)) {
            refusal::send(&shared.drain, tcp, encode_refusal(BANNED));
        }
        return;
    }
    match shared.admission.admit(endpoints.peer.ip()) {
        Ok(permit) => {
            let shared = shared.clone();
            let client_info = client_info(&shared, endpoints);
            let span = client_info.span();
            let serving = run(shared.clone(), tcp, client_info, permit).instrument(span);
            shared.drain.spawn(serving);
        }
        Err(refusal) => {
            shared.gateway.client_refused(
                &client_info(shared, endpoints),
                ClientRefusal::TooManySessions,
                refusal,
            );
            if !matches!(shared.settings.tls, TlsPolicy::Implicit(_)) {
                shared.drain.spawn(refuse(tcp, refusal.to_string()));
            }
        }
    }
}

/// Sends 421 to a client that cannot be served; bounded, whatever the client does.
async fn refuse(mut tcp: TcpStream, reason: String) {
    let text = encode_refusal(&reason);
    let _ = timeout(REFUSAL_TIMEOUT, async {
        tcp.write_all(&text).await?;
        tcp.shutdown().await
    })
    .await;
}

fn encode_refusal(reason: &str) -> Vec<u8> {
    let mut text = Vec::new();
    reply::encode(421, &[format!("Service not available: {reason}.")], &mut text);
    text
}

async fn run(
    shared: Arc<Shared>,
    tcp: TcpStream,
    client_info: ClientInfo,
    _permit: AdmissionPermit,
) {
    // ABOR's Telnet signals arrive as urgent data; in line they are read with the other bytes.
    let _ = socket2::SockRef::from(&tcp).set_out_of_band_inline(true);
    let _registered = shared.live.register(&client_info.live, &tcp);
    let started = tokio::select! {
        started = start_tls(&shared, tcp, &client_info) => started,
        end = client_info.live.forced() => {
            return shared.gateway.ended_without_login(&client_info, end.reason());
        }
    };
    let Some((stream, tls)) = started else { return };
    tracing::debug!("session begins");
    Box::pin(Client::new(shared, client_info, stream, tls).run()).await;
    tracing::debug!("session ends");
}

fn client_info(shared: &Shared, endpoints: Endpoints) -> ClientInfo {
    let implicit = matches!(shared.settings.tls, TlsPolicy::Implicit(_));
    let protocol = if implicit { "ftps" } else { "ftp" };
    ClientInfo::new(&shared.settings.name, protocol, endpoints, &shared.drain)
}

/// Prepares TLS for the control connection, and does the handshake at once where TLS is implicit.
async fn start_tls(
    shared: &Shared,
    tcp: TcpStream,
    client_info: &ClientInfo,
) -> Option<(Stream, Option<ControlTls>)> {
    let settings = match &shared.settings.tls {
        TlsPolicy::None => return Some((Stream::Plain(tcp), None)),
        TlsPolicy::Optional(tls) | TlsPolicy::Required(tls) => {
            return Some((Stream::Plain(tcp), Some(tls.tls.control_session())));
        }
        TlsPolicy::Implicit(tls) => tls,
    };
    let tls = settings.tls.control_session();
    tls.note_implicit_tls();
    let limit = shared.gateway.limits.login_timeout;
    let stream = handshake::accept(&shared.gateway, client_info, &tls, tcp, limit, false).await?;
    Some((stream, Some(tls)))
}
