//! Aborts transfers in both directions and brings the control connection back into sync (RFC 959
//! sections 4.1.3 and 5.4).

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Connection, Marker};
use crate::net::Stream;
use crate::op::{Failure, PeerReply, Representation};

/// For bringing the control connection back into sync.
const SYNC_TIMEOUT: Duration = Duration::from_secs(5);
/// For a server to reply to the reset of its data connection without ABOR.
const REPLY_AFTER_RESET_TIMEOUT: Duration = Duration::from_secs(1);
/// Replies between the first one and the marker's: the one to ABOR, and surplus ones.
const REPLIES_MAX: usize = 8;

/// Receives the last reply to a transfer that is no longer of interest.
pub(super) async fn await_reply(connection: &mut Connection) {
    connection.active = None;
    if connection.check().is_ok()
        && !connection.control.is_settled()
        && !matches!(timeout(SYNC_TIMEOUT, connection.control.reply()).await, Ok(Ok(_)))
    {
        connection.give_up();
    }
}

/// Aborts a transfer: by a reset, never by FIN or close_notify, which would mean *complete*; and by
/// ABOR, if the server does not react to the reset. The control connection is then brought back
/// into sync, or given up. Returns the server's error reply as a failure.
pub(super) async fn abort(connection: &mut Connection, stream: Stream) -> Option<Failure> {
    stream.reset_on_drop();
    drop(stream);
    connection.active = None;
    let error_reply = match resynchronize(connection, SYNC_TIMEOUT).await {
        Ok(error_reply) => error_reply,
        Err(error_reply) => {
            tracing::info!(
                "the backend's control connection is out of sync after an aborted transfer; it is closed"
            );
            connection.give_up();
            error_reply
        }
    };
    error_reply.map(|reply| connection.failure("the transfer", reply))
}

/// Brings the control connection back into sync after a transfer whose data connection is closed or
/// was never made. `Err`: that failed. Both return the server's error reply.
pub(super) async fn resynchronize(
    connection: &mut Connection,
    limit: Duration,
) -> Result<Option<PeerReply>, Option<PeerReply>> {
    let (control, marker) = (&mut connection.control, connection.marker);
    let mut error_reply = None;
    let synchronized = async {
        // ABOR only after that: ProFTPD 1.3.8 can crash if both arrive together.
        let first = match timeout(REPLY_AFTER_RESET_TIMEOUT, control.reply()).await {
            Ok(reply) => reply?,
            Err(_) => {
                control.send("ABOR", None).await?;
                control.reply().await?
            }
        };
        if first.code >= 400 {
            error_reply = Some(first);
        }
        // Servers send one or two replies to ABOR. The reply to the marker has a code of its own,
        // so it shows that both sides are in sync. The marker follows the first reply: pure-ftpd
        // takes what arrives along with ABOR for a part of it.
        control.send(marker.verb, marker.argument).await?;
        for _ in 0..=REPLIES_MAX {
            if control.reply().await?.code == marker.code {
                return Ok(true);
            }
        }
        Ok::<bool, Failure>(false)
    };
    if matches!(timeout(limit, synchronized).await, Ok(Ok(true))) {
        connection.control.settle();
        if marker.verb == Marker::TYPE.verb {
            connection.note_type(Representation::Image);
        }
        Ok(error_reply)
    } else {
        Err(error_reply)
    }
}
