//! Outcomes as coarse as histograms and the metrics of users have them.

/// How a login or a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutcomeClass {
    Ok,
    /// A download that was not read to its end; a login that needs a second method.
    Partial,
    Failed,
}

impl OutcomeClass {
    pub(super) const ALL: [Self; 3] = [Self::Ok, Self::Partial, Self::Failed];

    /// Of the outcome in a record.
    pub(super) fn of(outcome: &str) -> Self {
        match outcome {
            "ok" => Self::Ok,
            "partial" => Self::Partial,
            _ => Self::Failed,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}
