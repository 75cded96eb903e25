use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::server::Config;
use russh::{Limits, SshId};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::auth;
use super::connection::Connection;
use super::settings::ListenerSettings;
use crate::net::{Drain, ListenError, Listener, ssh};
use crate::session::{Admission, Door, Gateway, Seat};

/// What a client may send on a channel before it is told that there is room for more, in bytes.
const WINDOW: u32 = 2 * 1024 * 1024;
/// The largest SSH packet, in bytes.
const PACKET: u32 = 64 * 1024;
/// Messages of one channel that wait for its task. It takes them at once unless it has its fill.
const CHANNEL_MESSAGES: usize = 16;
/// Messages of all channels that wait to be sent.
const EVENTS: usize = 32;
/// russh's counter must hold on the nonces of every cipher: its own bound for new keys, in bytes.
const MOST_BYTES_A_KEY: u64 = 1 << 30;
/// Unanswered keepalives that end a connection.
const KEEPALIVES: usize = 3;

/// What every connection of a listener shares.
pub struct Shared {
    pub settings: ListenerSettings,
    pub gateway: Arc<Gateway>,
    pub admission: Arc<Admission>,
    pub drain: Drain,
}

/// Opens every address of an SFTP listener, or none.
pub fn bind(shared: Shared) -> Result<Listener, ListenError> {
    let shared = Arc::new(shared);
    let ListenerSettings { name, addresses, .. } = &shared.settings;
    let (welcoming, config) = (shared.clone(), Arc::new(config(&shared.settings)));
    let welcome = move |tcp, peer| welcome(&welcoming, &config, tcp, peer);
    Listener::bind(name, addresses, &shared.drain, welcome)
}

fn config(settings: &ListenerSettings) -> Config {
    let bytes = settings.rekey_bytes.min(MOST_BYTES_A_KEY) as usize;
    Config {
        server_id: SshId::Standard("SSH-2.0-lockgate".into()),
        methods: auth::methods(),
        // Attempts are counted and delayed by what they cost, see `auth`.
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
        preferred: ssh::server(),
        // Idleness is judged by requests, in `connection`.
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: KEEPALIVES,
        ..Config::default()
    }
}

fn welcome(shared: &Arc<Shared>, config: &Arc<Config>, tcp: TcpStream, peer: SocketAddr) {
    match shared.admission.admit(peer.ip()) {
        Ok(seat) => {
            shared.drain.spawn(run(shared.clone(), config.clone(), tcp, peer, seat));
        }
        Err(refusal) => {
            tracing::warn!(%peer, listener = shared.settings.name, %refusal, "connection refused");
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
    peer: SocketAddr,
    _seat: Seat,
) {
    let door = Door {
        listener: shared.settings.name.clone(),
        protocol: "sftp",
        peer,
        session: shared.gateway.next_session(),
    };
    let _open = shared.gateway.open_session(&door.listener);
    tracing::debug!(session = door.session, %peer, listener = door.listener, "session begins");
    let session = door.session;
    Connection::new(shared, door).run(config, tcp).await;
    tracing::debug!(session, "session ends");
}
