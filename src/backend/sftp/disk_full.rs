//! Whether a write was refused because the disk is full: version 3 has no status for that, and OpenSSH
//! answers with a bare FAILURE.

use super::server::Server;
use super::status::Expect;
use crate::op::{Failure, FailureKind, RemotePath};
use crate::wire::sftp::{self, Extension, RequestBody, StatusCode};

/// Asks for the free space to explain a bare FAILURE: a round trip that only failures cost. `written`: the
/// name under which the bytes were written, which still exists.
pub(super) async fn explain(server: &Server, written: &RemotePath, failure: Failure) -> Failure {
    let is_bare = failure.kind == FailureKind::Internal
        && failure.status.as_ref().is_some_and(|status| status.code == StatusCode::FAILURE.0);
    if !is_bare || !server.extensions.stat_vfs {
        return failure;
    }
    let Some(available) = available(server, written).await else { return failure };
    // A full disk may have some space left, less than one write.
    if available >= server.largest_write.into() {
        return failure;
    }
    let kind = FailureKind::NoSpace;
    let message = format!("{} ({})", failure.message, kind.sentence());
    Failure { kind, message, ..failure }
}

/// Bytes that are available to users other than root.
async fn available(server: &Server, path: &RemotePath) -> Option<u64> {
    let body = RequestBody::Extended(Extension::StatVfs { path: server.wire_path(path) });
    let response = server.requests.send(body).await.ok()?;
    let data = response.extended(format_args!("get the free space at {path}")).ok()?;
    let file_system = sftp::FileSystem::decode(data)?;
    Some(file_system.f_bavail.saturating_mul(file_system.f_frsize))
}
