use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ahead::{Ahead, Found, SLICE};
use super::{SequentialFile, SequentialRead};
use crate::op::Failure;

/// What one answer may bring, in bytes.
const LONGEST: u32 = 1024 * 1024;
/// What one read of the transfer may bring, in bytes.
const CHUNK: usize = 256 * 1024;
/// A read that the transfer does not come near waits so long for those that it serves.
const PATIENCE: Duration = Duration::from_secs(2);
/// After so long without a reader, a server may have given the transfer up by itself.
const FORSAKEN: Duration = Duration::from_secs(10);
/// For so long the end that was seen counts as the end: files grow.
const END: Duration = Duration::from_secs(2);

pub(super) type ReadAnswer = oneshot::Sender<Result<Option<Bytes>, Failure>>;

/// The reads that wait, and the transfer that serves them.
#[derive(Default)]
pub(super) struct Reading {
    transfer: Option<Box<dyn SequentialRead>>,
    ahead: Ahead,
    /// Where the transfer began.
    begun: u64,
    /// Why the transfer brings no more (`None`: its end came); what the backend says about that is
    /// still to be heard.
    over: Option<Option<Failure>>,
    /// By offset, then by the order of the calls.
    waiting: BTreeMap<(u64, u64), Waiting>,
    asked: u64,
    /// Whom the transfer was begun for: answered before it may be begun for another.
    served: Option<(u64, u64)>,
    /// Where the file ended.
    end: Option<End>,
    /// Where the backend cut the file off, and what it said: never the file's end.
    cut: Option<(u64, Failure)>,
    /// Since when nobody waits.
    idle: Option<Instant>,
    /// The transfer was left alone for so long that its cut says nothing about the file.
    forsaken: bool,
}

#[derive(Clone, Copy)]
struct End {
    at: u64,
    /// When the backend said so.
    seen: Instant,
    /// Whether that is the file's size, too: an end that was seen from behind is not.
    exact: bool,
}

struct Waiting {
    length: u64,
    since: Instant,
    answer: ReadAnswer,
}

/// What the transfer has to do next for those who wait.
enum Step {
    Fill,
    Finish,
    Begin(u64, u64),
}

impl Reading {
    /// Begins at 0, for the reads that will come.
    pub(super) async fn begin(file: &dyn SequentialFile) -> Result<Self, Failure> {
        let transfer = Some(file.open_read(0).await?);
        Ok(Self { transfer, idle: Some(Instant::now()), ..Self::default() })
    }

    pub(super) fn ask(&mut self, offset: u64, length: u32, answer: ReadAnswer) {
        if let Some(since) = self.idle.take() {
            self.forsaken |= since.elapsed() >= FORSAKEN;
        }
        self.asked += 1;
        let length = u64::from(length.clamp(1, LONGEST)).min(u64::MAX - offset);
        let waiting = Waiting { length, since: Instant::now(), answer };
        self.waiting.insert((offset, self.asked), waiting);
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether bytes are held that nobody has read.
    pub(super) fn holds(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// For the next reader a transfer is begun anew.
    pub(super) fn forget_ahead(&mut self) {
        self.ahead = Ahead::at(self.ahead.position());
        (self.served, self.end) = (None, None);
    }

    pub(super) fn is_running(&self) -> bool {
        self.transfer.is_some()
    }

    /// How large the file is, and until when that counts.
    pub(super) fn size(&self) -> Option<(u64, Instant)> {
        self.end.filter(|end| end.exact).map(|end| (end.at, end.seen + END))
    }

    /// Where the file ends, while that is fresh.
    fn end(&self) -> Option<u64> {
        self.end.filter(|end| end.seen.elapsed() < END).map(|end| end.at)
    }

    /// Answers all who can be answered with what is here.
    pub(super) fn serve(&mut self) {
        let end = self.end();
        let ended = end.is_some() && self.transfer.is_none();
        let mut still = BTreeMap::new();
        for (key, waiting) in std::mem::take(&mut self.waiting) {
            let (offset, _) = key;
            let cut = self.cut.as_ref().filter(|(at, _)| offset >= *at).map(|(_, f)| f.clone());
            let told = match (cut, end) {
                (Some(failure), _) => Some(Err(failure)),
                (None, Some(end)) if offset >= end => Some(Ok(None)),
                _ if self.transfer.is_none() && !ended => None,
                _ => match self.ahead.take(offset, waiting.length, ended) {
                    Found::Bytes(bytes) => Some(Ok(Some(bytes).filter(|b| !b.is_empty()))),
                    Found::NotYet | Found::Gone => None,
                },
            };
            match told {
                // A reader that went away needs nothing.
                Some(told) => drop(waiting.answer.send(told)),
                None => drop(still.insert(key, waiting)),
            }
        }
        self.waiting = still;
        if self.waiting.is_empty() && self.idle.is_none() {
            self.idle = Some(Instant::now());
        }
    }

    /// Goes one step on for those who wait. Cancelled between two reads of the transfer, nothing is
    /// lost.
    pub(super) async fn advance(&mut self, file: &dyn SequentialFile) {
        match self.step() {
            Some(Step::Fill) => self.fill().await,
            Some(Step::Finish) => self.finish(file).await,
            Some(Step::Begin(offset, asked)) => self.restart(file, (offset, asked)).await,
            None => {}
        }
    }

    /// Whether the next step is a read of the running transfer, which may be cancelled.
    pub(super) fn can_be_cancelled(&self) -> bool {
        matches!(self.step(), Some(Step::Fill))
    }

    fn step(&self) -> Option<Step> {
        let ((lowest, first), _) = self.waiting.first_key_value()?;
        if self.transfer.is_none() {
            return Some(Step::Begin(*lowest, *first));
        }
        if self.over.is_some() {
            return Some(Step::Finish);
        }
        let reached = |offset: &u64| self.ahead.reaches(*offset);
        // Two who are impatient would else take the transfer from each other for ever.
        if self.served.is_some_and(|(offset, asked)| {
            self.waiting.contains_key(&(offset, asked)) && reached(&offset)
        }) {
            return Some(Step::Fill);
        }
        let impatient = self.waiting.iter().filter(|((offset, _), _)| !reached(offset));
        let impatient = impatient.filter(|(_, waiting)| waiting.since.elapsed() >= PATIENCE);
        if let Some(((offset, asked), _)) = impatient.min_by_key(|((_, asked), _)| *asked) {
            return Some(Step::Begin(*offset, *asked));
        }
        match self.waiting.keys().any(|(offset, _)| reached(offset)) {
            true => Some(Step::Fill),
            false => Some(Step::Begin(*lowest, *first)),
        }
    }

    async fn fill(&mut self) {
        let reached = |offset: &u64| self.ahead.reaches(*offset);
        let wanted = self.waiting.keys().map(|(offset, _)| *offset).find(reached);
        let Some(transfer) = &mut self.transfer else { return };
        // Passed over in pieces that are not as small as what a network brings at a time.
        if let Some(offset) = wanted.filter(|_| self.ahead.head.len() >= SLICE) {
            self.ahead.pass_to(offset);
        }
        let position = self.ahead.position();
        let head = &mut self.ahead.head;
        if head.is_empty() && head.capacity() == 0 {
            *head = BytesMut::with_capacity(chunk(&self.waiting, position));
        } else if head.len() == head.capacity() {
            head.reserve(CHUNK);
        }
        match transfer.read(&mut self.ahead.head).await {
            Ok(0) => self.over = Some(None),
            Ok(_) => {}
            Err(failure) => self.over = Some(Some(failure)),
        }
    }

    /// The transfer has ended, by itself or by a failure. What the backend says about it counts.
    async fn finish(&mut self, file: &dyn SequentialFile) {
        let Some(transfer) = self.transfer.take() else { return };
        let position = self.ahead.position();
        let failure = match self.over.take().flatten() {
            None => transfer.finish().await.err(),
            Some(failure) => Some(transfer.abort().await.unwrap_or(failure)),
        };
        match failure {
            None => self.end = Some(found_end(file, self.begun, position).await),
            // Begun anew by the next step.
            Some(_) if std::mem::take(&mut self.forsaken) => {}
            Some(failure) => {
                self.serve_whole();
                self.cut = Some((position, failure.clone()));
                self.fail(&failure);
            }
        }
    }

    /// What is here whole is given out before a cut is told.
    fn serve_whole(&mut self) {
        for (key, waiting) in std::mem::take(&mut self.waiting) {
            match self.ahead.take(key.0, waiting.length, false) {
                Found::Bytes(bytes) => drop(waiting.answer.send(Ok(Some(bytes)))),
                Found::NotYet | Found::Gone => drop(self.waiting.insert(key, waiting)),
            }
        }
    }

    async fn restart(&mut self, file: &dyn SequentialFile, (offset, asked): (u64, u64)) {
        self.abort().await;
        self.ahead = Ahead::at(offset);
        (self.end, self.cut) = (None, None);
        if offset > 0
            && let Err(changed) = file.check_same().await
        {
            return self.fail(&changed);
        }
        let failure = match file.open_read(offset).await {
            Ok(transfer) => {
                (self.transfer, self.begun, self.forsaken) = (Some(transfer), offset, false);
                self.served = Some((offset, asked));
                // What they have waited for others counts once.
                let now = Instant::now();
                self.waiting.values_mut().for_each(|waiting| waiting.since = now);
                return;
            }
            Err(failure) => failure,
        };
        // Servers refuse an offset behind the end.
        match file.size().await {
            Ok(Some(size)) if offset > 0 && offset >= size => {
                self.end = Some(End { at: size, seen: Instant::now(), exact: true });
            }
            _ => self.fail(&failure),
        }
    }

    pub(super) fn fail(&mut self, failure: &Failure) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            let _ = waiting.answer.send(Err(failure.clone()));
        }
        self.idle = Some(Instant::now());
    }

    /// Ends a transfer that nobody wants any more.
    pub(super) async fn abort(&mut self) {
        self.over = None;
        if let Some(transfer) = self.transfer.take() {
            transfer.abort().await;
        }
    }

    /// As [`Reading::abort`], for a reader who has all: what is left may be no more than the end.
    pub(super) async fn close(&mut self) {
        /// For the end to come, where it is on its way.
        const SOON: Duration = Duration::from_millis(250);
        let Some(transfer) = &mut self.transfer else { return };
        self.ahead = Ahead::default();
        if self.over.take().is_some_and(|broken| broken.is_none()) {
            if let Some(transfer) = self.transfer.take() {
                let _ = transfer.finish().await;
            }
            return;
        }
        let rest = tokio::time::timeout(SOON, transfer.read(&mut self.ahead.head)).await;
        match (rest, self.transfer.take()) {
            (Ok(Ok(0)), Some(transfer)) => drop(transfer.finish().await),
            (_, Some(transfer)) => drop(transfer.abort().await),
            (_, None) => {}
        }
    }

    /// Nothing that was read ahead is good any more.
    pub(super) async fn forget(&mut self) {
        self.abort().await;
        *self = Self { asked: self.asked, ..Self::default() };
    }
}

/// Bytes to read from `position` on, where nothing is left over: up to where an answer ends, so that
/// nothing is left over for the next, which would have to be copied.
fn chunk(waiting: &BTreeMap<(u64, u64), Waiting>, position: u64) -> usize {
    let far = position.saturating_add(CHUNK as u64);
    let ends = waiting.range(..(far, 0)).map(|((offset, _), w)| offset + w.length);
    let last = ends.filter(|end| *end > position && *end <= far).max();
    last.map(|end| (end - position) as usize).filter(|length| *length >= SLICE).unwrap_or(CHUNK)
}

/// Some servers take an offset behind the end, too, and bring nothing from there.
async fn found_end(file: &dyn SequentialFile, begun: u64, position: u64) -> End {
    let seen = Instant::now();
    if position > begun || position == 0 {
        return End { at: position, seen, exact: true };
    }
    match file.size().await {
        Ok(Some(size)) if size <= position => End { at: size, seen, exact: true },
        _ => End { at: position, seen, exact: false },
    }
}
