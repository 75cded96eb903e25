//! Asking for a port ahead: a client that has asked for a port of its own is about to transfer
//! something.

use super::passive::Attempts;
use super::pool::ConnectionGuard;
use super::prepared::Prepared;
use super::settings::DataMode;
use super::transfer_command::connect;

/// Asks the server for a port and begins to connect. Goes on by itself, so that nobody who stops
/// waiting leaves half a question behind; the next operation waits for the server's answer, and a
/// transfer for the connection. What fails here is asked for again by the transfer.
pub(super) fn prepare(mut guard: ConnectionGuard) {
    let near = guard.port_latency.is_some_and(|took| took < guard.settings.timing.near_server_max);
    if near || guard.settings.data_mode != DataMode::Passive {
        return;
    }
    tokio::spawn(async move {
        guard.prepared = None;
        let mut attempts = Attempts::new(&guard);
        match attempts.next(&mut guard).await {
            Ok((command, address)) => {
                let (header, limit) = (guard.proxy_header(), guard.settings.connect_timeout);
                let connecting = connect(address, header, limit);
                guard.prepared = Some(Prepared::begin(command, connecting));
            }
            Err(failure) => tracing::debug!(%failure, "no port ahead of a transfer"),
        }
    });
}
