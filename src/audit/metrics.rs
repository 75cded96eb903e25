//! The metrics of the audit, by the kind of output: `file`, `stdout` or `syslog`.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use crate::metrics;

/// The kinds of outputs.
pub(super) const KINDS: [&str; 3] = ["file", "stdout", "syslog"];

pub(super) struct AuditMetrics {
    written: IntCounterVec,
    lost: IntCounterVec,
    unavailable: IntGaugeVec,
}

/// The series of one output. Outputs of the same kind share them.
#[derive(Clone)]
pub(super) struct Counters {
    pub(super) written: IntCounter,
    pub(super) lost: IntCounter,
    /// Outputs that cannot be written now.
    pub(super) unavailable: IntGauge,
}

impl AuditMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let outputs = &["output"];
        Ok(Self {
            written: metrics::counters(
                registry,
                "lockgate_audit_records_total",
                "Audit records written",
                outputs,
            )?,
            lost: metrics::counters(
                registry,
                "lockgate_audit_lost_total",
                "Audit records lost since an output could not be written or was too slow",
                outputs,
            )?,
            unavailable: metrics::gauges(
                registry,
                "lockgate_audit_unavailable",
                "Audit outputs that cannot be written",
                outputs,
            )?,
        })
    }

    pub(super) fn of(&self, kind: &str) -> Counters {
        Counters {
            written: self.written.with_label_values(&[kind]),
            lost: self.lost.with_label_values(&[kind]),
            unavailable: self.unavailable.with_label_values(&[kind]),
        }
    }
}
