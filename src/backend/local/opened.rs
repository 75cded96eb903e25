//! An open file and the state that its queue works on, for reads, writes and copies.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cap_std::fs::Metadata;
use rustix::buffer::spare_capacity;

use super::attributes::attributes;
use super::blocking::BlockingPool;
use super::errno::{failed, refused};
use super::partial::Ending;
use super::queue::JobQueue;
use super::read::BLOCK_SIZE;
use crate::op::{Entry, EntryKind, Failure, FailureKind, OpenMode, RemotePath};

/// Dropped, it is aborted in the background.
pub(super) struct LocalFile {
    pub(super) queue: Arc<JobQueue<FileSlot>>,
    pub(super) shared: Arc<Shared>,
    /// `close` or `abort` was called.
    ended: AtomicBool,
}

pub(super) struct Shared {
    pub(super) path: RemotePath,
    mode: OpenMode,
    /// It is renamed to its path when it is closed.
    is_renamed: bool,
    /// `abort` was called: long operations stop.
    pub(super) aborted: AtomicBool,
}

/// What the queue's threads work on; empty once the file is closed.
pub(super) struct FileSlot(Option<Open>);

pub(super) struct Open {
    pub(super) file: File,
    ending: Ending,
    /// The first failed write: the file cannot be whole.
    first_error: Option<Failure>,
}

impl FileSlot {
    pub(super) fn open(&mut self, path: &RemotePath) -> Result<&mut Open, Failure> {
        self.0.as_mut().ok_or_else(|| closed(path))
    }
}

fn closed(path: &RemotePath) -> Failure {
    refused(FailureKind::InvalidArgument, format_args!("use {path}"), "it is closed")
}

impl Open {
    /// Records that the file cannot be whole. Returns the failure.
    pub(super) fn record_error(&mut self, failure: Failure) -> Failure {
        self.first_error.get_or_insert_with(|| failure.clone());
        failure
    }

    fn close(self, path: &RemotePath) -> Result<(), Failure> {
        let Self { file, ending, first_error } = self;
        drop(file);
        match first_error {
            None => ending.commit(path),
            // The client got the error already, but an unfinished file must never replace a whole one.
            Some(failure) => {
                ending.abort();
                Err(failure)
            }
        }
    }

    fn abort(self) {
        let Self { file, ending, .. } = self;
        drop(file);
        ending.abort();
    }
}

impl Shared {
    pub(super) fn readable(&self) -> Result<(), Failure> {
        if self.mode.read { Ok(()) } else { Err(self.not_open_for("read", "reading")) }
    }

    pub(super) fn writable(&self) -> Result<(), Failure> {
        if self.mode.writes() { Ok(()) } else { Err(self.not_open_for("write", "writing")) }
    }

    pub(super) fn appends(&self) -> bool {
        self.mode.append
    }

    fn not_open_for(&self, verb: &str, purpose: &str) -> Failure {
        let what = format_args!("{verb} {}", self.path);
        refused(FailureKind::PermissionDenied, what, format_args!("it is not open for {purpose}"))
    }

    pub(super) fn read(
        &self,
        file: &File,
        offset: u64,
        length: u32,
    ) -> Result<Option<Bytes>, Failure> {
        self.readable()?;
        if length == 0 {
            return Ok(Some(Bytes::new()));
        }
        let length = usize::try_from(length).unwrap_or(BLOCK_SIZE).min(BLOCK_SIZE);
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
        let written = if self.mode.append {
            open.file.write_all(data)
        } else {
            open.file.write_all_at(data, offset)
        };
        written.map_err(|e| open.record_error(failed(format_args!("write {}", self.path), &e)))
    }

    pub(super) fn entry(&self, file: &File) -> Result<Entry, Failure> {
        let metadata = Metadata::from_file(file)
            .map_err(|e| failed(format_args!("get the attributes of {}", self.path), &e))?;
        let name = self.path.name().unwrap_or(b"/").to_vec();
        Ok(Entry { name, kind: EntryKind::File, attributes: attributes(&metadata) })
    }
}

impl LocalFile {
    pub(super) fn new(
        pool: &BlockingPool,
        path: RemotePath,
        mode: OpenMode,
        file: File,
        ending: Ending,
    ) -> Self {
        let is_renamed = matches!(ending, Ending::Rename(_));
        let slot = FileSlot(Some(Open { file, ending, first_error: None }));
        let shared = Shared { path, mode, is_renamed, aborted: AtomicBool::new(false) };
        Self {
            queue: JobQueue::new(pool.clone(), slot),
            shared: Arc::new(shared),
            ended: AtomicBool::new(false),
        }
    }

    /// As [`OpenFile::answers_for_path`](crate::backend::OpenFile::answers_for_path).
    pub(super) fn answers_for_path(&self) -> bool {
        self.shared.is_renamed && !self.ended.load(Ordering::Relaxed)
    }

    /// Closes the file. It is whole unless a write failed.
    pub(super) fn end(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        self.ended.store(true, Ordering::Relaxed);
        let shared = self.shared.clone();
        self.queue.command(move |slot| match slot.0.take() {
            Some(open) => open.close(&shared.path),
            None => Err(closed(&shared.path)),
        })
    }

    pub(super) fn query<A: Send + 'static, F>(
        &self,
        call: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<A, F>
    where
        F: FnOnce(&Shared, &File) -> Result<A, Failure> + Send + 'static,
    {
        let shared = self.shared.clone();
        self.queue.query(move |slot| call(&shared, &slot.open(&shared.path)?.file))
    }

    pub(super) fn command<A: Send + 'static, F>(
        &self,
        call: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<A, F>
    where
        F: FnOnce(&Shared, &mut Open) -> Result<A, Failure> + Send + 'static,
    {
        let shared = self.shared.clone();
        self.queue.command(move |slot| call(&shared, slot.open(&shared.path)?))
    }

    /// Queued requests are still done; long operations stop.
    pub(super) fn cancel(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        self.ended.store(true, Ordering::Relaxed);
        self.shared.aborted.store(true, Ordering::Relaxed);
        self.queue.command(|slot| {
            if let Some(open) = slot.0.take() {
                open.abort();
            }
            Ok(())
        })
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            drop(self.cancel());
        }
    }
}
