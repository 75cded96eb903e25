//! One entry of `expect`, as configured.

use super::schedule::Schedule;
use crate::policy::{Names, PathPatterns, SessionConditions, SessionFacts};

/// An entry of `expect`.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// Unique: in metrics, in the log and in the saved state.
    pub name: String,
    /// The sessions whose files it counts.
    pub matches: SessionConditions,
    /// Of which one must match the client's path of the file.
    pub paths: PathPatterns,
    /// `matches` and `paths` as text: what has arrived is kept for as long as it is the same.
    pub counts: String,
    /// How many files are expected, from 1 to [`FILES_MAX`](super::FILES_MAX).
    pub at_least: usize,
    /// When.
    pub schedule: Schedule,
}

impl Expectation {
    /// Whether it counts files of such a session under this path, spelled as rules match it.
    pub(super) fn covers(&self, facts: &SessionFacts, names: Names, spelled: &[u8]) -> bool {
        self.paths.is_match(names, spelled) && self.matches.covers(facts)
    }
}
