//! Uploads from start to end.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use async_trait::async_trait;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::blocking::BlockingPool;
use super::errno::{failed, refused};
use super::partial::{DeleteOnDrop, Ending, Temporary, open_for_writing, random_name};
use super::paths::{open_file, relative};
use super::read::BLOCK_SIZE;
use crate::backend::{PartialUploads, WriteTransfer};
use crate::data::{FromCrlf, Sink};
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation, WriteMode};

/// How many names for `Unique` are tried; each has 128 random bits.
const MAX_UNIQUE_TRIES: usize = 3;

pub(super) async fn open(
    pool: &BlockingPool,
    root: Arc<Dir>,
    path: RemotePath,
    mode: WriteMode,
    representation: Representation,
    partial: PartialUploads,
) -> Result<LocalWrite, Failure> {
    if let (WriteMode::From { offset: 1.. }, Representation::Ascii) = (mode, representation) {
        let reason = "the offset in TYPE A is not that in the file; use TYPE I";
        let what = format_args!("continue {path}");
        return Err(refused(FailureKind::Unsupported, what, reason));
    }
    let opened = pool
        .run(move || match mode {
            WriteMode::From { offset: 0 } => replace(root, path, partial),
            WriteMode::From { offset } => continue_at(&root, path, offset),
            WriteMode::Append => append(&root, path),
            WriteMode::New => {
                let what = format!("create {path}");
                create(&root, path, partial, &what)
            }
            WriteMode::Unique => unique(root, &path, partial),
        })
        .await?;
    Ok(opened.into_transfer(pool.clone(), representation))
}

struct Opened {
    file: std::fs::File,
    path: RemotePath,
    ending: Ending,
    truncation: Option<Truncation>,
}

/// An older file that is truncated before the first byte; unchanged until then.
struct Truncation {
    file: std::fs::File,
    /// Bytes that stay.
    length: u64,
    what: String,
    /// If set, an abort after the truncation deletes the file.
    delete: Option<(Arc<Dir>, Metadata)>,
}

impl Truncation {
    /// Blocks.
    fn apply(self, path: &RemotePath) -> Result<Ending, Failure> {
        let Self { file, length, what, delete } = self;
        // Not by O_TRUNC: only an open file is known to be a regular file.
        file.set_len(length).map_err(|e| failed(&what, &e))?;
        Ok(match delete {
            Some((root, metadata)) => {
                Ending::Delete(DeleteOnDrop::new(root, relative(path), &metadata, &what)?)
            }
            None => Ending::Keep,
        })
    }
}

fn replace(root: Arc<Dir>, path: RemotePath, partial: PartialUploads) -> Result<Opened, Failure> {
    let what = format!("open {path} for writing");
    let mut options = OpenOptions::new();
    options.write(true);
    if partial == PartialUploads::TemporaryName {
        let (file, temporary) = Temporary::create(root, relative(&path), &mut options, &what)?;
        return Ok(Opened { file, path, ending: Ending::Rename(temporary), truncation: None });
    }
    let new = open_for_writing(&root, relative(&path), options.create_new(true), &what);
    let (is_new, (file, metadata)) = match new {
        Err(taken) if taken.kind == FailureKind::AlreadyExists => {
            options.create_new(false).create(true);
            (false, open_for_writing(&root, relative(&path), &mut options, &what)?)
        }
        new => (true, new?),
    };
    let delete = partial == PartialUploads::Delete;
    let (ending, truncation) = if !is_new {
        let file = file.try_clone().map_err(|e| failed(&what, &e))?;
        let delete = delete.then_some((root, metadata));
        (Ending::Keep, Some(Truncation { file, length: 0, what, delete }))
    } else if delete {
        (Ending::Delete(DeleteOnDrop::new(root, relative(&path), &metadata, &what)?), None)
    } else {
        (Ending::Keep, None)
    };
    Ok(Opened { file, path, ending, truncation })
}

fn continue_at(root: &Dir, path: RemotePath, offset: u64) -> Result<Opened, Failure> {
    let what = format!("continue {path} at byte {offset}");
    let (mut file, metadata) =
        open_for_writing(root, relative(&path), OpenOptions::new().write(true), &what)?;
    if offset > metadata.len() {
        let reason = format_args!("it is only {} bytes long", metadata.len());
        return Err(refused(FailureKind::InvalidArgument, what, reason));
    }
    file.seek(SeekFrom::Start(offset)).map_err(|e| failed(&what, &e))?;
    let same_file = file.try_clone().map_err(|e| failed(&what, &e))?;
    let truncation = Some(Truncation { file: same_file, length: offset, what, delete: None });
    Ok(Opened { file, path, ending: Ending::Keep, truncation })
}

fn append(root: &Dir, path: RemotePath) -> Result<Opened, Failure> {
    let what = format!("open {path} for appending");
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let (file, _) = open_for_writing(root, relative(&path), &mut options, &what)?;
    Ok(Opened { file, path, ending: Ending::Keep, truncation: None })
}

fn unique(root: Arc<Dir>, folder: &RemotePath, partial: PartialUploads) -> Result<Opened, Failure> {
    let what = format!("create a new file in {folder}");
    let mut tries = 0;
    loop {
        tries += 1;
        let path = RemotePath::resolve(folder, random_name("upload-", "").as_bytes())
            .map_err(|reason| refused(FailureKind::NameRefused, &what, reason))?;
        match create(&root, path, partial, &what) {
            Err(taken) if taken.kind == FailureKind::AlreadyExists && tries < MAX_UNIQUE_TRIES => {}
            created => return created,
        }
    }
}

/// The name must be free.
fn create(
    root: &Arc<Dir>,
    path: RemotePath,
    partial: PartialUploads,
    what: &str,
) -> Result<Opened, Failure> {
    let name = relative(&path);
    let mut options = OpenOptions::new();
    options.write(true);
    let (file, ending) = match partial {
        PartialUploads::TemporaryName => {
            if root.symlink_metadata(name).is_ok() {
                return Err(refused(FailureKind::AlreadyExists, what, "file exists"));
            }
            let (file, temporary) = Temporary::create_new(root.clone(), name, &mut options, what)?;
            (file, Ending::Rename(temporary))
        }
        PartialUploads::Keep | PartialUploads::Delete => {
            let (file, metadata) = open_file(root, name, options.create_new(true), what)?;
            let deleted =
                || DeleteOnDrop::new(root.clone(), name, &metadata, what).map(Ending::Delete);
            let ending = if partial == PartialUploads::Delete { deleted()? } else { Ending::Keep };
            (file, ending)
        }
    };
    Ok(Opened { file, path, ending, truncation: None })
}

impl Opened {
    fn into_transfer(self, pool: BlockingPool, representation: Representation) -> LocalWrite {
        let mut file = File::from_std(self.file);
        file.set_max_buf_size(BLOCK_SIZE);
        let sink = match representation {
            Representation::Image => Sink::Writer(Box::new(file)),
            Representation::Ascii => Sink::Writer(Box::new(FromCrlf::new(file))),
        };
        let Self { path, ending, truncation, .. } = self;
        LocalWrite { pool, sink, path, ending, truncation }
    }
}

/// Dropped, it is aborted in the background.
pub(super) struct LocalWrite {
    pool: BlockingPool,
    sink: Sink,
    path: RemotePath,
    ending: Ending,
    truncation: Option<Truncation>,
}

impl LocalWrite {
    /// tokio writes in the background: only this reports whether the last bytes were written.
    async fn flush(&mut self) -> Result<(), Failure> {
        let flushed = match &mut self.sink {
            Sink::Writer(writer) => writer.shutdown().await,
            Sink::Socket(stream) => stream.shutdown().await,
        };
        flushed.map_err(|e| failed(format_args!("write {}", self.path), &e))
    }
}

#[async_trait]
impl WriteTransfer for LocalWrite {
    fn sink(&mut self) -> &mut Sink {
        &mut self.sink
    }

    fn path(&self) -> &RemotePath {
        &self.path
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        if let Some(truncation) = self.truncation.take() {
            let path = self.path.clone();
            self.ending = self.pool.run(move || truncation.apply(&path)).await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        self.begin().await?;
        self.flush().await
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<PeerReply>, Failure> {
        self.settle().await?;
        let pool = self.pool.clone();
        pool.run(move || {
            let Self { sink, path, ending, .. } = *self;
            drop(sink);
            ending.commit(&path).map(|()| None)
        })
        .await
    }

    async fn abort(mut self: Box<Self>) -> Option<Failure> {
        // Received bytes are kept as far as they can be written.
        let _ = self.flush().await;
        let pool = self.pool.clone();
        let _ = pool
            .run(move || {
                let Self { sink, ending, .. } = *self;
                drop(sink);
                ending.abort();
                Ok(())
            })
            .await;
        None
    }
}

#[cfg(test)]
mod tests;
