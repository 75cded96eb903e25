//! The configuration in force, without secrets.

use serde_json::{Value, json};

use super::control::{InForce, Lasting};
use super::text::time;
use crate::op::escape::printable;

pub(super) fn json(in_force: &InForce, lasting: &Lasting) -> Value {
    let file = lasting.file.as_ref();
    json!({
        "file": file.map(|file| printable(file.as_os_str().as_encoded_bytes()).to_string()),
        "in_force_since": time(in_force.since),
        "needs_restart": in_force.needs_restart,
        "configuration": in_force.masked,
    })
}
