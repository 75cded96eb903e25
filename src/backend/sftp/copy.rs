//! Copies between open files by the server (draft-ietf-secsh-filexfer-extensions-00 section 7). No later
//! request for either file overtakes them.

use std::sync::{Mutex, PoisonError};

use super::queue::ExclusivePermit;
use super::remote_file::RemoteFile;
use super::requests::lost;
use super::status::Expect;
use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{Extension, RequestBody, StatusCode};

/// Bytes of one copy-data request. Some servers do nothing else meanwhile, and must not seem dead for it.
const MAX_STEP: u64 = 64 * 1024 * 1024;

/// Copies `length` bytes (0: all to the end). Takes its position in the files' queues with the first poll.
pub(super) async fn copy(
    from: &RemoteFile,
    offset: u64,
    length: u64,
    to: &RemoteFile,
    to_offset: u64,
) -> Result<(), Failure> {
    let what = format!("copy from {}", from.path());
    to.note_copy();
    let _permits = Permits::acquire(from, to).await?;
    let requests = &from.server().requests;
    let mut left = length;
    if length == 0 {
        let size = requests.send(RequestBody::FileStat { handle: from.handle() }).await?;
        let size = size.attributes(format_args!("get the size of {}", from.path()))?.size;
        left = size.unwrap_or(0).saturating_sub(offset);
    }
    let same = from.path() == to.path();
    let mut done = 0;
    loop {
        if from.is_cancelled() || to.is_cancelled() {
            let message = format_args!("cannot {what}: the upload was aborted");
            return Err(Failure::client(FailureKind::Aborted, message));
        }
        let last = left <= MAX_STEP;
        // The last step of a copy to the end copies to the end that the file has then.
        let step = if last && length == 0 { 0 } else { left.min(MAX_STEP) };
        let end = match step {
            0 => u64::MAX,
            step => to_offset.saturating_add(done).saturating_add(step),
        };
        let body = RequestBody::Extended(Extension::CopyData {
            from_handle: from.handle(),
            from_offset: offset.saturating_add(done),
            length: step,
            to_handle: to.handle(),
            to_offset: to_offset.saturating_add(done),
        });
        let is_harmless = if same && done == 0 { is_end_or_refusal } else { is_end };
        let effect = Some(to.copy_effect(end, is_harmless));
        let copied = requests.send_with_effect(body, effect).await?;
        copied.done(&what).map_err(|failure| as_request_error(failure, is_harmless))?;
        if last {
            return Ok(());
        }
        left -= MAX_STEP;
        done = done.saturating_add(step);
    }
}

/// The source ends before: what it has was copied, and the client learns of the end.
fn is_end(code: StatusCode) -> bool {
    code == StatusCode::EOF
}

/// OpenSSH answers a copy between two handles of one file with FAILURE, before it does anything.
fn is_end_or_refusal(code: StatusCode) -> bool {
    is_end(code) || code == StatusCode::FAILURE
}

/// A refusal that leaves the file as the client expects it is an error of the client's request.
fn as_request_error(failure: Failure, is_harmless: fn(StatusCode) -> bool) -> Failure {
    match &failure.status {
        Some(status)
            if failure.kind != FailureKind::EndOfFile && is_harmless(StatusCode(status.code)) =>
        {
            Failure { kind: FailureKind::InvalidArgument, ..failure }
        }
        _ => failure,
    }
}

/// The permits of both files.
struct Permits {
    _from: ExclusivePermit,
    /// `None`: both are the same file.
    _to: Option<ExclusivePermit>,
}

impl Permits {
    async fn acquire(from: &RemoteFile, to: &RemoteFile) -> Result<Self, Failure> {
        // Both positions are taken together: of two copies in opposite directions, each would be first in
        // one queue otherwise and wait for ever in the other.
        static POSITIONS: Mutex<()> = Mutex::new(());
        let (first, second) = {
            let _both_at_once = POSITIONS.lock().unwrap_or_else(PoisonError::into_inner);
            (from.queue().exclusive(), (!from.is_same(to)).then(|| to.queue().exclusive()))
        };
        let ended = |_| lost("it has ended");
        let from = first.await.map_err(ended)?;
        let to = match second {
            Some(second) => Some(second.await.map_err(ended)?),
            None => None,
        };
        Ok(Self { _from: from, _to: to })
    }
}
