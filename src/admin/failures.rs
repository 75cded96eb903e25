//! What has failed or was denied recently.

use serde_json::{Value, json};

use super::text::{cut, time};
use crate::session::RecentFailure;

pub(super) fn json(failures: &[RecentFailure]) -> Value {
    json!({ "failures": failures.iter().map(failure).collect::<Vec<_>>() })
}

fn failure(failure: &RecentFailure) -> Value {
    json!({
        "time": time(failure.at),
        "session": failure.session,
        "listener": failure.listener,
        "protocol": failure.protocol,
        "client": failure.client.ip().to_string(),
        "user": (!failure.user.is_empty()).then(|| cut(&failure.user)),
        "backend": (!failure.backend.is_empty()).then_some(&failure.backend),
        "operation": failure.operation,
        "path": failure.path.as_ref().map(|path| cut(path)),
        "to": failure.to.as_ref().map(|to| cut(to)),
        "outcome": failure.outcome,
        "fault": failure.fault,
        "rule": failure.rule.as_deref(),
        "reason": cut(failure.reason.as_bytes()),
    })
}
