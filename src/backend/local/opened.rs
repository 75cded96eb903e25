//! A file that is open, and what its queue works with: shared by reads, writes and copies.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cap_std::fs::Metadata;
use rustix::buffer::spare_capacity;

use super::attributes::attributes;
use super::calls::Calls;
use super::errno::{failed, refused};
use super::partial::Ending;
use super::queue::Queue;
use super::read::BLOCK;
use crate::op::{Entry, EntryKind, Failure, FailureKind, OpenMode, RemotePath};

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

    pub(super) fn entry(&self, file: &File) -> Result<Entry, Failure> {
        let metadata = Metadata::from_file(file)
            .map_err(|e| failed(format_args!("look at {}", self.path), &e))?;
        let name = self.path.name().unwrap_or(b"/").to_vec();
        Ok(Entry { name, kind: EntryKind::File, attributes: attributes(&metadata) })
    }
}

impl LocalFile {
    pub(super) fn new(
        calls: &Calls,
        path: RemotePath,
        mode: OpenMode,
        file: File,
        ending: Ending,
    ) -> Self {
        let renamed = matches!(ending, Ending::Renamed(_));
        let queue = Queue::new(calls.clone(), Held(Some(Open { file, ending, broken: None })));
        let shared = Shared { path, mode, renamed, cut: AtomicBool::new(false) };
        Self { queue, shared: Arc::new(shared), ended: AtomicBool::new(false) }
    }

    /// As [`OpenFile::answers_for_path`](crate::backend::OpenFile::answers_for_path).
    pub(super) fn answers_for_path(&self) -> bool {
        self.shared.renamed && !self.ended.load(Ordering::Relaxed)
    }

    /// Whole, unless a write failed.
    pub(super) fn end(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        self.ended.store(true, Ordering::Relaxed);
        let shared = self.shared.clone();
        self.queue.command(move |held| match held.0.take() {
            Some(open) => open.close(&shared.path),
            None => Err(closed(&shared.path)),
        })
    }

    pub(super) fn query<A: Send + 'static, F>(
        &self,
        ask: F,
    ) -> impl Future<Output = Result<A, Failure>> + Send + use<A, F>
    where
        F: FnOnce(&Shared, &File) -> Result<A, Failure> + Send + 'static,
    {
        let shared = self.shared.clone();
        self.queue.query(move |held| ask(&shared, &held.open(&shared.path)?.file))
    }

    pub(super) fn command<A: Send + 'static, F>(
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
    pub(super) fn cut(&self) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
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

impl Drop for LocalFile {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Relaxed) {
            drop(self.cut());
        }
    }
}
