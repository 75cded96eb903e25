//! An operation or a transfer that is running.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus::IntCounter;
use tokio::time::Instant;

use super::rate::Rate;
use super::view::RunningView;
use crate::data::Progress;
use crate::op::{Action, Direction};
use crate::session::counted_users::CountedUser;

/// What a session does, until its record is written.
pub(in crate::session) struct Running {
    operation: &'static str,
    path: Vec<u8>,
    to: Option<Vec<u8>>,
    direction: Option<Direction>,
    size: Option<u64>,
    since: SystemTime,
    started: Instant,
    progress: Arc<Progress>,
    /// Bytes read from a file that is open for reading and writing.
    read_back: Arc<Progress>,
    rate: Rate,
    /// Of a transfer.
    counters: Option<ByteCounters>,
    /// What the counters have got.
    counted: Moved,
}

/// The counters that a transfer's bytes are added to, now and then and at its end.
pub struct ByteCounters {
    pub(in crate::session) uploaded: IntCounter,
    pub(in crate::session) downloaded: IntCounter,
    /// The user, if metrics show it.
    pub(in crate::session) user: Option<Arc<CountedUser>>,
}

/// Bytes of files in both directions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// From clients.
    pub up: u64,
    /// To clients.
    pub down: u64,
}

impl Running {
    /// `progress` and `read_back`: what its record counts. `counters`: of a transfer, for all that moves.
    pub(in crate::session) fn new(
        action: &impl Action,
        progress: Arc<Progress>,
        read_back: Arc<Progress>,
        counters: Option<ByteCounters>,
    ) -> Self {
        Self {
            operation: action.name(),
            path: action.path().to_vec(),
            to: action.other_path().map(<[u8]>::to_vec),
            direction: action.direction(),
            size: None,
            since: SystemTime::now(),
            started: Instant::now(),
            progress,
            read_back,
            rate: Rate::new(),
            counters,
            counted: Moved::default(),
        }
    }

    pub(super) fn set_path(&mut self, path: &[u8]) {
        self.path = path.to_vec();
    }

    pub(super) fn set_size(&mut self, size: Option<u64>) {
        self.size = size;
    }

    pub(super) fn is_transfer(&self) -> bool {
        matches!(self.direction, Some(Direction::Upload | Direction::Download))
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        self.direction
    }

    pub(super) fn moved(&self) -> Moved {
        let (bytes, read_back) = (self.progress.bytes(), self.read_back.bytes());
        match self.direction {
            Some(Direction::Upload) => Moved { up: bytes, down: read_back },
            Some(Direction::Download) => Moved { up: 0, down: bytes },
            // The bytes do not pass through the gateway.
            Some(Direction::Copy) | None => Moved::default(),
        }
    }

    pub(super) fn sample(&mut self, now: Instant) {
        self.rate.sample(now, self.progress.bytes());
        self.count();
    }

    /// Adds what has moved since the last time to the counters.
    pub(super) fn count(&mut self) {
        let Some(counters) = &self.counters else { return };
        let moved = self.moved();
        let up = moved.up.saturating_sub(self.counted.up);
        let down = moved.down.saturating_sub(self.counted.down);
        counters.add(up, down);
        self.counted = moved;
    }

    pub(super) fn view(&self, now: Instant) -> RunningView {
        let bytes = self.progress.bytes();
        RunningView {
            operation: self.operation,
            path: self.path.clone(),
            to: self.to.clone(),
            direction: self.direction,
            size: self.size,
            since: self.since,
            duration: now - self.started,
            bytes,
            bytes_read: self.read_back.bytes(),
            rate: self.rate.per_second(now, bytes),
        }
    }
}

impl ByteCounters {
    /// Adds bytes from and to the client.
    pub fn add(&self, uploaded: u64, downloaded: u64) {
        self.uploaded.inc_by(uploaded);
        self.downloaded.inc_by(downloaded);
        self.user.iter().for_each(|user| user.add_bytes(uploaded, downloaded));
    }
}

impl Moved {
    pub(super) fn and(self, other: Self) -> Self {
        Self { up: self.up.saturating_add(other.up), down: self.down.saturating_add(other.down) }
    }
}
