//! The bandwidth and the daily bytes of one transfer.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::applied::Applied;
use super::quota::Day;
use super::refusal::Refused;
use crate::data::Throttle;
use crate::op::{Direction, Failure};

/// What transfers take at once when they take turns: the size of most SFTP requests, so that FTP and SFTP
/// get the same.
const PIECE: u64 = 32 * 1024;
/// A transfer forwards bytes this often a second, if its share of the bandwidth allows.
const CHUNKS_PER_SECOND: u64 = 20;
const CHUNK_MIN: u64 = 16 * 1024;
const CHUNK_MAX: u64 = 1024 * 1024;

/// The limits on the bytes of a transfer in one direction.
pub(super) struct TransferThrottle<A> {
    applied: A,
    direction: Direction,
    /// Of several requests of one file, one waits for bandwidth at a time: each transfer has one place in
    /// the row.
    turn: Mutex<()>,
    /// Why the transfer must end: smaller pieces that would still fit do not continue it.
    ended: OnceLock<Failure>,
}

impl<A: AsRef<[Applied]> + Send + Sync + 'static> TransferThrottle<A> {
    /// `None` if nothing limits bytes in this direction.
    pub(super) fn for_bytes(applied: A, direction: Direction) -> Option<Arc<dyn Throttle>> {
        let is_limited = |applied: &Applied| {
            applied.limit().bytes_per_day.is_some()
                || applied.bandwidths(direction).next().is_some()
        };
        let limited = applied.as_ref().iter().any(is_limited);
        let (turn, ended) = (Mutex::new(()), OnceLock::new());
        limited.then(|| Arc::new(Self { applied, direction, turn, ended }) as Arc<dyn Throttle>)
    }

    fn applied(&self) -> &[Applied] {
        self.applied.as_ref()
    }

    /// No other transfer shares a limit with it.
    fn is_alone(&self) -> bool {
        self.applied().iter().all(|applied| applied.counter().transfers() <= 1)
    }

    async fn take_turns(&self, bytes: usize) {
        let _turn = self.turn.lock().await;
        let mut left = bytes as u64;
        while left > 0 {
            // Alone, it needs no turns; but a large request of a slow transfer does not go at once.
            let most = if self.is_alone() { PIECE.max(self.chunk() as u64) } else { PIECE };
            let piece = left.min(most);
            left -= piece;
            let all = self.applied().iter().flat_map(|applied| {
                let buckets = applied.bandwidths(self.direction);
                buckets.map(move |(bucket, rate)| (bucket.take(piece, &rate), applied))
            });
            let Some((due, slowest)) = all.max_by_key(|(due, _)| *due) else { return };
            let now = Instant::now();
            if due > now {
                sleep_until(due).await;
                slowest.configured.metrics.waited("bandwidth", now.elapsed());
            }
        }
    }
}

impl<A: AsRef<[Applied]> + Send + Sync + 'static> Throttle for TransferThrottle<A> {
    fn chunk(&self) -> usize {
        let share = |applied: &Applied| {
            let transfers = applied.counter().transfers().max(1) as u64;
            let slowest = applied.bandwidths(self.direction).map(|(_, rate)| rate.units).min();
            slowest.map(|slowest| slowest / transfers)
        };
        let slowest = self.applied().iter().filter_map(share).min().unwrap_or(u64::MAX);
        (slowest / CHUNKS_PER_SECOND).clamp(CHUNK_MIN, CHUNK_MAX) as usize
    }

    fn count(&self, bytes: usize) -> Result<(), Failure> {
        if let Some(failure) = self.ended.get() {
            return Err(failure.clone());
        }
        let (bytes, today) = (bytes as u64, Day::today());
        for (index, applied) in self.applied().iter().enumerate() {
            let Some(max) = applied.limit().bytes_per_day else { continue };
            if !applied.counter().today.add_bytes(bytes, max, today) {
                for earlier in &self.applied()[..index] {
                    if earlier.limit().bytes_per_day.is_some() {
                        earlier.counter().today.return_bytes(bytes, today);
                    }
                }
                let failure = applied.configured.refuse(Refused::Bytes);
                return Err(self.ended.get_or_init(|| failure).clone());
            }
        }
        Ok(())
    }

    fn wait(&self, bytes: usize) -> BoxFuture<'_, ()> {
        Box::pin(self.take_turns(bytes))
    }
}
