//! Open files, read and written at any offset.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::fs::Dir;

use super::attributes;
use super::blocking::BlockingPool;
use super::copy;
use super::errno::failed;
use super::opened::{LocalFile, Shared};
use crate::backend::{InFlight, OpenFile, PartialUploads};
use crate::op::{Changes, Entry, Failure, FailureKind, FileSystem, OpenMode, RemotePath};

pub(super) async fn open(
    pool: &BlockingPool,
    root: Arc<Dir>,
    path: RemotePath,
    mode: OpenMode,
    partial: PartialUploads,
) -> Result<LocalFile, Failure> {
    let (path, file, ending) = pool
        .run(move || {
            let (file, ending) = super::open::open(root, &path, &mode, partial)?;
            Ok((path, file, ending))
        })
        .await?;
    Ok(LocalFile::new(pool, path, mode, file, ending))
}

#[async_trait]
impl OpenFile for LocalFile {
    fn read_at(&self, offset: u64, length: u32) -> InFlight<Option<Bytes>> {
        InFlight::new(Box::pin(self.query(move |shared, file| shared.read(file, offset, length))))
    }

    fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()> {
        InFlight::new(Box::pin(self.command(move |shared, open| shared.write(open, offset, &data))))
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
        self.answers_for_path()
    }

    async fn sync(&self) -> Result<(), Failure> {
        self.command(|shared, open| {
            let synced = open.file.sync_all();
            synced.map_err(|e| open.record_error(failed(format_args!("sync {}", shared.path), &e)))
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
                format_args!("cannot copy from {} to another backend", self.shared.path),
            )),
        }
    }

    /// The kernel has what was written, as after `close(2)`; only `sync` waits for the disk.
    async fn close(&self) -> Result<(), Failure> {
        self.end().await
    }

    async fn abort(&self) {
        // No caller is left to report a failure to.
        let _ = self.cancel().await;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
