//! Starts MLSD (RFC 3659 section 7) and LIST (RFC 959).

use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::data_connection;
use crate::backend::ftp::refusals::OptionalCommand;
use crate::net::Stream;
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation};

/// The option `-a` of LIST, without which many servers hide names that start with a dot. (MLSD does not
/// hide them.)
pub(super) enum AllOption {
    NotSent,
    /// It was sent, and may have been taken for a name.
    Sent,
    /// It was refused with this reply, or showed nothing; the listing is repeated without it.
    Dropped(PeerReply),
}

/// The data connection, if there is anything to list, and the reply to the command.
pub(super) type Started = (Option<Stream>, PeerReply);

/// MLSD. `None`: the server does not support it.
pub(super) async fn start_mlsd(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<Started>, Failure> {
    if !connection.supports(OptionalCommand::Mlsd) {
        return Ok(None);
    }
    let name = if path.is_root() && !connection.home.is_known() {
        None
    } else {
        Some(connection.name(path)?)
    };
    let started = data_connection::start(connection, "MLSD", name.as_deref(), 0).await;
    if let Err(Failure { peer: Some(reply), .. }) = &started
        && connection.server.refusals.note_reply(OptionalCommand::Mlsd, reply)
    {
        return Ok(None);
    }
    let started = allow_empty(started)?;
    connection.server.refusals.note_success(OptionalCommand::Mlsd);
    Ok(Some(started))
}

/// LIST, from inside the folder: servers differ in how LIST treats spaces, brackets and dashes.
pub(super) async fn start_list(
    connection: &mut Connection,
    path: &RemotePath,
    argument: Option<&[u8]>,
) -> Result<(Started, AllOption), Failure> {
    if connection.home.is_known() {
        connection.ensure_directory(path).await?;
    }
    if let Err(failure) = connection.set_type(Representation::Ascii).await {
        // Line ends are then as the server stores them.
        connection.check()?;
        tracing::debug!(%failure, "the backend does not support TYPE A; listings are requested without it");
    }
    if !connection.supports(OptionalCommand::ListAll) {
        let started = data_connection::start(connection, "LIST", argument, 0).await;
        return Ok((allow_empty(started)?, AllOption::NotSent));
    }
    let all = match argument {
        Some(argument) => [b"-a ", argument].concat(),
        None => b"-a".to_vec(),
    };
    match data_connection::start(connection, "LIST", Some(&all), 0).await {
        Err(Failure { peer: Some(reply), kind, .. })
            if !connection.server.refusals.has_worked(OptionalCommand::ListAll)
                && kind != FailureKind::DataConnection =>
        {
            connection.check()?;
            let started = data_connection::start(connection, "LIST", argument, 0).await;
            Ok((allow_empty(started)?, AllOption::Dropped(reply)))
        }
        started => Ok((allow_empty(started)?, AllOption::Sent)),
    }
}

/// Old servers refuse to list an empty folder (`450 No files found`).
pub(super) fn allow_empty(
    started: Result<(Stream, PeerReply), Failure>,
) -> Result<Started, Failure> {
    match started {
        Ok((stream, reply)) => Ok((Some(stream), reply)),
        Err(Failure { peer: Some(reply), .. }) if says_empty(&reply) => Ok((None, reply)),
        Err(failure) => Err(failure),
    }
}

fn says_empty(reply: &PeerReply) -> bool {
    let text = reply.lines.join(&b' ').to_ascii_lowercase();
    let contains = |what: &str| text.windows(what.len()).any(|w| w == what.as_bytes());
    matches!(reply.code, 450 | 550)
        && (contains("no files") || (contains("no ") && contains(" found") && !contains("no such")))
}
