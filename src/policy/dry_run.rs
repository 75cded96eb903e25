//! The log of what rules in dry run would have done.

use super::denial::Denial;
use super::rule::{Rule, Verdict};
use crate::op::RemotePath;

/// A rule that only logs would have decided an operation, or an FTP command.
pub(super) fn log_rule(rule: &Rule, operation: &str, path: Option<&RemotePath>) {
    let verdict = match rule.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny { .. } => "deny",
        Verdict::Hide => "hide",
    };
    tracing::info!(
        target: "lockgate::record",
        event = "dry-run",
        rule = &*rule.name,
        verdict,
        operation,
        path = path.map(RemotePath::as_bytes),
        "a rule in dry run would have decided"
    );
}

/// With `policy.dry_run`: an operation would have been denied. `certainty` is put before the reason.
pub(super) fn log_denial(certainty: &str, denial: &Denial) {
    log(&format!("{certainty}{}", denial.explanation()), &denial.path);
}

/// With `policy.dry_run`: an operation would perhaps have been denied.
pub(super) fn log_question(path: &RemotePath) {
    log("perhaps: it depends on whether the file exists", path.as_bytes());
}

/// With `policy.dry_run`: an operation would have been denied, for this reason.
pub(super) fn log(verdict: &str, path: &[u8]) {
    tracing::info!(
        target: "lockgate::record",
        event = "dry-run",
        path,
        "policy.dry_run: would have been denied: {verdict}"
    );
}
