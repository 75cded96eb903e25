//! More sessions than a process may have descriptors for.

use super::{entries, value};
use crate::config::report::{At, Problems};
use crate::config::schema::File;
use crate::config::surroundings::Surroundings;
use crate::data::{PoolSettings, Ports};

/// The client's connection and the backend's.
const SESSION: u64 = 2;
/// Both data connections.
const TRANSFER: u64 = 2;
/// The runtime's, the log's, lookups.
const PROCESS: u64 = 64;

/// The gateway raises its limit to the hard one when it starts. Where it runs, it does not warn of the
/// default, which nobody chose.
pub(super) fn warn(
    file: &File,
    sessions: usize,
    pools: &[PoolSettings],
    surroundings: &Surroundings,
    problems: &mut Problems,
) {
    let Some(limit) = surroundings.descriptors else { return };
    let sessions = sessions as u64;
    let sockets = own_sockets(file, pools);
    let needed = sockets + PROCESS + sessions * (SESSION + TRANSFER);
    if needed <= limit {
        return;
    }
    let at = match file.limits.as_ref().and_then(|limits| limits.sessions.as_ref()) {
        Some(leaf) => leaf.at.clone(),
        None if surroundings.runs_here => return,
        None => At::default().absent("limits").absent("sessions"),
    };
    let fitting = limit.saturating_sub(sockets + PROCESS) / (SESSION + TRANSFER);
    let instead = match fitting {
        0 => String::new(),
        fitting => format!(", or allow {fitting} sessions"),
    };
    let message = format!(
        "{sessions} sessions that all transfer take {needed} descriptors, and a process may have {limit} \
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
    let admin = file.admin.is_some();
    (listeners + ports + usize::from(metrics) + usize::from(admin)) as u64
}
