//! Cutting transfers of both directions, and bringing the control connection back into step (RFC 959
//! sections 4.1.3 and 5.4).

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Connection, Marker};
use crate::net::Stream;
use crate::op::{Failure, PeerReply, Representation};

/// What bringing the control connection back into step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// For a server to answer the reset of its data connection by itself.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(1);
/// Replies that may come between the first one after ABOR and the marker's answer: ABOR's own, and
/// what servers say twice.
const REPLIES_MAX: usize = 8;

/// Takes the answer to the end of a transfer that is of no interest any more.
pub(super) async fn await_reply(connection: &mut Connection) {
    connection.active = None;
    if connection.check().is_ok()
        && !connection.control.is_settled()
        && !matches!(timeout(STEP_TIMEOUT, connection.control.reply()).await, Ok(Ok(_)))
    {
        connection.give_up();
    }
}

/// Cuts a transfer: a reset, never FIN or close_notify, which would say *complete*, and ABOR to a
/// server that does not answer the reset. Then the control connection is brought back into step, or
/// given up. Returns what the server said against the transfer.
pub(super) async fn abort(connection: &mut Connection, stream: Stream) -> Option<Failure> {
    stream.reset_on_drop();
    drop(stream);
    connection.active = None;
    let told = match resynchronize(connection, STEP_TIMEOUT).await {
        Ok(told) => told,
        Err(told) => {
            tracing::info!("the backend's control connection is out of step after a cut; given up");
            connection.give_up();
            told
        }
    };
    told.map(|reply| connection.failure("the transfer", reply))
}

/// Brings the control connection back into step behind a transfer whose data connection is gone or
/// never came, within `limit`. `Err`: that failed. Both with what the server said against the transfer.
pub(super) async fn resynchronize(
    connection: &mut Connection,
    limit: Duration,
) -> Result<Option<PeerReply>, Option<PeerReply>> {
    let (control, marker) = (&mut connection.control, connection.marker);
    let mut told = None;
    let drop_unsolicited = async {
        // ABOR only then: ProFTPD 1.3.8 can crash when it comes together with the reset.
        let first = match timeout(NOTICE_TIMEOUT, control.reply()).await {
            Ok(noticed) => noticed?,
            Err(_) => {
                control.send("ABOR", None).await?;
                control.reply().await?
            }
        };
        if first.code >= 400 {
            told = Some(first);
        }
        // Servers answer ABOR with one reply or two; the answer to the marker, unlike any of them, is where
        // both sides are in step again. It comes after the first: pure-ftpd takes what arrives along
        // with ABOR for a part of it.
        control.send(marker.verb, marker.argument).await?;
        for _ in 0..=REPLIES_MAX {
            if control.reply().await?.code == marker.code {
                return Ok(true);
            }
        }
        Ok::<bool, Failure>(false)
    };
    if matches!(timeout(limit, drop_unsolicited).await, Ok(Ok(true))) {
        connection.control.settle();
        if marker.verb == Marker::TYPE.verb {
            connection.note_type(Representation::Image);
        }
        Ok(told)
    } else {
        Err(told)
    }
}
