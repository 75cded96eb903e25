//! Warns if the limit on file descriptors is too low for `limits.sessions`.

use super::{entries, value};
use crate::config::machine::Machine;
use crate::config::report::{Location, Problems};
use crate::config::schema::File;
use crate::data::{PoolSettings, Ports};

/// Descriptors of a session: the client's connection and the backend's.
const DESCRIPTORS_PER_SESSION: u64 = 2;
/// Descriptors of a transfer: both data connections.
const DESCRIPTORS_PER_TRANSFER: u64 = 2;
/// Descriptors of the runtime, the log and lookups.
const DESCRIPTORS_PER_PROCESS: u64 = 64;

/// The gateway raises its limit to the hard limit when it starts. At a start it does not warn of the
/// default, which no operator chose.
pub(super) fn warn(
    file: &File,
    sessions: usize,
    pools: &[PoolSettings],
    machine: &Machine,
    problems: &mut Problems,
) {
    let Some(limit) = machine.descriptors else { return };
    let sessions = sessions as u64;
    let sockets = own_sockets(file, pools);
    let needed = sockets
        + DESCRIPTORS_PER_PROCESS
        + sessions * (DESCRIPTORS_PER_SESSION + DESCRIPTORS_PER_TRANSFER);
    if needed <= limit {
        return;
    }
    let at = match file.limits.as_ref().and_then(|limits| limits.sessions.as_ref()) {
        Some(leaf) => leaf.at.clone(),
        None if machine.runs_here => return,
        None => Location::default().absent("limits").absent("sessions"),
    };
    let sessions_max = limit.saturating_sub(sockets + DESCRIPTORS_PER_PROCESS)
        / (DESCRIPTORS_PER_SESSION + DESCRIPTORS_PER_TRANSFER);
    let instead = match sessions_max {
        0 => String::new(),
        sessions_max => format!(", or allow {sessions_max} sessions"),
    };
    let message = format!(
        "{sessions} sessions with transfers need {needed} file descriptors, but the limit is {limit} \
         here: clients will wait or be refused. Raise the hard limit (systemd: `LimitNOFILE=`; shells: \
         `ulimit -Hn`){instead}"
    );
    problems.warning(&at, message);
}

fn own_sockets(file: &File, pools: &[PoolSettings]) -> u64 {
    let listeners = entries(&file.listeners).iter();
    let listeners: usize =
        listeners.flat_map(|(_, it)| &it.address).map(|list| list.values().count()).sum();
    let ports: usize = pools
        .iter()
        .map(|pool| match &pool.ports {
            Ports::Range(range) => range.len() * pool.listen.len(),
            Ports::Ephemeral(count) => usize::from(*count) * pool.listen.len(),
        })
        .sum();
    let metrics = file.metrics.as_ref().and_then(|metrics| value(&metrics.address)).is_some();
    let admin = file.admin.as_ref().map_or(0, |admin| {
        usize::from(admin.socket.is_some()) + usize::from(admin.address.is_some())
    });
    (listeners + ports + usize::from(metrics) + admin) as u64
}
