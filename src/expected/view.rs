//! What operators see of an entry.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::tally::{LastFile, State};

/// An entry of `expect` with its present window.
#[derive(Debug, Clone)]
pub struct ExpectedView {
    /// Its name.
    pub name: String,
    /// What the files of the window are.
    pub state: State,
    /// How many are expected.
    pub at_least: usize,
    /// How many have arrived.
    pub arrived: usize,
    /// When the window begins or began.
    pub start: Timestamp,
    /// When the files are or were due.
    pub due: Timestamp,
    /// Of the times in the configuration.
    pub zone: TimeZone,
    /// The last file that arrived, in this window or an earlier one.
    pub last: Option<LastFile>,
}
