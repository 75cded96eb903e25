//! The metrics of the users that `metrics` names, and of the busiest.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::Registry;

use super::Metrics;
use crate::metrics;
use crate::op::Direction;
use crate::session::live::LiveSessions;
use crate::session::outcome_class::OutcomeClass;

pub(super) fn register(
    registry: &Registry,
    own: &Arc<Metrics>,
    live: &Arc<LiveSessions>,
) -> Result<(), prometheus::Error> {
    let (of, live) = (own.clone(), live.clone());
    metrics::live_gauges(
        registry,
        "lockgate_user_sessions",
        "Sessions of users that metrics.users names, or that moved most bytes (metrics.top_users)",
        &["user"],
        move |series| {
            let shown = of.users.shown();
            let labels: HashMap<_, _> =
                shown.iter().map(|(label, name, _)| (name.as_slice(), label.as_str())).collect();
            for label in labels.values() {
                series.with_label_values(&[label]);
            }
            if labels.is_empty() {
                return;
            }
            let users = live.all().into_iter().filter_map(|session| session.summary().user);
            users
                .filter_map(|user| labels.get(user.as_slice()).copied())
                .for_each(|label| series.with_label_values(&[label]).inc());
        },
    )?;
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
