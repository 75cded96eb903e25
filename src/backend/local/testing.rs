//! A backend on a temporary folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{LocalBackend, LocalSession, Settings};
use crate::backend::{BackendSession, OpenFile, PartialUploads, ReadTransfer, WriteTransfer};
use crate::data::{Sink, Source};
use crate::op::{
    Answer, Entry, Failure, FailureKind, ListDirectory, OpenHandle, OpenMode, ReadFile, WriteFile,
};
use crate::op::{Operation, RemotePath, Representation, WriteMode};
use crate::route::Target;

pub(super) struct Sandbox {
    outer: TempDir,
    partial_uploads: PartialUploads,
}

pub(super) fn path(given: impl AsRef<[u8]>) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), given.as_ref()).unwrap()
}

pub(super) fn from(offset: u64) -> WriteMode {
    WriteMode::From { offset }
}

pub(super) const READ: OpenMode = OpenMode {
    read: true,
    write: false,
    append: false,
    create: false,
    truncate: false,
    exclusive: false,
    permissions: None,
};

pub(super) const WRITE: OpenMode = OpenMode { read: false, write: true, ..READ };

pub(super) const BOTH: OpenMode = OpenMode { write: true, ..READ };

/// As clients upload.
pub(super) const UPLOAD: OpenMode = OpenMode { create: true, truncate: true, ..WRITE };

pub(super) const EXCLUSIVE: OpenMode = OpenMode { create: true, exclusive: true, ..WRITE };

/// Waits for work that a drop leaves to other threads.
pub(super) async fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the condition did not become true");
}

impl Sandbox {
    pub(super) fn new() -> Self {
        Self::with(PartialUploads::Keep)
    }

    /// The backend's folder is `inside`; `outside/secret` lies next to it.
    pub(super) fn with(partial_uploads: PartialUploads) -> Self {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("inside")).unwrap();
        std::fs::create_dir(outer.path().join("outside")).unwrap();
        std::fs::write(outer.path().join("outside/secret"), "secret").unwrap();
        Self { outer, partial_uploads }
    }

    pub(super) fn backend(&self) -> LocalBackend {
        let (folder, partial_uploads) = (self.host(""), self.partial_uploads);
        LocalBackend::open(&Settings { folder, partial_uploads }).unwrap()
    }

    pub(super) fn session(&self) -> LocalSession {
        let LocalBackend { root, pool, partial_uploads } = self.backend();
        LocalSession { root, pool, partial_uploads }
    }

    /// The host's path of something in the backend's folder.
    pub(super) fn host(&self, name: impl AsRef<Path>) -> PathBuf {
        self.outer.path().join("inside").join(name)
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.outer.path().join("outside")
    }

    pub(super) fn put(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        std::fs::write(self.host(name), content).unwrap();
    }

    pub(super) fn get(&self, name: impl AsRef<Path>) -> Option<Vec<u8>> {
        std::fs::read(self.host(name)).ok()
    }

    pub(super) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.host("")).unwrap();
        let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name();
        let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(super) async fn perform(&self, operation: Operation) -> Result<Answer, Failure> {
        self.session().perform(&Target::for_test(operation)).await
    }

    pub(super) async fn refusal(&self, operation: Operation) -> FailureKind {
        let failure = self.perform(operation).await.unwrap_err();
        assert!(!failure.message.contains("inside"), "{failure}");
        failure.kind
    }

    pub(super) async fn stat(&self, name: &str) -> Result<Entry, Failure> {
        match self.perform(Operation::Stat(path(name))).await? {
            Answer::Entry(entry) => Ok(entry),
            other => panic!("{other:?}"),
        }
    }

    /// All batches.
    pub(super) async fn list(&self, name: &str) -> Result<Vec<Vec<Entry>>, Failure> {
        let target = Target::for_test(ListDirectory { path: path(name) });
        let mut listing = self.session().list(&target).await?;
        let mut batches = Vec::new();
        while let Some(batch) = listing.next().await? {
            batches.push(batch);
        }
        assert!(listing.next().await?.is_none());
        Ok(batches)
    }

    pub(super) async fn open_read(
        &self,
        name: &str,
        offset: u64,
        representation: Representation,
    ) -> Result<Box<dyn ReadTransfer>, Failure> {
        let path = path(name);
        let target = Target::for_test(ReadFile { path, offset, representation });
        self.session().open_read(&target).await
    }

    pub(super) async fn read(
        &self,
        name: &str,
        offset: u64,
        representation: Representation,
    ) -> Result<Vec<u8>, Failure> {
        let mut transfer = self.open_read(name, offset, representation).await?;
        let mut content = Vec::new();
        match transfer.source() {
            Source::Reader(reader) => reader.read_to_end(&mut content).await.unwrap(),
            Source::Socket(_) => panic!("a file is no socket"),
        };
        transfer.finish().await?;
        Ok(content)
    }

    pub(super) async fn open_write(
        &self,
        name: &str,
        mode: WriteMode,
        representation: Representation,
    ) -> Result<Box<dyn WriteTransfer>, Failure> {
        let path = path(name);
        let target = Target::for_test(WriteFile { path, mode, representation });
        self.session().open_write(&target).await
    }

    pub(super) async fn open(
        &self,
        name: &str,
        mode: OpenMode,
    ) -> Result<Arc<dyn OpenFile>, Failure> {
        let target = Target::for_test(OpenHandle { path: path(name), mode });
        self.session().open(&target).await
    }

    /// Opens and writes; the caller ends it.
    pub(super) async fn start_upload(
        &self,
        name: &str,
        mode: WriteMode,
        content: &[u8],
    ) -> Box<dyn WriteTransfer> {
        let mut transfer = self.open_write(name, mode, Representation::Image).await.unwrap();
        transfer.begin().await.unwrap();
        feed(&mut *transfer, content).await;
        transfer
    }
}

pub(super) async fn feed(transfer: &mut dyn WriteTransfer, content: &[u8]) {
    match transfer.sink() {
        Sink::Writer(writer) => writer.write_all(content).await.unwrap(),
        Sink::Socket(_) => panic!("a file is no socket"),
    }
}
