//! Open files: the backend's file together with its record.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::core::{Admitted, SessionCore, failed};
use super::path_masking;
use super::record::Record;
use super::write_limit::WriteLimit;
use crate::backend::{InFlight, OpenFile};
use crate::data::{Progress, Throttle};
use crate::op::{
    Changes, CopyData, Direction, Entry, Failure, FileSystem, OpenMode, Operation, RemotePath,
    Status,
};
use crate::policy::Terms;

/// For a backend to report the size of a file that was not read to its end.
const SIZE_TIMEOUT: Duration = Duration::from_secs(2);

/// An open file: the backend's file together with its record. Dropped without [`OpenedFile::close`]
/// or [`OpenedFile::abort`], it counts as aborted.
pub struct OpenedFile {
    session: Arc<SessionCore>,
    /// As the client sees it.
    path: RemotePath,
    appends: bool,
    file: Arc<dyn OpenFile>,
    record: Mutex<Option<Record>>,
    writes: bool,
    limit: WriteLimit,
    read: Arc<Progress>,
    written: Arc<Progress>,
    reads: Arc<Mutex<Reads>>,
    /// The limits on what is read and on what is written.
    throttles: [Option<Arc<dyn Throttle>>; 2],
}

/// The READs of a file.
#[derive(Default)]
struct Reads {
    /// The client has received the end of the file.
    at_end: bool,
    /// The end of the last byte that was read or copied.
    end: u64,
    failed: Option<Failure>,
}

impl OpenedFile {
    pub(super) fn new(
        session: Arc<SessionCore>,
        path: RemotePath,
        mode: OpenMode,
        file: Arc<dyn OpenFile>,
        record: Record,
        terms: Terms,
    ) -> Self {
        let (read, written) = record.read_and_written();
        let (appends, writes) = (mode.append, mode.writes());
        let throttles = [Direction::Download, Direction::Upload].map(|it| record.throttle(it));
        let (record, reads) = (Mutex::new(Some(record)), Arc::default());
        let limit = WriteLimit::new(path.clone(), terms, session.rules.get(), appends);
        Self {
            session,
            path,
            appends,
            file,
            record,
            writes,
            limit,
            read,
            written,
            reads,
            throttles,
        }
    }

    /// As [`OpenFile::read_at`]. The answer waits for the session's limits.
    pub fn read_at(&self, offset: u64, length: u32) -> InFlight<Option<Bytes>> {
        let (reading, read) = (self.file.read_at(offset, length), self.read.clone());
        let (session, reads) = (self.session.clone(), self.reads.clone());
        let throttle = self.throttles[0].clone();
        InFlight::new(Box::pin(async move {
            let outcome = reading.await;
            let length = outcome.as_ref().map_or(0, |bytes| bytes.as_ref().map_or(0, Bytes::len));
            let throttle = throttle.filter(|_| length > 0);
            let counted = throttle.as_ref().map_or(Ok(()), |throttle| throttle.count(length));
            {
                let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(failure) = counted {
                    reads.failed.get_or_insert_with(|| failure.clone());
                    return Err(failure);
                }
                match &outcome {
                    Ok(Some(bytes)) => {
                        read.add_read(offset, bytes);
                        let end = offset.saturating_add(length as u64);
                        reads.end = reads.end.max(end);
                    }
                    Ok(None) => {
                        read.note_end(offset);
                        reads.at_end = true;
                    }
                    Err(failure) => drop(reads.failed.get_or_insert_with(|| failure.clone())),
                }
            }
            if let Some(throttle) = throttle {
                throttle.wait(length).await;
            }
            outcome.map_err(|failure| path_masking::failure(&session.root, failure))
        }))
    }

    /// As [`OpenFile::write_at`]. The answer waits for the session's limits: clients send more once they
    /// have it.
    pub fn write_at(&self, offset: u64, data: Bytes) -> InFlight<()> {
        let length = data.len();
        let throttle = self.throttles[1].clone();
        let counted = || throttle.as_ref().map_or(Ok(()), |throttle| throttle.count(length));
        let counted = || counted().map_err(|failure| self.limit.refuse(failure));
        if let Err(failure) = self.limit.check(offset, length as u64).and_then(|()| counted()) {
            return InFlight::new(Box::pin(async { Err(failure) }));
        }
        self.written.note_write(offset, &data);
        let (writing, written) = (self.file.write_at(offset, data), self.written.clone());
        let session = self.session.clone();
        InFlight::new(Box::pin(async move {
            writing.await.map_err(|failure| path_masking::failure(&session.root, failure))?;
            written.add(length);
            if let Some(throttle) = throttle {
                throttle.wait(length).await;
            }
            Ok(())
        }))
    }

    /// The file's current attributes. Without a record of its own.
    pub async fn stat(&self) -> Result<Entry, Failure> {
        self.file.stat().await.map_err(|failure| self.masked(failure))
    }

    /// Checks the policy again: permission to write a file does not include its attributes.
    pub async fn set_attributes(&self, changes: Changes) -> Result<(), Failure> {
        let (path, follow) = (self.path.clone(), true);
        let hashed = self.written.hashed();
        let operation = Operation::SetAttributes { path, changes, follow };
        // Who writes the file may also end it where it pleases.
        let record = match changes.size {
            Some(size) if self.writes && changes.is_only_size() => {
                self.limit.check_size(size)?;
                self.session.admit_of_open_file(operation, self.limit.terms())?.record
            }
            _ => self.session.admit_operation(operation).await?.record,
        };
        match self.file.set_attributes(&changes).await {
            Ok(()) => {
                if let Some(size) = changes.size {
                    self.written.note_resized(size, hashed);
                }
                record.done();
                Ok(())
            }
            Err(failure) => Err(failed(record, &self.session.root, failure)),
        }
    }

    /// Returns once all that was written is safe at the backend (`fsync@openssh.com`).
    pub async fn sync(&self) -> Result<(), Failure> {
        self.file.sync().await.map_err(|failure| self.masked(failure))
    }

    /// Size and free space of the file system that holds the file (`fstatvfs@openssh.com`).
    pub async fn file_system(&self) -> Result<FileSystem, Failure> {
        self.file.file_system().await.map_err(|failure| self.masked(failure))
    }

    /// As [`OpenFile::copy_data`]; both files belong to one session. Checks the policy again with
    /// both paths.
    pub async fn copy_data(
        &self,
        offset: u64,
        length: u64,
        to: &OpenedFile,
        to_offset: u64,
    ) -> Result<(), Failure> {
        let (from, to_path, append) = (self.path.clone(), to.path.clone(), to.appends);
        let Admitted { record, .. } =
            self.session.admit(CopyData { from, to: to_path, append }).await?;
        if to.limit.is_needed() {
            let copied = match length {
                0 => self.stat().await?.attributes.size.unwrap_or(u64::MAX).saturating_sub(offset),
                _ => length,
            };
            to.limit.check(to_offset, copied)?;
        }
        // A length of 0 is the rest of the file. The size is requested together with the copy, so
        // that no later request overtakes it.
        let end = async {
            match length {
                0 => self.file.stat().await.ok().and_then(|entry| entry.attributes.size),
                _ => offset.checked_add(length),
            }
        };
        // The bytes do not pass through the gateway.
        self.read.spoil_hash();
        to.written.spoil_hash();
        let copying = self.file.copy_data(offset, length, &to.file, to_offset);
        let (end, copied) = futures_util::future::join(end, copying).await;
        match copied {
            Ok(()) => {
                let bytes = end.map_or(0, |end| end.saturating_sub(offset));
                record.progress().add(usize::try_from(bytes).unwrap_or(usize::MAX));
                record.done();
                let mut reads = self.reads();
                reads.end = reads.end.max(end.unwrap_or(0));
                Ok(())
            }
            Err(failure) => {
                // The code names no path, but shows whether the source has ended or nothing was
                // copied.
                let code = failure.status.as_ref().map(|status| status.code);
                let failure = failed(record, &self.session.root, failure);
                let message = failure.message.as_bytes().to_vec();
                let bare = code.filter(|_| failure.status.is_none());
                Err(match bare {
                    Some(code) => failure.with_status(Status { code, message }),
                    None => failure,
                })
            }
        }
    }

    /// Closes the file; waits until the backend has stored it.
    pub async fn close(&self) -> Result<(), Failure> {
        let record = self.take_record();
        self.session.open_uploads.remove(&self.file);
        let partial = if self.writes { None } else { self.partial_size().await };
        if let Some(refused) = self.limit.refused() {
            self.file.abort().await;
            record.into_iter().for_each(|record| record.failed(&refused));
            return Err(refused);
        }
        let closed = self.file.close().await;
        let Some(record) = record else { return closed.map_err(|failure| self.masked(failure)) };
        if let Err(failure) = closed {
            return Err(failed(record, &self.session.root, failure));
        }
        // A failed read does not affect a written file.
        let failed = self.reads().failed.take().filter(|_| !self.writes);
        match (failed, partial) {
            // The client has received the failure with the READ.
            (Some(failure), _) => record.failed(&failure),
            (None, Some(size)) => record.partial(size, None),
            (None, None) => record.done(),
        }
        Ok(())
    }

    /// Ends a file that was read and not closed, because of `failure`. `answered`: every READ was
    /// answered.
    pub async fn end_without_close(&self, failure: &Failure, answered: bool) {
        let record = self.take_record();
        let partial = self.partial_size().await;
        // Nothing is lost at the backend.
        let _ = self.file.close().await;
        let Some(record) = record else { return };
        match (self.reads().failed.take(), partial) {
            (Some(first), _) => record.failed(&first),
            (None, Some(size)) => record.partial(size, Some(failure)),
            // Some clients, such as lftp, never close the last file that they read.
            (None, None) if answered => record.done(),
            (None, None) => record.partial(None, Some(failure)),
        }
    }

    /// `None`: it was read to its end. Otherwise its size, if known.
    async fn partial_size(&self) -> Option<Option<u64>> {
        if self.reads().at_end {
            return None;
        }
        let size = timeout(SIZE_TIMEOUT, self.file.size()).await.ok().flatten();
        if let Some(size) = size {
            self.read.note_end(size);
        }
        // Clients that know the size need not read on to see the end.
        if size.is_some_and(|size| self.reads().end >= size) { None } else { Some(size) }
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends an incomplete file because of `failure`.
    pub async fn abort(&self, failure: &Failure) {
        let record = self.take_record();
        self.session.open_uploads.remove(&self.file);
        self.file.abort().await;
        if let Some(record) = record {
            record.failed(failure);
        }
    }

    fn take_record(&self) -> Option<Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn masked(&self, failure: Failure) -> Failure {
        path_masking::failure(&self.session.root, failure)
    }
}
