//! Data connections to a server (RFC 959): passive or active, and TLS (RFC 4217).

use super::connection::Connection;
use super::failures::no_data_connection;
use super::settings::{DataMode, Dialect};
use super::transfer_command::{Transfer, command, explain_failure, is_final, secure};
use super::{active, passive};
use crate::net::Stream;
use crate::op::{Failure, PeerReply};

/// Establishes a data connection and sends the command that uses it. Dropping the connection resets
/// it: a FIN would mean *complete* for an upload. On success the server has sent 1xx and its final
/// reply is outstanding; after a failure the control connection is in sync, or given up. An empty
/// listing may end at once: then the reply is its final one, and whether the data connection was
/// ever accepted is unknown.
pub(super) async fn start(
    connection: &mut Connection,
    verb: &str,
    argument: Option<&[u8]>,
    offset: u64,
) -> Result<(Stream, PeerReply), Failure> {
    let is_opaque = connection.settings.dialect == Dialect::Opaque;
    let transfer = Transfer { verb, argument, offset, is_opaque };
    if connection.server.surplus_replies.is_known() {
        connection.synchronize().await?;
    }
    let (tcp, preliminary) = match connection.settings.data_mode {
        // Boxed: with a TLS handshake in it, its 12 KiB would be part of every operation.
        DataMode::Passive => Box::pin(passive::start(connection, transfer)).await?,
        DataMode::Active => {
            let reservation = active::reserve(connection).await?;
            let preliminary = match command(connection, transfer).await {
                Ok(preliminary) => preliminary,
                Err(refusal) => return Err(active::release_after_refusal(reservation, refusal)),
            };
            if is_final(&preliminary) {
                return Err(no_data_connection(
                    "the listing ended before its data connection was established",
                ));
            }
            match active::accept(connection, reservation).await {
                Ok(tcp) => (tcp, preliminary),
                Err(failure) => return Err(explain_failure(connection, failure).await),
            }
        }
    };
    if is_final(&preliminary) {
        return Ok((Stream::Plain(tcp), preliminary));
    }
    match Box::pin(secure(connection, tcp)).await {
        Ok(stream) => Ok((stream, preliminary)),
        Err(failure) => Err(explain_failure(connection, failure).await),
    }
}
