//! What the process that has taken over asks those before it, for an operator.

use serde::{Deserialize, Serialize};

use crate::admin::selection::Selection;

/// A request about the sessions of the process that gets it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRequest {
    /// The open ones; a row for each.
    Sessions {
        /// By default all.
        selection: Option<Selection>,
        /// How many rows, the oldest first; by default all.
        max: Option<usize>,
    },
    /// The running transfers; a row for each, the oldest first.
    Transfers,
    /// Ends sessions; a row with the number of each.
    Kick {
        /// Which.
        selection: Selection,
        /// Once no transfer is running.
        after_transfers: bool,
    },
}
