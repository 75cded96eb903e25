//! MLST (RFC 3659 section 7).

use super::connection::Connection;
use super::refusals::OptionalCommand;
use crate::op::{Entry, Failure, FailureKind, RemotePath};
use crate::wire::ftp::listing::parse_facts_line;

/// `None`: the server does not support MLST.
pub(super) async fn stat_by_mlst(
    connection: &mut Connection,
    path: &RemotePath,
) -> Result<Option<Entry>, Failure> {
    if !connection.supports(OptionalCommand::Mlst) {
        return Ok(None);
    }
    let name = connection.name(path)?;
    let reply = connection.command("MLST", Some(&name)).await?;
    if connection.server.refusals.note_reply(OptionalCommand::Mlst, &reply) {
        return Ok(None);
    }
    let reply = connection.check_reply(2, "MLST", Some(&name), reply)?;
    let entry = reply.lines.iter().find_map(|line| parse_facts_line(line));
    let entry = entry.ok_or_else(|| {
        Failure::backend(
            FailureKind::Internal,
            "the backend server's reply to MLST could not be parsed",
        )
        .with_detail(&reply)
    })?;
    Ok(Some(Entry { name: path.name().unwrap_or(b"/").to_vec(), ..entry }))
}
