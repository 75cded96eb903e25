//! One of the `policy.limits`, as configured.

use std::fmt;
use std::time::Duration;

use crate::policy::SessionConditions;

/// A limit: each value that it has applies to the sessions that it covers.
#[derive(Debug, Clone, Default)]
pub struct Limit {
    /// Its name in messages, metrics and the saved quotas: unique.
    pub name: String,
    /// A login hook's answer has it, not the configuration.
    pub is_answered: bool,
    /// The sessions that it covers.
    pub matches: SessionConditions,
    /// Who shares it.
    pub per: Per,
    /// Bytes of files a second, uploads and downloads together.
    pub bandwidth: Option<u64>,
    /// Bytes of files a second, of uploads.
    pub upload_bandwidth: Option<u64>,
    /// Bytes of files a second, of downloads.
    pub download_bandwidth: Option<u64>,
    /// Sessions open at once.
    pub sessions: Option<u32>,
    /// Uploads and downloads at once.
    pub transfers: Option<u32>,
    /// Operations in a time; more are delayed.
    pub operations: Option<OperationRate>,
    /// Bytes of files in a day of UTC, uploads and downloads together.
    pub bytes_per_day: Option<u64>,
    /// Files in a day of UTC, uploads and downloads together.
    pub files_per_day: Option<u64>,
}

/// Who shares a limit (`per`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Per {
    /// All sessions of a user.
    #[default]
    User,
    /// Each session has its own.
    Session,
    /// All sessions of a listener.
    Listener,
    /// All sessions of a backend.
    Backend,
    /// All sessions that it covers.
    All,
}

/// Operations in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationRate {
    /// At least 1.
    pub count: u32,
    /// In which they may start.
    pub period: OperationPeriod,
}

/// The time of an [`OperationRate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationPeriod {
    /// "100/s".
    Second,
    /// "30/min".
    Minute,
}

impl Limit {
    /// Whether it has daily quotas.
    pub fn has_quota(&self) -> bool {
        self.bytes_per_day.is_some() || self.files_per_day.is_some()
    }

    /// Whether it limits a bandwidth.
    pub(super) fn has_bandwidth(&self) -> bool {
        self.bandwidth.or(self.upload_bandwidth).or(self.download_bandwidth).is_some()
    }

    /// Its values as in the configuration, such as `bandwidth 20MiB/s, transfers 4`.
    pub(super) fn values(&self) -> String {
        let rate = |rate: u64| BytesPerSecond(rate).to_string();
        let bytes = |bytes: u64| Size(bytes).to_string();
        let values = [
            ("bandwidth", self.bandwidth.map(rate)),
            ("upload_bandwidth", self.upload_bandwidth.map(rate)),
            ("download_bandwidth", self.download_bandwidth.map(rate)),
            ("sessions", self.sessions.map(|n| n.to_string())),
            ("transfers", self.transfers.map(|n| n.to_string())),
            ("operations", self.operations.map(|rate| rate.to_string())),
            ("bytes_per_day", self.bytes_per_day.map(bytes)),
            ("files_per_day", self.files_per_day.map(|n| n.to_string())),
        ];
        let given = values.into_iter().filter_map(|(key, value)| Some(format!("{key} {}", value?)));
        given.collect::<Vec<_>>().join(", ")
    }
}

impl Per {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Session => "session",
            Self::Listener => "listener",
            Self::Backend => "backend",
            Self::All => "all",
        }
    }
}

impl OperationPeriod {
    pub(super) fn duration(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
        }
    }
}

impl fmt::Display for OperationRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period {
            OperationPeriod::Second => "s",
            OperationPeriod::Minute => "min",
        };
        write!(f, "{}/{period}", self.count)
    }
}

/// A size in the largest unit of the configuration that fits exactly.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match exact(self.0, &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]) {
            Some((number, unit)) => write!(f, "{number}{unit}"),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

struct BytesPerSecond(u64);

impl fmt::Display for BytesPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = [("Gbit", 125_000_000), ("Mbit", 125_000), ("kbit", 125)];
        match exact(self.0, &bits) {
            Some((number, unit)) if !self.0.is_multiple_of(1024) => write!(f, "{number}{unit}/s"),
            _ => write!(f, "{}/s", Size(self.0)),
        }
    }
}

fn exact(value: u64, units: &[(&'static str, u64)]) -> Option<(u64, &'static str)> {
    let (unit, size) =
        units.iter().find(|(_, size)| value >= *size && value.is_multiple_of(*size))?;
    Some((value / size, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_in_the_configuration() {
        for (bytes, expected) in [
            (20 << 20, "20MiB/s"),
            (1 << 30, "1GiB/s"),
            (1536 << 10, "1536KiB/s"),
            (125_000_000, "1Gbit/s"),
            (12_500, "100kbit/s"),
            (1001, "1001 bytes/s"),
        ] {
            assert_eq!(BytesPerSecond(bytes).to_string(), expected);
        }
        let limit = Limit {
            sessions: Some(3),
            operations: Some(OperationRate { count: 30, period: OperationPeriod::Minute }),
            bytes_per_day: Some(10 << 30),
            files_per_day: Some(1000),
            ..Limit::default()
        };
        let expected = "sessions 3, operations 30/min, bytes_per_day 10GiB, files_per_day 1000";
        assert_eq!(limit.values(), expected);
    }
}
