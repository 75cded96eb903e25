//! Downloads, and the size of a file in TYPE A.

use std::io::{self, Seek, SeekFrom};
use std::sync::Arc;

use async_trait::async_trait;
use cap_std::fs::{Dir, OpenOptions};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::blocking::BlockingPool;
use super::errno::{failed, refused};
use super::paths::{open_file, relative};
use crate::backend::ReadTransfer;
use crate::data::{Source, ToCrlf};
use crate::op::{Answer, Failure, FailureKind, PeerReply, RemotePath, Representation};

/// Bytes that one call reads or writes at most, and so what a transfer buffers.
pub(super) const BLOCK_SIZE: usize = 256 * 1024;

/// The largest file, in bytes as stored, whose size in TYPE A is counted, and the largest offset in TYPE A.
const ASCII_COUNT_MAX: u64 = 16 * 1024 * 1024;

/// Opens a file at `offset` bytes of the requested representation. An offset past the end is refused: a
/// client that resumes there would take the empty rest for success.
pub(super) async fn open(
    pool: &BlockingPool,
    root: Arc<Dir>,
    path: RemotePath,
    offset: u64,
    representation: Representation,
) -> Result<LocalRead, Failure> {
    match representation {
        Representation::Image => {
            let (file, length) = open_at(pool, root, path, offset).await?;
            let source = Source::Reader(Box::new(file));
            Ok(LocalRead { source, expected: Some(length.saturating_sub(offset)) })
        }
        Representation::Ascii => {
            let mut reader = ToCrlf::new(open_at(pool, root, path.clone(), 0).await?.0);
            skip(&mut reader, offset, &path).await?;
            Ok(LocalRead { source: Source::Reader(Box::new(reader)), expected: None })
        }
    }
}

/// The file, and its length in bytes as stored.
async fn open_at(
    pool: &BlockingPool,
    root: Arc<Dir>,
    path: RemotePath,
    offset: u64,
) -> Result<(File, u64), Failure> {
    let (file, length) = pool
        .run(move || {
            let what = format!("open {path} for reading");
            let (mut file, metadata) =
                open_file(&root, relative(&path), OpenOptions::new().read(true), &what)?;
            if offset > metadata.len() {
                return Err(too_short(&path, offset, metadata.len()));
            }
            file.seek(SeekFrom::Start(offset)).map_err(|e| failed(&what, &e))?;
            Ok((file, metadata.len()))
        })
        .await?;
    let mut file = File::from_std(file);
    file.set_max_buf_size(BLOCK_SIZE);
    Ok((file, length))
}

/// Reads up to `offset`: there is no other way to find an offset of the translated text in the file.
async fn skip(reader: &mut ToCrlf<File>, offset: u64, path: &RemotePath) -> Result<(), Failure> {
    if offset > ASCII_COUNT_MAX {
        let what = format_args!("read {path} from byte {offset}");
        let reason = format_args!("REST in TYPE A goes up to {ASCII_COUNT_MAX}; use TYPE I");
        return Err(refused(FailureKind::Unsupported, what, reason));
    }
    let skipped = count(&mut reader.take(offset))
        .await
        .map_err(|e| failed(format_args!("read {path}"), &e))?;
    if skipped < offset {
        return Err(too_short(path, offset, skipped));
    }
    Ok(())
}

fn too_short(path: &RemotePath, offset: u64, length: u64) -> Failure {
    let what = format_args!("read {path} from byte {offset}");
    let reason = format_args!("it is only {length} bytes long");
    refused(FailureKind::InvalidArgument, what, reason)
}

/// The size of a file as TYPE A transfers it. Reads all of it.
pub(super) async fn count_ascii(
    pool: &BlockingPool,
    root: Arc<Dir>,
    path: RemotePath,
) -> Result<Answer, Failure> {
    let (file, length) = open_at(pool, root, path.clone(), 0).await?;
    let what = format!("get the size of {path}");
    if length > ASCII_COUNT_MAX {
        let reason = "SIZE in TYPE A of a file this large is not counted; use TYPE I";
        return Err(refused(FailureKind::Unsupported, what, reason));
    }
    // A file that grows meanwhile must not delay the end of the count.
    let counted = count(&mut ToCrlf::new(file.take(length))).await;
    counted.map(Answer::Size).map_err(|e| failed(what, &e))
}

async fn count(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<u64> {
    tokio::io::copy(reader, &mut tokio::io::sink()).await
}

pub(super) struct LocalRead {
    source: Source,
    expected: Option<u64>,
}

#[async_trait]
impl ReadTransfer for LocalRead {
    fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    fn expected_bytes(&self) -> Option<u64> {
        self.expected
    }

    async fn finish(self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        Ok(None)
    }

    async fn abort(self: Box<Self>) -> Option<Failure> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode};

    use super::super::testing::{Sandbox, from};
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_from_any_offset() {
        let sandbox = Sandbox::new();
        let content: Vec<u8> = (0..700_000u32).map(|n| n as u8).collect();
        sandbox.put("file", &content);
        for offset in [0, 1, 300_000, 699_999, 700_000] {
            let read = sandbox.read("file", offset as u64, Representation::Image).await.unwrap();
            assert_eq!(read, &content[offset..]);
        }
        let past_end = sandbox.read("file", 700_001, Representation::Image).await.unwrap_err();
        assert_eq!(past_end.kind, FailureKind::InvalidArgument);
        let expected = "cannot read /file from byte 700001: it is only 700000 bytes long";
        assert_eq!(past_end.message, expected);
    }

    #[tokio::test]
    async fn text_is_translated_and_offsets_count_translated_bytes() {
        let sandbox = Sandbox::new();
        sandbox.put("text", "a\nb\r\nc");
        let wire = b"a\r\nb\r\nc";
        for offset in 0..=wire.len() {
            let read = sandbox.read("text", offset as u64, Representation::Ascii).await.unwrap();
            assert_eq!(read, &wire[offset..]);
        }
        let past_end = sandbox.read("text", 8, Representation::Ascii).await.unwrap_err();
        assert_eq!(past_end.kind, FailureKind::InvalidArgument);
    }

    #[tokio::test]
    async fn only_regular_files_inside_the_sandbox_are_transferred() {
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.host("folder")).unwrap();
        symlink(sandbox.outside().join("secret"), sandbox.host("absolute")).unwrap();
        symlink("../outside/secret", sandbox.host("relative")).unwrap();
        symlink("../outside/new", sandbox.host("dangling")).unwrap();
        for (name, kind) in [
            ("folder", FailureKind::IsADirectory),
            ("/", FailureKind::IsADirectory),
            ("missing", FailureKind::NotFound),
            ("absolute", FailureKind::PermissionDenied),
            ("relative", FailureKind::PermissionDenied),
            ("dangling", FailureKind::PermissionDenied),
        ] {
            let read = sandbox.open_read(name, 0, Representation::Image).await.err().unwrap();
            assert_eq!(read.kind, kind, "{name}");
            if kind != FailureKind::NotFound {
                let write = sandbox.open_write(name, from(0), Representation::Image).await;
                assert_eq!(write.err().unwrap().kind, kind, "{name}");
            }
        }
        assert_eq!(std::fs::read(sandbox.outside().join("secret")).unwrap(), b"secret");
        assert!(!sandbox.outside().join("new").exists());
    }

    #[tokio::test]
    async fn a_transfer_of_a_pipe_is_refused_and_does_not_hang() {
        let sandbox = Sandbox::new();
        let fifo = sandbox.host("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let both = async {
            let read = sandbox.open_read("fifo", 0, Representation::Image).await;
            let write = sandbox.open_write("fifo", from(0), Representation::Image).await;
            [read.err().unwrap().kind, write.err().unwrap().kind]
        };
        let kinds = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
        assert_eq!(kinds, [FailureKind::PermissionDenied; 2]);
    }
}
