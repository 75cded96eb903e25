//! The metrics of the users that `metrics` names, and of the busiest.

use std::sync::Arc;

use prometheus::Registry;

use super::Metrics;
use crate::metrics;
use crate::op::Direction;
use crate::session::outcome_class::OutcomeClass;

pub(super) fn register(registry: &Registry, own: &Arc<Metrics>) -> Result<(), prometheus::Error> {
    let of = own.clone();
    metrics::live_counters(
        registry,
        "lockgate_user_logins_total",
        "Logins of these users",
        &["user", "outcome"],
        move |series| {
            for (label, _, user) in of.users.shown() {
                for outcome in OutcomeClass::ALL {
                    let count = user.logins().get(outcome);
                    series.with_label_values(&[&label, outcome.as_str()]).inc_by(count);
                }
            }
        },
    )?;
    let of = own.clone();
    metrics::live_counters(
        registry,
        "lockgate_user_transfers_total",
        "Transfers of these users",
        &["user", "direction", "outcome"],
        move |series| {
            for (label, _, user) in of.users.shown() {
                for direction in [Direction::Upload, Direction::Download] {
                    let Some(transfers) = user.transfers(direction) else { continue };
                    for outcome in OutcomeClass::ALL {
                        let labels = [&label, direction.as_str(), outcome.as_str()];
                        series.with_label_values(&labels).inc_by(transfers.get(outcome));
                    }
                }
            }
        },
    )?;
    let of = own.clone();
    metrics::live_counters(
        registry,
        "lockgate_user_transfer_bytes_total",
        "Bytes of files of these users, counted while they are transferred",
        &["user", "direction"],
        move |series| {
            for (label, _, user) in of.users.shown() {
                let bytes = [
                    (Direction::Upload, user.uploaded()),
                    (Direction::Download, user.downloaded()),
                ];
                for (direction, bytes) in bytes {
                    series.with_label_values(&[&label, direction.as_str()]).inc_by(bytes);
                }
            }
        },
    )
}
