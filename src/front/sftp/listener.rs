//! Accepting SFTP clients, and what russh is told about them.

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
use super::window::{PACKET, WINDOW};
use crate::net::{Endpoints, ListenError, Listener};
use crate::session::{AdmissionPermit, ClientInfo, ClientRefusal};

/// Messages of one channel that wait for its task. It takes them at once unless it has its fill.
const CHANNEL_MESSAGES: usize = 16;
/// Messages of all channels that wait to be sent.
const EVENTS: usize = 32;
/// russh's counter must hold on the nonces of every cipher: its own bound for new keys, in bytes.
const MOST_BYTES_A_KEY: u64 = 1 << 30;
/// Unanswered keepalives that end a connection.
const KEEPALIVES: usize = 3;

/// Opens every address of an SFTP listener, or none.
pub fn bind(shared: Shared) -> Result<Listener, ListenError> {
    let shared = Arc::new(shared);
    let ListenerSettings { name, addresses, proxy_protocol, .. } = &shared.settings;
    let (welcoming, config) = (shared.clone(), Arc::new(config(&shared.settings)));
    let proxy_protocol = shared.gateway.proxy_protocol(name, proxy_protocol);
    let welcome = move |tcp, endpoints| welcome(&welcoming, &config, tcp, endpoints);
    Listener::bind(name, addresses, proxy_protocol, &shared.drain, welcome)
}

fn config(settings: &ListenerSettings) -> Config {
    let bytes = settings.rekey_bytes.min(MOST_BYTES_A_KEY) as usize;
    Config {
        server_id: SshId::Standard("SSH-2.0-lockgate".into()),
        methods: auth::methods(),
        // Attempts are counted in `auth`; what delays a guess is the check itself.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: auth::REQUESTS,
        keys: settings.host_keys.iter().map(|key| (**key).clone()).collect(),
        limits: Limits {
            rekey_write_limit: bytes,
            rekey_read_limit: bytes,
            rekey_time_limit: settings.rekey_time,
        },
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: CHANNEL_MESSAGES,
        event_buffer_size: EVENTS,
        preferred: settings.algorithms.preferred(),
        // Idleness is judged by requests, in `connection`.
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: KEEPALIVES,
        ..Config::default()
    }
}

fn welcome(shared: &Arc<Shared>, config: &Arc<Config>, tcp: TcpStream, endpoints: Endpoints) {
    match shared.admission.admit(endpoints.peer.ip()) {
        Ok(seat) => {
            let client_info = client_info(shared, endpoints);
            let span = client_info.span();
            let serving = run(shared.clone(), config.clone(), tcp, client_info, seat);
            shared.drain.spawn(serving.instrument(span));
        }
        Err(refusal) => {
            let client_info = client_info(shared, endpoints);
            shared.gateway.client_refused(&client_info, ClientRefusal::TooManySessions, refusal);
            shared.drain.spawn(refuse(tcp, refusal.to_string()));
        }
    }
}

/// A line before the version (RFC 4253 section 4.2) to one that cannot be served; bounded, whatever
/// the client does.
async fn refuse(mut tcp: TcpStream, why: String) {
    let _ = timeout(Duration::from_secs(1), async {
        tcp.write_all(format!("{why}\r\n").as_bytes()).await?;
        tcp.shutdown().await
    })
    .await;
}

async fn run(
    shared: Arc<Shared>,
    config: Arc<Config>,
    tcp: TcpStream,
    client_info: ClientInfo,
    _seat: AdmissionPermit,
) {
    let _open = shared.gateway.open_session(&client_info.listener);
    tracing::debug!("session begins");
    serve(Connection::new(shared, client_info), config, tcp).await;
    tracing::debug!("session ends");
}

fn client_info(shared: &Shared, endpoints: Endpoints) -> ClientInfo {
    ClientInfo::new(&shared.settings.name, "sftp", endpoints)
}
