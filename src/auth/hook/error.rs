//! Why a login hook has not decided about a login.

use std::fmt;

/// A login hook that gave no valid answer: nobody's guess, and nobody gets in.
#[derive(Debug)]
pub struct HookError {
    /// For the metric.
    pub fault: HookFault,
    text: String,
}

/// What was wrong; a label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFault {
    /// No connection, no TLS session with a trusted certificate, or the connection broke.
    Unreachable,
    /// No complete answer within the hook's `timeout`.
    Timeout,
    /// Another status than 200.
    Status,
    /// The answer is too large, is no JSON, or contains something that does not fit.
    Malformed,
}

impl HookFault {
    pub(super) const ALL: [Self; 4] =
        [Self::Unreachable, Self::Timeout, Self::Status, Self::Malformed];

    /// The label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Malformed => "malformed",
        }
    }
}

impl HookError {
    pub(super) fn new(fault: HookFault, text: impl Into<String>) -> Self {
        Self { fault, text: text.into() }
    }

    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::new(HookFault::Malformed, text)
    }
}

/// For the log only; not escaped.
impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for HookError {}
