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
use crate::net::{Drain, Endpoints, ListenError, Listener, ssh};
use crate::session::{Admission, ClientInfo, ClientRefusal, Gateway, Seat};

/// What a client may send on a new channel before it is told that there is room for more, in bytes.
/// While new keys are asked for, russh takes twice as much from all channels together before it cuts
/// the connection: more than sockets' buffers hold of what was sent before the client heard of it.
const WINDOW: u32 = 6 * 1024 * 1024;
/// The same later, for each channel, as long as the sum stays below that bound.
const LATER_WINDOW: u32 = 2 * 1024 * 1024;
/// What all channels' windows may be together: russh's bound without SSH's own bytes.
const ALL_WINDOWS: u32 = 2 * (WINDOW - WINDOW / 16);
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
        preferred: ssh::server(),
        // Idleness is judged by requests, in `connection`.
        inactivity_timeout: None,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: KEEPALIVES,
        ..Config::default()
    }
}

/// What a client may send ahead on each of so many channels, in bytes.
pub(super) fn window(channels: usize) -> u32 {
    let channels = u32::try_from(channels).unwrap_or(u32::MAX);
    (ALL_WINDOWS / channels.max(1)).clamp(PACKET, LATER_WINDOW)
}

fn welcome(shared: &Arc<Shared>, config: &Arc<Config>, tcp: TcpStream, endpoints: Endpoints) {
    match shared.admission.admit(endpoints.peer.ip()) {
        Ok(seat) => {
            shared.drain.spawn(run(shared.clone(), config.clone(), tcp, endpoints, seat));
        }
        Err(refusal) => {
            let door = ClientInfo::new(&shared.settings.name, "sftp", endpoints);
            shared.gateway.client_refused(&door, ClientRefusal::TooManySessions, refusal);
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
    endpoints: Endpoints,
    _seat: Seat,
) {
    let door = ClientInfo::new(&shared.settings.name, "sftp", endpoints);
    let _open = shared.gateway.open_session(&door.listener);
    tracing::debug!(session = door.session, peer = %door.peer, listener = door.listener, "session begins");
    let session = door.session;
    Connection::new(shared, door).run(config, tcp).await;
    tracing::debug!(session, "session ends");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_windows_fit_what_is_taken_while_keys_change() {
        assert_eq!(window(1), LATER_WINDOW);
        for channels in 1..=100 {
            // With SSH's own bytes for packets of 32 KiB and more.
            let sum = u64::from(window(channels)) * channels as u64;
            assert!(sum + sum / 100 <= 2 * u64::from(WINDOW), "{channels}");
            assert!(channels > 5 || window(channels) == LATER_WINDOW);
        }
    }
}
