//! The limits of one session, and of each of its transfers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::applied::Applied;
use super::counters::TransferCount;
use super::quota::Day;
use super::refusal::Refused;
use super::throttle::TransferThrottle;
use crate::data::Throttle;
use crate::op::{Direction, Failure};

/// An operation that would wait longer, because of other sessions, is refused.
const OPERATION_WAIT_MAX: Duration = Duration::from_secs(30);

/// The limits that apply to a session. It counts as open until the last clone is dropped, and so do its
/// transfers.
#[derive(Clone, Default)]
pub struct SessionLimits(Arc<Inner>);

#[derive(Default)]
struct Inner {
    applied: Vec<Applied>,
    /// Operations that a client sends at once take turns: the session has one place in the row.
    operation: Mutex<()>,
}

/// A running transfer; counted until dropped.
pub struct TransferPermit {
    session: SessionLimits,
    /// When it was counted as a file.
    day: Day,
    _counts: Vec<TransferCount>,
}

impl SessionLimits {
    pub(super) fn new(applied: Vec<Applied>) -> Self {
        Self(Arc::new(Inner { applied, operation: Mutex::default() }))
    }

    /// Waits until the next operation may start. May be dropped meanwhile.
    ///
    /// # Errors
    /// It would wait longer than half a minute.
    pub async fn operation(&self) -> Result<(), Failure> {
        if self.applied().iter().all(|applied| applied.operations().is_none()) {
            return Ok(());
        }
        let _turn = self.0.operation.lock().await;
        let mut latest = None;
        for applied in self.applied() {
            let Some((bucket, rate)) = applied.operations() else { continue };
            let due = bucket
                .take_within(1, &rate, OPERATION_WAIT_MAX)
                .map_err(|_| applied.configured.refuse(Refused::Operation))?;
            if latest.is_none_or(|(latest, _)| due > latest) {
                latest = Some((due, applied));
            }
        }
        let now = Instant::now();
        if let Some((due, slowest)) = latest.filter(|(due, _)| *due > now) {
            sleep_until(due).await;
            slowest.configured.metrics.waited("operations", now.elapsed());
        }
        Ok(())
    }

    /// Counts a transfer of a file, which is about to be opened.
    ///
    /// # Errors
    /// There are too many, or a daily quota is used up.
    pub fn transfer(&self) -> Result<TransferPermit, Failure> {
        let today = Day::today();
        let mut counts = Vec::new();
        for applied in self.applied() {
            let counted = applied.counter().add_transfer(applied.limit().transfers);
            counts.push(counted.ok_or_else(|| applied.configured.refuse(Refused::Transfer))?);
        }
        for applied in self.applied() {
            let used_up = |max| applied.counter().today.used(today).bytes >= max;
            if applied.limit().bytes_per_day.is_some_and(used_up) {
                return Err(applied.configured.refuse(Refused::Bytes));
            }
        }
        for (index, applied) in self.applied().iter().enumerate() {
            let Some(max) = applied.limit().files_per_day else { continue };
            if !applied.counter().today.add_file(max, today) {
                return_file(&self.applied()[..index], today);
                return Err(applied.configured.refuse(Refused::File));
            }
        }
        Ok(TransferPermit { session: self.clone(), day: today, _counts: counts })
    }

    fn applied(&self) -> &[Applied] {
        &self.0.applied
    }
}

impl AsRef<[Applied]> for SessionLimits {
    fn as_ref(&self) -> &[Applied] {
        self.applied()
    }
}

impl TransferPermit {
    /// The limits on bytes in one direction; `None` if there are none.
    pub fn throttle(&self, direction: Direction) -> Option<Arc<dyn Throttle>> {
        TransferThrottle::for_bytes(self.session.clone(), direction)
    }

    /// The file was refused, or not a byte of it transferred: it does not count for the day.
    pub fn take_back_file(&self) {
        return_file(self.session.applied(), self.day);
    }
}

fn return_file(applied: &[Applied], counted: Day) {
    let limited = applied.iter().filter(|applied| applied.limit().files_per_day.is_some());
    for applied in limited {
        applied.counter().today.return_file(counted, Day::today());
    }
}
