//! Copies between open files that the server makes (draft-ietf-secsh-filexfer-extensions-00 section 7).
//! Nothing that is asked of either file later overtakes them.

use std::sync::{Mutex, PoisonError};

use super::handle::Handle;
use super::line::Turn;
use super::requests::lost;
use super::status::Expect;
use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{Extension, RequestBody, StatusCode};

/// What one copy-data copies, in bytes: some servers do nothing beside it, and may not seem dead for it.
const COPY: u64 = 64 * 1024 * 1024;

/// Copies `length` bytes (0: all to the end). Its place among the files' requests is taken with the
/// first poll.
pub(super) async fn copy(
    from: &Handle,
    offset: u64,
    length: u64,
    to: &Handle,
    to_offset: u64,
) -> Result<(), Failure> {
    let what = format!("copy from {}", from.path());
    to.note_copy();
    let _turns = Turns::take(from, to).await?;
    let requests = &from.server().requests;
    let mut left = length;
    if length == 0 {
        let size = requests.ask(RequestBody::FileStat { handle: from.bytes() }).await?;
        let size = size.attributes(format_args!("tell the size of {}", from.path()))?.size;
        left = size.unwrap_or(0).saturating_sub(offset);
    }
    let same = from.path() == to.path();
    let mut done = 0;
    loop {
        if from.is_cut() || to.is_cut() {
            let message = format_args!("cannot {what}: the file is no longer wanted");
            return Err(Failure::client(FailureKind::Aborted, message));
        }
        let last = left <= COPY;
        // To the end is to the end that the file has then.
        let piece = if last && length == 0 { 0 } else { left.min(COPY) };
        let end = match piece {
            0 => u64::MAX,
            piece => to_offset.saturating_add(done).saturating_add(piece),
        };
        let body = RequestBody::Extended(Extension::CopyData {
            from_handle: from.bytes(),
            from_offset: offset.saturating_add(done),
            length: piece,
            to_handle: to.bytes(),
            to_offset: to_offset.saturating_add(done),
        });
        let harmless = if same && done == 0 { is_end_or_refusal } else { is_end };
        let copied = requests.ask_noting(body, Some(to.copying(end, harmless))).await?;
        copied.done(&what).map_err(|failure| told(failure, harmless))?;
        if last {
            return Ok(());
        }
        left -= COPY;
        done = done.saturating_add(piece);
    }
}

/// The source ends before: what it has was copied, and the client knows.
fn is_end(code: StatusCode) -> bool {
    code == StatusCode::EOF
}

/// FAILURE is what OpenSSH says, before it does anything, to a copy between two handles of one file.
fn is_end_or_refusal(code: StatusCode) -> bool {
    is_end(code) || code == StatusCode::FAILURE
}

/// A refusal that leaves the file as the client expects it is of its request.
fn told(failure: Failure, harmless: fn(StatusCode) -> bool) -> Failure {
    match &failure.status {
        Some(status)
            if failure.kind != FailureKind::EndOfFile && harmless(StatusCode(status.code)) =>
        {
            Failure { kind: FailureKind::InvalidArgument, ..failure }
        }
        _ => failure,
    }
}

/// The turn of both files.
struct Turns {
    _from: Turn,
    /// `None`: the same one.
    _to: Option<Turn>,
}

impl Turns {
    async fn take(from: &Handle, to: &Handle) -> Result<Self, Failure> {
        // Two copies in opposite directions must not each have the first place in one line.
        static PLACES: Mutex<()> = Mutex::new(());
        let (first, second) = {
            let _both_at_once = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
            (from.line().turn(), (!from.is(to)).then(|| to.line().turn()))
        };
        let gone = |_| lost("it has ended");
        let from = first.await.map_err(gone)?;
        let to = match second {
            Some(second) => Some(second.await.map_err(gone)?),
            None => None,
        };
        Ok(Self { _from: from, _to: to })
    }
}
