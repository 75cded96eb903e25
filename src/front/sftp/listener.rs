//! Accepts SFTP clients, and configures russh.

use std::sync::Arc;
use std::time::Duration;

use russh::server::Config;
use russh::{Limits, SshId};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::Instrument;

use super::auth;
use super::connection::Connection;
use super::serve::serve;
use super::settings::ListenerSettings;
use super::shared::Shared;
use super::window::{INITIAL_WINDOW_SIZE, PACKET_SIZE_MAX};
use crate::front::refusal;
use crate::net::{Endpoints, ListenError, Listener, Sockets};
use crate::session::{AdmissionPermit, BANNED, ClientInfo, ClientRefusal};
use crate::wire::ssh_disconnect::disconnection;

const IDENTIFICATION: &str = "SSH-2.0-lockgate";
/// Messages that wait for a channel's task, which reads them at once unless its queue is full.
const CHANNEL_BUFFER_SIZE: usize = 16;
/// Messages of all channels that wait to be sent.
const EVENT_BUFFER_SIZE: usize = 32;
/// Bytes per key: russh's own limit, within which no cipher repeats a nonce.
const REKEY_BYTES_MAX: u64 = 1 << 30;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Unanswered keepalives that end a connection.
const KEEPALIVES_MAX: usize = 3;

/// Opens every address that is not open yet of an SFTP listener, or none.
pub fn bind(shared: Shared, sockets: &Sockets) -> Result<Listener, ListenError> {
    let shared = Arc::new(shared);
    let ListenerSettings { name, addresses, proxy_protocol, .. } = &shared.settings;
    let (for_clients, config) = (shared.clone(), Arc::new(config(&shared.settings)));
    let proxy_protocol = shared.gateway.proxy_protocol(name, proxy_protocol);
    let on_accept = move |tcp, endpoints| on_accept(&for_clients, &config, tcp, endpoints);
    Listener::bind((name, addresses), proxy_protocol, sockets, &shared.drain, on_accept)
}

fn config(settings: &ListenerSettings) -> Config {
    let bytes = settings.rekey_bytes.min(REKEY_BYTES_MAX) as usize;
    Config {
        server_id: SshId::Standard(IDENTIFICATION.into()),
        methods: auth::method_set(settings.methods),
        // `auth` counts attempts; the check of the password itself delays guesses.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: auth::AUTH_REQUESTS_MAX,
        keys: settings.host_keys.iter().map(|key| (**key).clone()).collect(),
        certificates: settings.host_certificates.clone(),
        limits: Limits {
            rekey_write_limit: bytes,
            rekey_read_limit: bytes,
            rekey_time_limit: settings.rekey_time,
        },
        window_size: INITIAL_WINDOW_SIZE,
        maximum_packet_size: PACKET_SIZE_MAX,
        channel_buffer_size: CHANNEL_BUFFER_SIZE,
        event_buffer_size: EVENT_BUFFER_SIZE,
        preferred: settings.algorithms.preferred(),
        // `connection` measures idle time by requests.
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: KEEPALIVES_MAX,
        ..Config::default()
    }
}

fn on_accept(shared: &Arc<Shared>, config: &Arc<Config>, tcp: TcpStream, endpoints: Endpoints) {
    if shared.gateway.refuses(&shared.settings.name, endpoints.peer.ip()) {
        refusal::send(&shared.drain, tcp, disconnection(IDENTIFICATION, BANNED));
        return;
    }
    match shared.admission.admit(endpoints.peer.ip()) {
        Ok(permit) => {
            let client_info = client_info(shared, endpoints);
            let span = client_info.span();
            let serving = run(shared.clone(), config.clone(), tcp, client_info, permit);
            shared.drain.spawn(serving.instrument(span));
        }
        Err(refusal) => {
            let client_info = client_info(shared, endpoints);
            shared.gateway.client_refused(&client_info, ClientRefusal::TooManySessions, refusal);
            shared.drain.spawn(refuse(tcp, refusal.to_string()));
        }
    }
}

/// Sends a line before the version (RFC 4253 section 4.2) to a client that cannot be served;
/// bounded, whatever the client does.
async fn refuse(mut tcp: TcpStream, reason: String) {
    let _ = timeout(REFUSAL_TIMEOUT, async {
        tcp.write_all(format!("{reason}\r\n").as_bytes()).await?;
        tcp.shutdown().await
    })
    .await;
}

async fn run(
    shared: Arc<Shared>,
    config: Arc<Config>,
    tcp: TcpStream,
    client_info: ClientInfo,
    _permit: AdmissionPermit,
) {
    let _registered = shared.live.register(&client_info.live, &tcp);
    tracing::debug!("session begins");
    serve(Connection::new(shared, client_info), config, tcp).await;
    tracing::debug!("session ends");
}

fn client_info(shared: &Shared, endpoints: Endpoints) -> ClientInfo {
    ClientInfo::new(&shared.settings.name, "sftp", endpoints, &shared.drain)
}
