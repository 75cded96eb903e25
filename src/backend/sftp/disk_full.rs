//! Whether a write was refused because there is no room: version 3 has no status for it, and OpenSSH
//! says FAILURE and no more.

use super::server::Server;
use super::status::Expect;
use crate::op::{Failure, FailureKind, RemotePath};
use crate::wire::sftp::{self, Extension, RequestBody, StatusCode};

/// What the file system says of its room tells more than FAILURE alone: a round trip that only
/// failures cost. `written`: the name that the refused bytes were for, which is still there.
pub(super) async fn explained(server: &Server, written: &RemotePath, failure: Failure) -> Failure {
    let is_bare = failure.kind == FailureKind::Internal
        && failure.status.as_ref().is_some_and(|status| status.code == StatusCode::FAILURE.0);
    if !is_bare || !server.extensions.stat_vfs {
        return failure;
    }
    let Some(available) = available(server, written).await else { return failure };
    // What is left is less than one write.
    if available >= server.largest_write.into() {
        return failure;
    }
    let kind = FailureKind::NoSpace;
    let message = format!("{} ({})", failure.message, kind.sentence());
    Failure { kind, message, ..failure }
}

/// In bytes, to those who are not root.
async fn available(server: &Server, path: &RemotePath) -> Option<u64> {
    let body = RequestBody::Extended(Extension::StatVfs { path: server.wire(path) });
    let said = server.requests.ask(body).await.ok()?;
    let said = said.extended(format_args!("tell the room at {path}")).ok()?;
    let said = sftp::FileSystem::decode(said)?;
    Some(said.f_bavail.saturating_mul(said.f_frsize))
}
