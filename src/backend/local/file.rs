//! A file that is open for reads and writes at any offset.

use std::any::Any;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::fs::{Dir, Metadata};
use futures_util::future::BoxFuture;
use rustix::buffer::spare_capacity;

use super::attributes::{self, attributes};
use super::calls::Calls;
use super::copy;
use super::errno::{failed, refused};
use super::partial::Ending;
use super::queue::Queue;
use super::read::BLOCK;
use crate::backend::{OpenFile, PartialUploads};
use crate::op::{
    Changes, Entry, EntryKind, Failure, FailureKind, FileSystem, OpenMode, RemotePath,
};

pub(super) async fn open(
    calls: &Calls,
    root: Arc<Dir>,
    path: RemotePath,
    mode: OpenMode,
    partial: PartialUploads,
) -> Result<LocalFile, Failure> {
    let (path, file, ending) = calls
        .run(move || {
            let (file, ending) = super::open::open(root, &path, &mode, partial)?;
            Ok((path, file, ending))
        })
        .await?;
    let renamed = matches!(ending, Ending::Renamed(_));
    let queue = Queue::new(calls.clone(), Held(Some(Open { file, ending, broken: None })));
    let shared = Shared { path, mode, renamed, cut: AtomicBool::new(false) };
    Ok(LocalFile { queue, shared: Arc::new(shared), ended: AtomicBool::new(false) })
}

/// Dropped, it does as `abort` does, but nobody waits for it.
pub(super) struct LocalFile {
    pub(super) queue: Arc<Queue<Held>>,
    pub(super) shared: Arc<Shared>,
    /// `close` or `abort` was asked for.
    ended: AtomicBool,
}

pub(super) struct Shared {
    pub(super) path: RemotePath,
    mode: OpenMode,
    /// It gets its name at its end.
    renamed: bool,
    /// The end is a cut: nothing long goes on.
    pub(super) cut: AtomicBool,
}

/// What the queue's threads work with; empty once the file is closed.
pub(super) struct Held(Option<Open>);

pub(super) struct Open {
    pub(super) file: File,
    ending: Ending,
    /// Why what was written cannot be whole.
    broken: Option<Failure>,
}

impl Held {
    pub(super) fn open(&mut self, path: &RemotePath) -> Result<&mut Open, Failure> {
        self.0.as_mut().ok_or_else(|| closed(path))
    }
}

fn closed(path: &RemotePath) -> Failure {
    refused(FailureKind::InvalidArgument, format_args!("use {path}"), "it is closed")
}

impl Open {
    /// Remembers why the file cannot be whole.
    pub(super) fn spoilt(&mut self, failure: Failure) -> Failure {
        self.broken.get_or_insert_with(|| failure.clone());
        failure
    }

    fn close(self, path: &RemotePath) -> Result<(), Failure> {
        let Self { file, ending, broken } = self;
        drop(file);
        match broken {
            None => ending.whole(path),
            // The client was told, but an unfinished file must never get a whole one's name.
            Some(failure) => {
                ending.cut();
                Err(failure)
            }
        }
    }

    fn cut(self) {
        let Self { file, ending, .. } = self;
        drop(file);
        ending.cut();
    }
}

impl Shared {
    pub(super) fn readable(&self) -> Result<(), Failure> {
        match self.mode.read {
            true => Ok(()),
            false => Err(self.not_open_for("read", "reading")),
        }
    }

    pub(super) fn writable(&self) -> Result<(), Failure> {
        match self.mode.writes() {
            true => Ok(()),
            false => Err(self.not_open_for("write", "writing")),
        }
    }

    pub(super) fn appends(&self) -> bool {
        self.mode.append
    }

    fn not_open_for(&self, verb: &str, purpose: &str) -> Failure {
        let what = format_args!("{verb} {}", self.path);
        refused(FailureKind::PermissionDenied, what, format_args!("it is not open for {purpose}"))
    }

    fn read(&self, file: &File, offset: u64, length: u32) -> Result<Option<Bytes>, Failure> {
        self.readable()?;
        if length == 0 {
            return Ok(Some(Bytes::new()));
        }
        let length = usize::try_from(length).unwrap_or(BLOCK).min(BLOCK);
        let mut bytes = Vec::with_capacity(length);
        loop {
            match rustix::io::pread(file, spare_capacity(&mut bytes), offset) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Some(bytes.into())),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    return Err(failed(format_args!("read {}", self.path), &error.into()));
                }
            }
        }
    }

    pub(super) fn write(&self, open: &mut Open, offset: u64, data: &[u8]) -> Result<(), Failure> {
        self.writable()?;
        let written = match self.mode.append {
            true => open.file.write_all(data),
            false => open.file.write_all_at(data, offset),
        };
        written.map_err(|e| open.spoilt(failed(format_args!("write {}", self.path), &e)))
    }

    fn entry(&self, file: &File) -> Result<Entry, Failure> {
        let metadata = Metadata::from_file(file)
            .map_err(|e| failed(format_args!("look at {}", self.path), &e))?;
        let name = self.path.name().unwrap_or(b"/").to_vec();
        Ok(Entry { name, kind: EntryKind::File, attributes: attributes(&metadata) })
    }
}

impl LocalFile {
    fn query<A: Send + 'static, F>(
        &self,
        ask: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<A, F>
    where
        F: FnOnce(&Shared, &File) -> Result<A, Failure> + Send + 'static,
    {
        let shared = self.shared.clone();
        self.queue.query(move |held| ask(&shared, &held.open(&shared.path)?.file))
    }

    fn command<A: Send + 'static, F>(
        &self,
        act: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<A, F>
    where
        F: FnOnce(&Shared, &mut Open) -> Result<A, Failure> + Send + 'static,
    {
        let shared = self.shared.clone();
        self.queue.command(move |held| act(&shared, held.open(&shared.path)?))
    }

    /// What waits in the queue is still done; what is long is not.
    fn cut(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        self.ended.store(true, Ordering::Relaxed);
        self.shared.cut.store(true, Ordering::Relaxed);
        self.queue.command(|held| {
            if let Some(open) = held.0.take() {
                open.cut();
            }
            Ok(())
        })
    }
}

#[async_trait]
impl OpenFile for LocalFile {
    fn read_at(
        &self,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'static, Result<Option<Bytes>, Failure>> {
        Box::pin(self.query(move |shared, file| shared.read(file, offset, length)))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(self.command(move |shared, open| shared.write(open, offset, &data)))
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        self.query(Shared::entry).await
    }

    async fn size(&self) -> Option<u64> {
        self.stat().await.ok()?.attributes.size
    }

    async fn set_attributes(&self, changes: &Changes) -> Result<(), Failure> {
        let changes = *changes;
        self.command(move |shared, open| {
            let writable = shared.writable().is_ok();
            attributes::set_open(&open.file, &shared.path, &changes, writable)
        })
        .await
    }

    fn answers_for_path(&self) -> bool {
        self.shared.renamed && !self.ended.load(Ordering::Relaxed)
    }

    async fn sync(&self) -> Result<(), Failure> {
        self.command(|shared, open| {
            let synced = open.file.sync_all();
            synced.map_err(|e| open.spoilt(failed(format_args!("sync {}", shared.path), &e)))
        })
        .await
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        self.query(|shared, file| attributes::file_system_open(file, &shared.path)).await
    }

    async fn copy_data(
        &self,
        offset: u64,
        length: u64,
        to: &Arc<dyn OpenFile>,
        to_offset: u64,
    ) -> Result<(), Failure> {
        match to.as_any().downcast_ref::<LocalFile>() {
            Some(to) => copy::copy(self, offset, length, to, to_offset).await,
            None => Err(Failure::gateway(
                FailureKind::Internal,
                format_args!("cannot copy from {}: not to another backend", self.shared.path),
            )),
        }
    }

    /// What was written is with the kernel, as after `close(2)`; only `sync` waits for the disk.
    async fn close(&self) -> Result<(), Failure> {
        self.ended.store(true, Ordering::Relaxed);
        let shared = self.shared.clone();
        let closed = self.queue.command(move |held| match held.0.take() {
            Some(open) => open.close(&shared.path),
            None => Err(closed(&shared.path)),
        });
        closed.await
    }

    async fn abort(&self) {
        // Nobody can do anything about it.
        let _ = self.cut().await;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            drop(self.cut());
        }
    }
}

#[cfg(test)]
mod tests;
