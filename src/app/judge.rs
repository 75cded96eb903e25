//! Judges open sessions by another configuration or other users (`on_reload: judge`).

use super::process::Process;
use crate::admin::{Explainer, InForce};

/// Judges all open sessions by this configuration.
pub(super) fn judge_sessions(in_force: &InForce, process: &Process) {
    let Explainer { gateway, listeners } = &in_force.explainer;
    let listeners: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    process.live.all().iter().for_each(|session| gateway.judge(session, &listeners));
}
