//! What a limit refuses, and how clients and the log are told.

use super::setting::{Limit, Size};
use crate::op::{Failure, FailureKind, Fault};

/// Which value of a limit refuses something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Session,
    Transfer,
    Operation,
    Bytes,
    File,
}

impl Refused {
    pub(super) const ALL: [Self; 5] =
        [Self::Session, Self::Transfer, Self::Operation, Self::Bytes, Self::File];

    /// The key in the configuration, also the label of the metric.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Session => "sessions",
            Self::Transfer => "transfers",
            Self::Operation => "operations",
            Self::Bytes => "bytes_per_day",
            Self::File => "files_per_day",
        }
    }

    /// Whether the limit has this value.
    pub(super) fn is_possible(self, limit: &Limit) -> bool {
        match self {
            Self::Session => limit.sessions.is_some(),
            Self::Transfer => limit.transfers.is_some(),
            Self::Operation => limit.operations.is_some(),
            Self::Bytes => limit.bytes_per_day.is_some(),
            Self::File => limit.files_per_day.is_some(),
        }
    }

    /// A session's refusal names the limit in the log only: whoever logs in need not know the rules.
    pub(super) fn failure(self, limit: &Limit) -> Failure {
        let number = |number: Option<u32>| number.map_or(String::new(), |n| n.to_string());
        let value = match self {
            Self::Session => number(limit.sessions),
            Self::Transfer => number(limit.transfers),
            Self::Operation => limit.operations.map_or(String::new(), |rate| rate.to_string()),
            Self::Bytes => limit.bytes_per_day.map_or(String::new(), |n| Size(n).to_string()),
            Self::File => limit.files_per_day.map_or(String::new(), |n| n.to_string()),
        };
        let name = &limit.name;
        let setting = format!(
            "limit \"{name}\" ({}) has {}: {value}, per {}",
            if limit.is_answered { "`limits` of its answer" } else { "policy.limits" },
            self.key(),
            limit.per.as_str()
        );
        let (kind, message) = match self {
            Self::Session => (
                FailureKind::Unavailable,
                "too many sessions; close another one, or try again later".to_owned(),
            ),
            Self::Transfer => (
                FailureKind::Busy,
                format!(
                    "too many transfers at once (limit \"{name}\": {value}); try again after one has \
                     ended"
                ),
            ),
            Self::Operation => (
                FailureKind::Busy,
                format!(
                    "too many operations are waiting (limit \"{name}\": {value}); try again later"
                ),
            ),
            Self::Bytes => (
                FailureKind::QuotaExceeded,
                format!(
                    "the daily quota is used up (limit \"{name}\": {value}); a new day starts at 00:00 UTC"
                ),
            ),
            Self::File => (
                FailureKind::QuotaExceeded,
                format!(
                    "the daily quota is used up (limit \"{name}\": {value} files); a new day starts at \
                     00:00 UTC"
                ),
            ),
        };
        Failure::new(kind, Fault::Policy, message).with_detail(setting)
    }
}
