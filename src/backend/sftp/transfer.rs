//! Files read from start to end (draft-ietf-secsh-filexfer-02 section 6.4): OPEN, READs ahead of the
//! consumer, and a CLOSE whose response is ignored.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::attributes;
use super::explain::{Attempt, explain};
use super::first_error::FirstError;
use super::read_stream::ReadStream;
use super::remote_file::RemoteFile;
use super::server::Server;
use super::stat::stat;
use super::status::Expect;
use crate::backend::ReadTransfer;
use crate::data::{Source, ToCrlf};
use crate::op::{
    Entry, EntryKind, Failure, FailureKind, PeerReply, ReadFile, RemotePath, Representation,
};
use crate::wire::sftp::{Attributes, OpenFlags, RequestBody};

/// The largest file, in bytes as stored, whose size in TYPE A is counted, and the largest offset in TYPE A.
const ASCII_COUNT_MAX: u64 = 16 * 1024 * 1024;

const NOT_A_FILE: &str = "it is a device, a pipe or a socket, not a file";

struct SftpRead {
    source: Source,
    file: CloseOnDrop,
    first_error: FirstError,
    expected: Option<u64>,
}

/// Closes the file when dropped. The bytes that were read are good whatever the response is.
struct CloseOnDrop(RemoteFile);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close_and_forget();
    }
}

pub(super) async fn open(
    server: &Arc<Server>,
    action: &ReadFile,
) -> Result<Box<dyn ReadTransfer>, Failure> {
    let ReadFile { path, offset, representation } = action;
    // In one flight: OpenSSH opens a directory, too, and refuses only the first READ.
    let stat = server.requests.send(RequestBody::Stat { path: server.wire_path(path) });
    let what = format!("open {path} for reading");
    let size = async {
        match stat.await.and_then(|response| response.attributes(&what)) {
            Ok(attributes) => {
                require_file(&attributes::entry(b"", &attributes), &what)?;
                Ok(attributes.size)
            }
            // The response to OPEN says more.
            Err(_) => Ok(None),
        }
    };
    let (size, file) = tokio::try_join!(size, open_file(server, path))?;
    let is_image = *representation == Representation::Image;
    let expected = size.filter(|_| is_image).map(|size| size.saturating_sub(*offset));
    let first_error = FirstError::default();
    let sized = file.0.sized();
    let stream = |offset| ReadStream::new(sized.clone(), offset, first_error.clone());
    let reader: Box<dyn AsyncRead + Send + Unpin> = match representation {
        Representation::Image => {
            let reader = stream(*offset);
            if *offset > 0
                && let Some(length) = sized.size().await.filter(|length| length < offset)
            {
                return Err(too_short(path, *offset, length));
            }
            Box::new(reader)
        }
        Representation::Ascii => {
            let mut reader = ToCrlf::new(stream(0));
            skip(&mut reader, *offset, path).await.map_err(|e| first_error.take().unwrap_or(e))?;
            Box::new(reader)
        }
    };
    Ok(Box::new(SftpRead { source: Source::Reader(reader), file, first_error, expected }))
}

async fn open_file(server: &Arc<Server>, path: &RemotePath) -> Result<CloseOnDrop, Failure> {
    let what = format!("open {path} for reading");
    let body = RequestBody::Open {
        path: server.wire_path(path),
        flags: OpenFlags::READ,
        attributes: Attributes::default(),
    };
    let opened = server.requests.send(body).await?.handle(&what);
    let handle = explain(server, opened, path, Attempt::Open).await?;
    Ok(CloseOnDrop(RemoteFile::new(server.clone(), handle, path.clone(), None)))
}

/// Only regular files are read: OpenSSH does nothing else while it waits for the other end of a pipe.
fn require_file(entry: &Entry, what: &str) -> Result<(), Failure> {
    let kind = match entry.kind {
        EntryKind::Directory => FailureKind::IsADirectory,
        EntryKind::Other => FailureKind::PermissionDenied,
        EntryKind::File | EntryKind::Symlink(_) => return Ok(()),
    };
    let why = if kind == FailureKind::IsADirectory { kind.sentence() } else { NOT_A_FILE };
    Err(Failure::backend(kind, format_args!("cannot {what}: {why}")))
}

/// Reads up to `offset`: there is no other way to find an offset of the translated text in the file.
async fn skip(
    reader: &mut (impl AsyncRead + Unpin),
    offset: u64,
    path: &RemotePath,
) -> Result<(), Failure> {
    if offset > ASCII_COUNT_MAX {
        let message = format_args!(
            "cannot read {path} from byte {offset}: REST in TYPE A goes up to {ASCII_COUNT_MAX}; use TYPE I"
        );
        return Err(Failure::client(FailureKind::Unsupported, message));
    }
    let skipped = count(&mut reader.take(offset)).await.map_err(|e| {
        Failure::backend(FailureKind::Internal, format_args!("cannot read {path}: {e}"))
    })?;
    if skipped < offset { Err(too_short(path, offset, skipped)) } else { Ok(()) }
}

fn too_short(path: &RemotePath, offset: u64, length: u64) -> Failure {
    let message =
        format_args!("cannot read {path} from byte {offset}: it is only {length} bytes long");
    Failure::client(FailureKind::InvalidArgument, message)
}

/// The size of a file as TYPE A transfers it. Reads all of it.
pub(super) async fn count_ascii(server: &Arc<Server>, path: &RemotePath) -> Result<u64, Failure> {
    let what = format!("get the size of {path}");
    let entry = stat(server, path).await?;
    require_file(&entry, &what)?;
    let length = entry.attributes.size.unwrap_or(u64::MAX);
    if length > ASCII_COUNT_MAX {
        let message = format_args!(
            "cannot {what}: SIZE in TYPE A of a file this large is not counted; use TYPE I"
        );
        return Err(Failure::client(FailureKind::Unsupported, message));
    }
    let file = open_file(server, path).await?;
    let first_error = FirstError::default();
    let reader = ReadStream::new(file.0.clone(), 0, first_error.clone());
    // A file that grows meanwhile must not delay the end of the count.
    count(&mut ToCrlf::new(reader.take(length))).await.map_err(|e| {
        let failure = Failure::backend(FailureKind::Internal, format_args!("cannot {what}: {e}"));
        first_error.take().unwrap_or(failure)
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

    fn expected_bytes(&self) -> Option<u64> {
        self.expected
    }

    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        drop(self.file);
        self.first_error.take().map_or(Ok(None), Err)
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        drop(self.file);
        self.first_error.take()
    }
}
