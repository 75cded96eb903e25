//! Losses that the process which has taken over counts: nobody reads the metrics of the one before any more.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::Audit;
use super::metrics::KINDS;
use super::queue::State;

/// Records that an output has lost.
#[derive(Debug, Serialize, Deserialize)]
pub struct CarriedLoss {
    /// The kind of output, as in metrics.
    output: String,
    records: u64,
}

impl Audit {
    /// Losses from now on are for [`Self::take_lost`].
    pub fn begin_forwarding(&self) {
        self.take_lost();
    }

    /// What was lost since the last call.
    pub fn take_lost(&self) -> Vec<CarriedLoss> {
        let queues = self.0.iter().flat_map(|inner| &inner.queues);
        let losses = queues.map(|queue| {
            let records = queue.state().take_untold();
            CarriedLoss { output: queue.kind().to_owned(), records }
        });
        losses.filter(|loss| loss.records > 0).collect()
    }

    /// Counts what another process has lost. Without an audit, only the log of that process has it.
    pub fn learn(&self, losses: Vec<CarriedLoss>) {
        let Some(inner) = &self.0 else { return };
        for CarriedLoss { output, records } in losses {
            if let Some(kind) = KINDS.into_iter().find(|kind| *kind == output) {
                inner.metrics.of(kind).lost.inc_by(records);
            }
        }
    }
}

impl State {
    fn take_untold(&self) -> u64 {
        let lost = self.lost();
        lost.saturating_sub(self.told.swap(lost, Ordering::Relaxed))
    }
}
