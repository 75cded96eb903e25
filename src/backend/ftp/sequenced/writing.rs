//! The writes of an open file: the transfer (STOR or APPE), and the queue of writes that arrived
//! before their turn.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    FileState, MAX_PIECES, SequentialFile, SequentialWrite, StoreMode, WINDOW_SIZE, WriteAccess,
    copy, unsupported,
};
use crate::data::{Budget, Share};
use crate::op::{Failure, FailureKind};

/// Overhead of a queued piece, in bytes.
const PIECE_SIZE: usize = 128;

/// A file being written: the transfer and the queued writes.
pub(super) struct Writing {
    access: WriteAccess,
    transfer: Option<Box<dyn SequentialWrite>>,
    /// Offset of the next byte of the transfer. `None` before the first write to an existing file,
    /// and for appends.
    position: Option<u64>,
    /// The position is the end of the existing file, and nothing was written yet.
    untouched: bool,
    /// While a file is replaced: its bytes after those written are kept up to here. 0: none are
    /// kept.
    keep_until: Option<u64>,
    /// By offset, all after `position`.
    queued: BTreeMap<u64, Queued>,
    queued_bytes: u64,
    /// Shared by all files of the session.
    budget: Budget,
    /// Why writing has failed for good: the file at the backend is incomplete.
    broken: Option<Failure>,
}

struct Queued {
    data: Bytes,
    _share: Share,
}

impl Writing {
    pub(super) async fn open(
        file: &dyn SequentialFile,
        access: WriteAccess,
        budget: Budget,
    ) -> Result<Self, Failure> {
        let (transfer, position) = match access {
            WriteAccess::Create => (Some(file.start_write(StoreMode::Create).await?), Some(0)),
            WriteAccess::Append => (Some(file.start_write(StoreMode::Append).await?), None),
            WriteAccess::Existing => (None, None),
        };
        Ok(Self {
            access,
            transfer,
            position,
            untouched: false,
            keep_until: None,
            queued: BTreeMap::new(),
            queued_bytes: 0,
            budget,
            broken: None,
        })
    }

    /// Whether there is a write whose end the backend has not confirmed.
    pub(super) fn is_unfinished(&self) -> bool {
        self.transfer.is_some() || !self.queued.is_empty() || self.keep_until.is_some()
    }

    pub(super) async fn write(
        &mut self,
        file: &dyn SequentialFile,
        offset: u64,
        data: Bytes,
    ) -> Result<(), Failure> {
        self.check()?;
        if data.is_empty() {
            return Ok(());
        }
        if self.access == WriteAccess::Append {
            return self.send(file, data).await;
        }
        let mut position = self.find_position(file).await?;
        let length = data.len() as u64;
        if self.untouched && offset == 0 && position > 0 {
            self.replace(file, position).await?;
            position = 0;
        }
        if offset == position {
            self.send(file, data).await?;
            self.position = Some(position + length);
            self.send_queued(file).await?;
            self.release_original(file).await;
            return Ok(());
        }
        if let Err(refused) = self.hold(position, offset, data) {
            return Err(self.cut(refused).await);
        }
        Ok(())
    }

    /// Asks the backend for the size, before the first write only.
    async fn find_position(&mut self, file: &dyn SequentialFile) -> Result<u64, Failure> {
        if let Some(position) = self.position {
            return Ok(position);
        }
        let size = file.size().await?.unwrap_or(0);
        (self.position, self.untouched) = (Some(size), true);
        Ok(size)
    }

    /// Starts to replace the file, which has `size` bytes.
    async fn replace(&mut self, file: &dyn SequentialFile, size: u64) -> Result<(), Failure> {
        match file.start_write(StoreMode::Replace).await {
            Ok(transfer) => {
                self.transfer = Some(transfer);
                (self.position, self.keep_until, self.untouched) = (Some(0), Some(size), false);
                Ok(())
            }
            Err(failure) => Err(self.cut(failure).await),
        }
    }

    /// Releases the original file once all its bytes are overwritten.
    async fn release_original(&mut self, file: &dyn SequentialFile) {
        let Some(keep_until) = self.keep_until.filter(|keep_until| *keep_until > 0) else { return };
        if self.position.is_some_and(|position| position >= keep_until) {
            self.keep_until = Some(0);
            file.release_original().await;
        }
    }

    fn hold(&mut self, position: u64, offset: u64, data: Bytes) -> Result<(), Failure> {
        let length = data.len() as u64;
        let end = offset.saturating_add(length);
        if offset < position {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: offset {offset} \
                 cannot be overwritten, {position} bytes are written already; write the whole file again"
            )));
        }
        let too_many = self.queued_bytes + length > WINDOW_SIZE || self.queued.len() >= MAX_PIECES;
        if end - position > WINDOW_SIZE || too_many {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: offset {offset} is \
                 too far from {position}, the next byte; write in order"
            )));
        }
        let before = self.queued.range(..=offset).next_back();
        let overlaps_before = before.is_some_and(|(at, held)| at + held.data.len() as u64 > offset);
        if overlaps_before || self.queued.range(offset..end).next().is_some() {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: the bytes at {offset} were written twice"
            )));
        }
        let Some(share) = self.budget.take(data.len() + PIECE_SIZE) else {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: too many bytes \
                 are queued, and offset {offset} must wait for {position}; write in order"
            )));
        };
        // Copied: a slice would keep the whole receive buffer alive.
        self.queued.insert(offset, Queued { data: Bytes::copy_from_slice(&data), _share: share });
        self.queued_bytes += length;
        Ok(())
    }

    async fn send_queued(&mut self, file: &dyn SequentialFile) -> Result<(), Failure> {
        while let Some(position) = self.position
            && let Some((&offset, _)) = self.queued.first_key_value()
            && offset <= position
        {
            let Some(Queued { data, .. }) = self.queued.remove(&offset) else { break };
            let length = data.len() as u64;
            self.queued_bytes -= length;
            if offset < position {
                let message = format!(
                    "the backend writes files in sequence only: the bytes at {offset} were written twice"
                );
                return Err(self.cut(unsupported(message)).await);
            }
            self.send(file, data).await?;
            self.position = Some(position + length);
        }
        Ok(())
    }

    async fn send(&mut self, file: &dyn SequentialFile, data: Bytes) -> Result<(), Failure> {
        if self.transfer.is_none() {
            self.transfer = Some(self.resume(file).await?);
        }
        self.untouched = false;
        let Some(transfer) = &mut self.transfer else { return Ok(()) };
        match transfer.write(data).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.cut(failure).await),
        }
    }

    /// Starts a transfer that continues the file.
    async fn resume(
        &mut self,
        file: &dyn SequentialFile,
    ) -> Result<Box<dyn SequentialWrite>, Failure> {
        let Some(position) = self.position else {
            return file.start_write(StoreMode::Append).await;
        };
        match file.size().await? {
            // As a new file, so that an abort treats it as one.
            None | Some(0) if position == 0 => file.start_write(StoreMode::Create).await,
            Some(size) if size == position => file.start_write(StoreMode::Append).await,
            size => {
                let size = size.unwrap_or(0);
                let failure = Failure::backend(
                    FailureKind::TransferCut,
                    format!(
                        "the file at the backend was changed by another client: it has {size} bytes, not {position}"
                    ),
                );
                self.broken = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Aborts the transfer: without the refused bytes, the file would be wrong. A refusal before
    /// the first write changes nothing.
    async fn cut(&mut self, failure: Failure) -> Failure {
        let start = self.is_unfinished();
        (self.queued, self.queued_bytes) = (BTreeMap::new(), 0);
        let reported = match self.transfer.take() {
            Some(transfer) => transfer.abort().await,
            None => None,
        };
        // For a broken transfer, the backend's own reply is more specific.
        let failure = match failure.kind {
            FailureKind::Unsupported => failure,
            _ => reported.unwrap_or(failure),
        };
        self.keep_until = None;
        if start {
            self.broken = Some(failure.clone());
        } else if self.access == WriteAccess::Existing {
            self.position = None;
        }
        failure
    }

    pub(super) async fn truncate(
        &mut self,
        file: &dyn SequentialFile,
        size: u64,
    ) -> Result<(), Failure> {
        self.check()?;
        if let (Some(keep_until), Some(position), true) = (self.keep_until, self.position, size > 0)
        {
            let most = position.max(keep_until);
            if self.queued.is_empty() && (position..=most).contains(&size) {
                self.keep_until = Some(size);
                self.release_original(file).await;
                return Ok(());
            }
        }
        let current = match self.position {
            Some(position) => {
                self.keep_until.map_or(position, |keep_until| keep_until.max(position))
            }
            None if self.transfer.is_some() => {
                return Err(unsupported(
                    "the backend cannot truncate a file that is being appended to",
                ));
            }
            None => file.size().await?.unwrap_or(0),
        };
        if current == size && self.queued.is_empty() {
            return Ok(());
        }
        if size > 0 {
            return Err(unsupported(format!(
                "the backend can truncate a file to 0 bytes only: it has {current} bytes, and {size} \
                 were requested"
            )));
        }
        let start = self.is_unfinished();
        (self.queued, self.queued_bytes) = (BTreeMap::new(), 0);
        // Aborted, so that the backend does not take it for a complete file.
        if let Some(transfer) = self.transfer.take() {
            transfer.abort().await;
        }
        // A file that is being replaced stays until the end.
        let from = if self.keep_until.is_some() { StoreMode::Replace } else { StoreMode::Create };
        let transfer = file.start_write(from).await;
        self.transfer = Some(transfer.inspect_err(|failure| {
            (self.broken, self.keep_until) = (start.then(|| failure.clone()), None);
        })?);
        (self.position, self.untouched) = (Some(0), false);
        if self.keep_until.is_some() {
            self.keep_until = Some(0);
            file.release_original().await;
        }
        Ok(())
    }

    /// Returns when the backend has stored all writes, or its failure.
    pub(super) async fn finish(
        &mut self,
        file: &dyn SequentialFile,
        whole: bool,
    ) -> Result<(), Failure> {
        self.check()?;
        if let (Some((offset, _)), Some(position)) = (self.queued.first_key_value(), self.position)
        {
            let message = format!(
                "the file would have a hole from {position} to {offset}: these bytes were \
                 not written, and the backend writes files in sequence only"
            );
            return Err(self.cut(unsupported(message)).await);
        }
        if whole {
            self.add_tail(file).await?;
        }
        self.keep_until = self.keep_until.filter(|_| !whole);
        let Some(transfer) = self.transfer.take() else { return Ok(()) };
        let finished = transfer.finish(whole).await;
        finished.inspect_err(|failure| {
            (self.broken, self.keep_until) = (Some(failure.clone()), None);
        })
    }

    /// Appends what a replaced file keeps after the written bytes.
    async fn add_tail(&mut self, file: &dyn SequentialFile) -> Result<(), Failure> {
        let (Some(keep_until), Some(position)) = (self.keep_until, self.position) else {
            return Ok(());
        };
        if position >= keep_until {
            return Ok(());
        }
        let synced = self.transfer.is_none();
        let added = match self.transfer.take() {
            Some(transfer) => Ok(transfer),
            None => self.resume(file).await,
        };
        let added = match added {
            Ok(transfer) => {
                let transfer = self.transfer.insert(transfer);
                copy::copy_tail(file, &mut **transfer, position, keep_until).await
            }
            Err(failure) => Err(failure),
        };
        match added {
            Ok(()) => {
                self.position = Some(keep_until);
                Ok(())
            }
            Err(failure) => {
                let without_transfer = synced && self.transfer.is_none();
                let failure = self.cut(failure).await;
                if without_transfer {
                    file.abandon().await;
                }
                Err(failure)
            }
        }
    }

    pub(super) async fn abort(&mut self, file: &dyn SequentialFile, closed: bool) {
        (self.queued, self.queued_bytes) = (BTreeMap::new(), 0);
        match self.transfer.take() {
            Some(transfer) => drop(transfer.abort().await),
            None if closed || self.broken.is_some() => {}
            None => file.abandon().await,
        }
    }

    pub(super) fn publish(&self, state: &FileState) {
        state.set_unfinished(self.is_unfinished());
        let queued_end = self.queued.last_key_value().map(|(at, held)| at + held.data.len() as u64);
        if self.access != WriteAccess::Append && (self.position.is_some() || queued_end.is_some()) {
            state.set_size(
                queued_end.or(self.position).max(self.keep_until).map(|size| (size, None)),
            );
        }
    }

    fn check(&self) -> Result<(), Failure> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}
