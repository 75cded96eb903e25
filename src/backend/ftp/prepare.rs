//! Requests a passive port ahead of a transfer: a client that has requested one itself is about to
//! transfer something.

use super::passive::Attempts;
use super::pool::ConnectionGuard;
use super::prepared::Prepared;
use super::settings::DataMode;
use super::transfer_command::connect;
use crate::task;

/// Requests a port and starts to connect, in a task of its own, so that a cancelled caller leaves
/// no reply outstanding. The next operation waits for the reply, and a transfer for the connection.
/// A failure here is ignored: the transfer requests another port.
pub(super) fn prepare(mut guard: ConnectionGuard) {
    let near = guard.port_latency.is_some_and(|took| took < guard.settings.timing.near_server_max);
    if near || guard.settings.data_mode != DataMode::Passive {
        return;
    }
    task::spawn(async move {
        guard.prepared = None;
        let mut attempts = Attempts::new(&guard);
        match attempts.next(&mut guard).await {
            Ok((command, address)) => {
                let connecting = connect(&guard.settings, address, guard.proxy_header());
                guard.prepared = Some(Prepared::start(command, connecting));
            }
            Err(failure) => {
                tracing::debug!(%failure, "no passive port could be requested ahead of a transfer");
            }
        }
    });
}
