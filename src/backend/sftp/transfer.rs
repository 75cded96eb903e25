//! Files read from one end to the other (draft-ietf-secsh-filexfer-02 section 6.4): OPEN, then reads
//! ahead, and a CLOSE whose answer nobody needs.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::attributes;
use super::explain::{Tried, explained};
use super::handle::Handle;
use super::server::Server;
use super::stat::stat;
use super::status::Expect;
use crate::backend::ReadTransfer;
use crate::data::{FirstError, ReadAhead, Source, ToCrlf};
use crate::op::{
    Entry, EntryKind, Failure, FailureKind, PeerReply, ReadFile, RemotePath, Representation,
};
use crate::wire::sftp::{Attributes, OpenFlags, RequestBody};

/// The largest file, in bytes as stored, whose size in TYPE A is counted, and the last byte where a
/// reading in TYPE A can begin.
const COUNTED: u64 = 16 * 1024 * 1024;

const NOT_A_FILE: &str = "it is a device, a pipe or a socket, not a file";

struct SftpRead {
    source: Source,
    file: Reading,
    fault: FirstError,
}

/// Closes the file when dropped: what is read is safe whatever the server says to that.
struct Reading(Handle);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

pub(super) async fn open(
    server: &Arc<Server>,
    action: &ReadFile,
) -> Result<Box<dyn ReadTransfer>, Failure> {
    let ReadFile { path, offset, representation } = action;
    // In one flight: OpenSSH opens a folder, too, and refuses only the first READ.
    let there = server.requests.ask(RequestBody::Stat { path: server.wire(path) });
    let what = format!("open {path} for reading");
    let plain = async {
        match there.await.and_then(|answer| answer.attributes(&what)) {
            Ok(there) => only_file(&attributes::entry(b"", &there), &what),
            // Opening it says more.
            Err(_) => Ok(()),
        }
    };
    let ((), file) = tokio::try_join!(plain, open_file(server, path))?;
    let fault = FirstError::default();
    let handle = file.0.sized();
    let stream =
        |offset| ReadAhead::new(handle.clone(), offset, server.ahead.clone(), fault.clone());
    let reader: Box<dyn AsyncRead + Send + Unpin> = match representation {
        Representation::Image => {
            let reader = stream(*offset);
            if *offset > 0
                && let Some(length) = handle.size().await.filter(|length| length < offset)
            {
                return Err(too_short(path, *offset, length));
            }
            Box::new(reader)
        }
        Representation::Ascii => {
            let mut reader = ToCrlf::new(stream(0));
            skip(&mut reader, *offset, path).await.map_err(|e| fault.take().unwrap_or(e))?;
            Box::new(reader)
        }
    };
    Ok(Box::new(SftpRead { source: Source::Reader(reader), file, fault }))
}

async fn open_file(server: &Arc<Server>, path: &RemotePath) -> Result<Reading, Failure> {
    let what = format!("open {path} for reading");
    let body = RequestBody::Open {
        path: server.wire(path),
        flags: OpenFlags::READ,
        attributes: Attributes::default(),
    };
    let opened = server.requests.ask(body).await?.handle(&what);
    let handle = explained(server, opened, path, Tried::Open).await?;
    Ok(Reading(Handle::new(server.clone(), handle, path.clone(), None)))
}

/// What is no file is not read: OpenSSH does nothing else while it waits for the other end of a pipe.
fn only_file(there: &Entry, what: &str) -> Result<(), Failure> {
    let kind = match there.kind {
        EntryKind::Directory => FailureKind::IsADirectory,
        EntryKind::Other => FailureKind::PermissionDenied,
        EntryKind::File | EntryKind::Symlink(_) => return Ok(()),
    };
    let why = if kind == FailureKind::IsADirectory { kind.sentence() } else { NOT_A_FILE };
    Err(Failure::backend(kind, format_args!("cannot {what}: {why}")))
}

/// Only reading tells where an offset of the translated text is in the file.
async fn skip(
    reader: &mut (impl AsyncRead + Unpin),
    offset: u64,
    path: &RemotePath,
) -> Result<(), Failure> {
    if offset > COUNTED {
        let message = format_args!(
            "cannot read {path} from byte {offset}: REST in TYPE A is not counted so far; use TYPE I"
        );
        return Err(Failure::client(FailureKind::Unsupported, message));
    }
    let skipped = count(&mut reader.take(offset)).await.map_err(|e| {
        Failure::backend(FailureKind::Internal, format_args!("cannot read {path}: {e}"))
    })?;
    match skipped < offset {
        true => Err(too_short(path, offset, skipped)),
        false => Ok(()),
    }
}

fn too_short(path: &RemotePath, offset: u64, length: u64) -> Failure {
    let message =
        format_args!("cannot read {path} from byte {offset}: it is only {length} bytes long");
    Failure::client(FailureKind::InvalidArgument, message)
}

/// The size of a file as TYPE A transfers it. Reads all of it.
pub(super) async fn count_ascii(server: &Arc<Server>, path: &RemotePath) -> Result<u64, Failure> {
    let what = format!("tell the size of {path}");
    let there = stat(server, path).await?;
    only_file(&there, &what)?;
    let length = there.attributes.size.unwrap_or(u64::MAX);
    if length > COUNTED {
        let message = format_args!(
            "cannot {what}: SIZE in TYPE A of a file this large is not counted; use TYPE I"
        );
        return Err(Failure::client(FailureKind::Unsupported, message));
    }
    let file = open_file(server, path).await?;
    let fault = FirstError::default();
    let reader = ReadAhead::new(file.0.clone(), 0, server.ahead.clone(), fault.clone());
    // A file that grows meanwhile must not keep the count from its end.
    count(&mut ToCrlf::new(reader.take(length))).await.map_err(|e| {
        let failure = Failure::backend(FailureKind::Internal, format_args!("cannot {what}: {e}"));
        fault.take().unwrap_or(failure)
    })
}

async fn count(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    tokio::io::copy(reader, &mut tokio::io::sink()).await
}

#[async_trait]
impl ReadTransfer for SftpRead {
    fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        drop(self.file);
        self.fault.take().map_or(Ok(None), Err)
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        drop(self.file);
        self.fault.take()
    }
}
