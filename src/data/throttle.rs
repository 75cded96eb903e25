//! What a transfer asks before it moves bytes: how fast and how much it may.

use futures_util::future::BoxFuture;

use crate::op::Failure;

/// The lowest limit, in bytes a second: 64 kbit/s. Slower, and one request of an SFTP client takes longer
/// than many clients wait.
pub const BANDWIDTH_MIN: u64 = 8000;
/// The highest limit, in bytes a second.
pub const BANDWIDTH_MAX: u64 = 1 << 40;

/// The limits of one direction of a transfer. Where none applies, there is no throttle, and nothing is
/// asked.
pub trait Throttle: Send + Sync {
    /// The most bytes to move at once, so that transfers that share a limit take turns.
    fn chunk(&self) -> usize;

    /// Counts bytes that are about to move.
    ///
    /// # Errors
    /// A quota is used up: these bytes must not move, and the transfer must end.
    fn count(&self, bytes: usize) -> Result<(), Failure>;

    /// Waits until bytes that were counted may move. May be dropped meanwhile.
    fn wait(&self, bytes: usize) -> BoxFuture<'_, ()>;
}
