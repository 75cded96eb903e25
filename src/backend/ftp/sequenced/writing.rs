use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Begin, Known, PIECES, SequentialFile, SequentialWrite, WINDOW, WriteFrom, tail, unsupported,
};
use crate::data::{Budget, Share};
use crate::op::{Failure, FailureKind};

/// What a piece costs besides its bytes.
const PIECE: usize = 128;

/// A file being written: the transfer, and what came too early for it.
pub(super) struct Writing {
    begin: Begin,
    transfer: Option<Box<dyn SequentialWrite>>,
    /// Where the next byte goes; `None` before the first write of a file that is there, and for
    /// writes that all go to the end.
    position: Option<u64>,
    /// The position is where a file that is there ends, and nothing was written yet.
    untouched: bool,
    /// While a file is replaced: up to where it is to have its old bytes, as far as none are written
    /// there. 0: nowhere.
    keeps: Option<u64>,
    /// By offset; all behind `position`.
    early: BTreeMap<u64, Early>,
    early_bytes: u64,
    /// What all files of the session may hold so.
    budget: Budget,
    /// Why nothing more can be written: what the backend has is no whole file.
    broken: Option<Failure>,
}

struct Early {
    data: Bytes,
    _share: Share,
}

impl Writing {
    pub(super) async fn begin(
        file: &dyn SequentialFile,
        begin: Begin,
        budget: Budget,
    ) -> Result<Self, Failure> {
        let (transfer, position) = match begin {
            Begin::Start => (Some(file.open_write(WriteFrom::Start).await?), Some(0)),
            Begin::End => (Some(file.open_write(WriteFrom::End).await?), None),
            Begin::Existing => (None, None),
        };
        Ok(Self {
            begin,
            transfer,
            position,
            untouched: false,
            keeps: None,
            early: BTreeMap::new(),
            early_bytes: 0,
            budget,
            broken: None,
        })
    }

    /// Whether something was written whose end the backend has not confirmed.
    pub(super) fn is_unfinished(&self) -> bool {
        self.transfer.is_some() || !self.early.is_empty() || self.keeps.is_some()
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
        if self.begin == Begin::End {
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
            self.send_early(file).await?;
            self.release_old(file).await;
            return Ok(());
        }
        if let Err(refused) = self.hold(position, offset, data) {
            return Err(self.refuse(refused).await);
        }
        Ok(())
    }

    /// Asked of the backend before the first write, and never before.
    async fn find_position(&mut self, file: &dyn SequentialFile) -> Result<u64, Failure> {
        if let Some(position) = self.position {
            return Ok(position);
        }
        let size = file.size().await?.unwrap_or(0);
        (self.position, self.untouched) = (Some(size), true);
        Ok(size)
    }

    /// From here on the file is written anew; it has `size` bytes.
    async fn replace(&mut self, file: &dyn SequentialFile, size: u64) -> Result<(), Failure> {
        match file.open_write(WriteFrom::Over).await {
            Ok(transfer) => {
                self.transfer = Some(transfer);
                (self.position, self.keeps, self.untouched) = (Some(0), Some(size), false);
                Ok(())
            }
            Err(failure) => Err(self.refuse(failure).await),
        }
    }

    /// Once nothing of the old file is missing.
    async fn release_old(&mut self, file: &dyn SequentialFile) {
        let Some(keeps) = self.keeps.filter(|keeps| *keeps > 0) else { return };
        if self.position.is_some_and(|position| position >= keeps) {
            self.keeps = Some(0);
            file.release_old().await;
        }
    }

    fn hold(&mut self, position: u64, offset: u64, data: Bytes) -> Result<(), Failure> {
        let length = data.len() as u64;
        let end = offset.saturating_add(length);
        if offset < position {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: the bytes at {offset} cannot be \
                 replaced, {position} are there; write the whole file anew"
            )));
        }
        let too_many = self.early_bytes + length > WINDOW || self.early.len() >= PIECES;
        if end - position > WINDOW || too_many {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: {offset} is too far from {position}, \
                 where the file is; write it in order"
            )));
        }
        let before = self.early.range(..=offset).next_back();
        let overlaps_before = before.is_some_and(|(at, held)| at + held.data.len() as u64 > offset);
        if overlaps_before || self.early.range(offset..end).next().is_some() {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: the bytes at {offset} are written twice"
            )));
        }
        let Some(share) = self.budget.take(data.len() + PIECE) else {
            return Err(unsupported(format!(
                "the backend writes files in sequence only: too much waits for what comes before \
                 it, {offset} for {position}; write in order"
            )));
        };
        // A copy: a slice would hold all that came along with it.
        self.early.insert(offset, Early { data: Bytes::copy_from_slice(&data), _share: share });
        self.early_bytes += length;
        Ok(())
    }

    async fn send_early(&mut self, file: &dyn SequentialFile) -> Result<(), Failure> {
        while let Some(position) = self.position
            && let Some((&offset, _)) = self.early.first_key_value()
            && offset <= position
        {
            let Some(Early { data, .. }) = self.early.remove(&offset) else { break };
            let length = data.len() as u64;
            self.early_bytes -= length;
            if offset < position {
                let twice = format!(
                    "the backend writes files in sequence only: {offset} was written twice"
                );
                return Err(self.refuse(unsupported(twice)).await);
            }
            self.send(file, data).await?;
            self.position = Some(position + length);
        }
        Ok(())
    }

    async fn send(&mut self, file: &dyn SequentialFile, data: Bytes) -> Result<(), Failure> {
        if self.transfer.is_none() {
            self.transfer = Some(self.go_on(file).await?);
        }
        self.untouched = false;
        let Some(transfer) = &mut self.transfer else { return Ok(()) };
        match transfer.write(data).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.refuse(failure).await),
        }
    }

    /// A transfer behind what is there.
    async fn go_on(
        &mut self,
        file: &dyn SequentialFile,
    ) -> Result<Box<dyn SequentialWrite>, Failure> {
        let Some(position) = self.position else { return file.open_write(WriteFrom::End).await };
        match file.size().await? {
            // As a new one: a cut must leave it as it was where that is wanted.
            None | Some(0) if position == 0 => file.open_write(WriteFrom::Start).await,
            Some(size) if size == position => file.open_write(WriteFrom::End).await,
            size => {
                let size = size.unwrap_or(0);
                let failure = Failure::backend(
                    FailureKind::TransferCut,
                    format!(
                        "the file at the backend was changed by somebody else: it has {size} bytes, not {position}"
                    ),
                );
                self.broken = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// What was begun is cut: without these bytes it would not be what the client wrote. A refusal
    /// before anything was written changes nothing.
    async fn refuse(&mut self, failure: Failure) -> Failure {
        let begun = self.is_unfinished();
        (self.early, self.early_bytes) = (BTreeMap::new(), 0);
        let told = match self.transfer.take() {
            Some(transfer) => transfer.abort().await,
            None => None,
        };
        // A refusal of ours stays what it is; about a broken transfer the backend knows more.
        let failure = match failure.kind {
            FailureKind::Unsupported => failure,
            _ => told.unwrap_or(failure),
        };
        self.keeps = None;
        if begun {
            self.broken = Some(failure.clone());
        } else if self.begin == Begin::Existing {
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
        if let (Some(keeps), Some(position), true) = (self.keeps, self.position, size > 0) {
            let most = position.max(keeps);
            if self.early.is_empty() && (position..=most).contains(&size) {
                self.keeps = Some(size);
                self.release_old(file).await;
                return Ok(());
            }
        }
        let now = match self.position {
            Some(position) => self.keeps.map_or(position, |keeps| keeps.max(position)),
            None if self.transfer.is_some() => {
                return Err(unsupported(
                    "the backend cannot cut off a file that is being appended",
                ));
            }
            None => file.size().await?.unwrap_or(0),
        };
        if now == size && self.early.is_empty() {
            return Ok(());
        }
        if size > 0 {
            return Err(unsupported(format!(
                "the backend cannot cut a file off or fill it up: it has {now} bytes, {size} are \
                 wanted; only 0 can be had"
            )));
        }
        let begun = self.is_unfinished();
        (self.early, self.early_bytes) = (BTreeMap::new(), 0);
        // What it has is wanted no more; whole it never was.
        if let Some(transfer) = self.transfer.take() {
            transfer.abort().await;
        }
        // A file that is being replaced stays until the end still.
        let from = if self.keeps.is_some() { WriteFrom::Over } else { WriteFrom::Start };
        let transfer = file.open_write(from).await;
        self.transfer = Some(transfer.inspect_err(|failure| {
            (self.broken, self.keeps) = (begun.then(|| failure.clone()), None);
        })?);
        (self.position, self.untouched) = (Some(0), false);
        if self.keeps.is_some() {
            self.keeps = Some(0);
            file.release_old().await;
        }
        Ok(())
    }

    /// The backend has all that was written, or says why not.
    pub(super) async fn finish(
        &mut self,
        file: &dyn SequentialFile,
        whole: bool,
    ) -> Result<(), Failure> {
        self.check()?;
        if let (Some((offset, _)), Some(position)) = (self.early.first_key_value(), self.position) {
            let hole = format!(
                "the file would have a hole from {position} to {offset}: these bytes never came, \
                 and the backend writes files in sequence only"
            );
            return Err(self.refuse(unsupported(hole)).await);
        }
        if whole {
            self.add_tail(file).await?;
        }
        self.keeps = self.keeps.filter(|_| !whole);
        let Some(transfer) = self.transfer.take() else { return Ok(()) };
        let finished = transfer.finish(whole).await;
        finished.inspect_err(|failure| {
            (self.broken, self.keeps) = (Some(failure.clone()), None);
        })
    }

    /// What a file that is replaced keeps behind what was written.
    async fn add_tail(&mut self, file: &dyn SequentialFile) -> Result<(), Failure> {
        let (Some(keeps), Some(position)) = (self.keeps, self.position) else { return Ok(()) };
        if position >= keeps {
            return Ok(());
        }
        let synced = self.transfer.is_none();
        let added = match self.transfer.take() {
            Some(transfer) => Ok(transfer),
            None => self.go_on(file).await,
        };
        let added = match added {
            Ok(transfer) => {
                let transfer = self.transfer.insert(transfer);
                tail::copy(file, &mut **transfer, position, keeps).await
            }
            Err(failure) => Err(failure),
        };
        match added {
            Ok(()) => {
                self.position = Some(keeps);
                Ok(())
            }
            Err(failure) => {
                let without_transfer = synced && self.transfer.is_none();
                let failure = self.refuse(failure).await;
                if without_transfer {
                    file.abandon().await;
                }
                Err(failure)
            }
        }
    }

    pub(super) async fn abort(&mut self, file: &dyn SequentialFile, closed: bool) {
        (self.early, self.early_bytes) = (BTreeMap::new(), 0);
        match self.transfer.take() {
            Some(transfer) => drop(transfer.abort().await),
            None if closed || self.broken.is_some() => {}
            None => file.abandon().await,
        }
    }

    pub(super) fn tell(&self, known: &Known) {
        known.set_unfinished(self.is_unfinished());
        let last = self.early.last_key_value().map(|(at, held)| at + held.data.len() as u64);
        if self.begin != Begin::End && (self.position.is_some() || last.is_some()) {
            known.set_size(last.or(self.position).max(self.keeps).map(|size| (size, None)));
        }
    }

    fn check(&self) -> Result<(), Failure> {
        self.broken.clone().map_or(Ok(()), Err)
    }
}
