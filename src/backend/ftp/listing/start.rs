//! MLSD and LIST, up to where lines come.

use crate::backend::ftp::connection::Connection;
use crate::backend::ftp::data_connection;
use crate::backend::ftp::refusals::Optional;
use crate::net::Stream;
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation};

/// Whether LIST takes `-a`, which shows names that begin with a dot. Servers with MLSD need no such thing;
/// others hide these names without it.
pub(super) enum Trial {
    No,
    /// It was sent, and may have been taken for a name.
    All,
    /// It has shown nothing, or was refused so; this is the same without it.
    Without(PeerReply),
}

pub(super) type Begun = (Option<Stream>, PeerReply);

/// Asked; without a stream where there is nothing to list. `None`: the server does not have MLSD.
pub(super) async fn start_facts(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<Begun>, Failure> {
    if !connection.has(Optional::Mlsd) {
        return Ok(None);
    }
    let name = if path.is_root() && !connection.home.is_known() {
        None
    } else {
        Some(connection.name(path)?)
    };
    let started = data_connection::start(connection, "MLSD", name.as_deref(), 0).await;
    if let Err(Failure { peer: Some(words), .. }) = &started
        && connection.server.refusals.note(Optional::Mlsd, words)
    {
        return Ok(None);
    }
    let begun = may_be_empty(started)?;
    connection.server.refusals.worked(Optional::Mlsd);
    Ok(Some(begun))
}

/// From inside the folder: servers differ in what LIST does with spaces, brackets and dashes.
pub(super) async fn start_list(
    connection: &mut Connection,
    path: &RemotePath,
    argument: Option<&[u8]>,
) -> Result<(Begun, Trial), Failure> {
    if connection.home.is_known() {
        connection.be_in(path).await?;
    }
    if let Err(failure) = connection.set_type(Representation::Ascii).await {
        // Names and their line ends come as they are then.
        connection.check()?;
        tracing::debug!(%failure, "the backend knows no TYPE A; listings are asked for without");
    }
    if !connection.has(Optional::ListAll) {
        let started = data_connection::start(connection, "LIST", argument, 0).await;
        return Ok((may_be_empty(started)?, Trial::No));
    }
    let all = match argument {
        Some(argument) => [b"-a ", argument].concat(),
        None => b"-a".to_vec(),
    };
    match data_connection::start(connection, "LIST", Some(&all), 0).await {
        Err(Failure { peer: Some(words), kind, .. })
            if !connection.server.refusals.has_worked(Optional::ListAll)
                && kind != FailureKind::DataConnection =>
        {
            connection.check()?;
            let started = data_connection::start(connection, "LIST", argument, 0).await;
            Ok((may_be_empty(started)?, Trial::Without(words)))
        }
        started => Ok((may_be_empty(started)?, Trial::All)),
    }
}

/// Old servers refuse to list a folder with nothing in it (`450 No files found`).
pub(super) fn may_be_empty(
    started: Result<(Stream, PeerReply), Failure>,
) -> Result<Begun, Failure> {
    match started {
        Ok((stream, words)) => Ok((Some(stream), words)),
        Err(Failure { peer: Some(words), .. }) if says_empty(&words) => Ok((None, words)),
        Err(failure) => Err(failure),
    }
}

fn says_empty(words: &PeerReply) -> bool {
    let text = words.lines.join(&b' ').to_ascii_lowercase();
    let says = |what: &str| text.windows(what.len()).any(|w| w == what.as_bytes());
    matches!(words.code, 450 | 550)
        && (says("no files") || (says("no ") && says(" found") && !says("no such")))
}
