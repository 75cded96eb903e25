//! Data connections to a server (RFC 959): passive or active, and TLS (RFC 4217).

use super::connection::Connection;
use super::failures::no_data_connection;
use super::settings::DataMode;
use super::transfer_command::{Transfer, command, explain, is_over, protected};
use super::{active, passive};
use crate::net::Stream;
use crate::op::{Failure, PeerReply};

/// Makes a data connection and sends the command that uses it. Dropping the connection is a reset from
/// its first moment on: an end by FIN would mean *complete* for an upload. On success the server has said 1xx
/// and its last reply is still to come; after a failure the control connection is in step, or given
/// up. A listing that the server has nothing to say for may be over at once: then the words are its
/// last reply, and whether the connection was ever taken is not known.
pub(super) async fn start(
    connection: &mut Connection,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Result<(Stream, PeerReply), Failure> {
    let transfer = Transfer { verb, argument, offset };
    if connection.server.surplus_replies.is_known() {
        connection.synchronize().await?;
    }
    let (tcp, preliminary) = match connection.settings.data_mode {
        // Boxed: with a TLS handshake in it, its 12 KiB would be part of every operation.
        DataMode::Passive => Box::pin(passive::start(connection, transfer)).await?,
        DataMode::Active => {
            let reservation = active::offer(connection).await?;
            let preliminary = match command(connection, transfer).await {
                Ok(preliminary) => preliminary,
                Err(refusal) => return Err(active::refused(reservation, refusal)),
            };
            if is_over(&preliminary) {
                return Err(no_data_connection("the listing was over before its connection came"));
            }
            match active::accepted(connection, reservation).await {
                Ok(tcp) => (tcp, preliminary),
                Err(failure) => return Err(explain(connection, failure).await),
            }
        }
    };
    if is_over(&preliminary) {
        return Ok((Stream::Plain(tcp), preliminary));
    }
    match Box::pin(protected(connection, tcp)).await {
        Ok(stream) => Ok((stream, preliminary)),
        Err(failure) => Err(explain(connection, failure).await),
    }
}
