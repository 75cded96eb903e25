//! Why an operation was refused.

use std::sync::Arc;

use super::names::NameError;
use crate::op::escape::printable;
use crate::op::{Effect, Failure, FailureKind, Fault};

/// A refused effect of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// What was refused.
    pub effect: Effect,
    /// Where, as the client sees it.
    pub path: Vec<u8>,
    /// By which rule.
    pub reason: Reason,
}

/// What refused an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A rule with `deny`.
    Rule {
        /// Of the rule.
        name: Arc<str>,
        /// For the client.
        message: Option<String>,
    },
    /// A rule with `hide`.
    Hidden(Arc<str>),
    /// No rule allows it.
    NoRule,
    /// An entry of `policy.uploads` does not allow the name.
    UploadName(Arc<str>),
    /// An entry of `policy.uploads` has `write_once`.
    WriteOnce(Arc<str>),
    /// An entry of `policy.uploads` has a smaller `max_size`.
    TooLarge {
        /// Of the entry.
        entry: Arc<str>,
        /// In bytes.
        max: u64,
    },
    /// Only more bytes may be added to the file.
    Shortens,
    /// The backend has `names: windows`.
    Name(NameError),
}

impl Denial {
    /// Whether the client must not learn that the file exists.
    pub(super) fn is_hidden(&self) -> bool {
        matches!(self.reason, Reason::Hidden(_))
    }

    /// The rule or entry that refused; `None` if no rule allows it.
    pub fn rule(&self) -> Option<&Arc<str>> {
        match &self.reason {
            Reason::Rule { name, .. }
            | Reason::Hidden(name)
            | Reason::UploadName(name)
            | Reason::TooLarge { entry: name, .. }
            | Reason::WriteOnce(name) => Some(name),
            Reason::NoRule | Reason::Shortens | Reason::Name(_) => None,
        }
    }

    /// What refused, for the log and for `lockgate explain`.
    pub fn explanation(&self) -> String {
        let operation = self.effect.as_str();
        match &self.reason {
            Reason::Rule { name, .. } => format!("policy rule \"{name}\" denies {operation}"),
            Reason::Hidden(name) => format!("policy rule \"{name}\" hides it from {operation}"),
            Reason::NoRule => format!("no policy rule allows {operation}"),
            Reason::UploadName(name) => {
                format!("the policy.uploads entry \"{name}\" does not allow this file name")
            }
            Reason::WriteOnce(name) => {
                format!("the policy.uploads entry \"{name}\" has `write_once`")
            }
            Reason::TooLarge { entry, max } => {
                format!(
                    "the policy.uploads entry \"{entry}\" has `max_size` of {max} bytes, which denies {operation}"
                )
            }
            Reason::Shortens => {
                "the policy rules allow this user to append to the file, not to overwrite it".into()
            }
            Reason::Name(error) => format!("{error}, and the backend has `names: windows`"),
        }
    }

    /// The failure for the client and the log.
    pub fn failure(&self) -> Failure {
        let path = printable(&self.path);
        let failure = |kind, message: String| {
            Failure::new(kind, Fault::Policy, message)
                .with_detail(format_args!("{} of {path}", self.explanation()))
        };
        match &self.reason {
            Reason::Rule { message: Some(message), .. } => {
                failure(FailureKind::PermissionDenied, message.clone())
            }
            // As for a name that does not exist, unless one is to be made.
            Reason::Hidden(_) if self.effect != Effect::Create => {
                failure(FailureKind::NotFound, FailureKind::NotFound.sentence().into())
            }
            Reason::Rule { .. } | Reason::NoRule | Reason::Hidden(_) => failure(
                FailureKind::PermissionDenied,
                format!("a rule of the gateway denies {} here", self.effect.as_str()),
            ),
            Reason::UploadName(_) => failure(
                FailureKind::NameRefused,
                "the gateway does not allow files with this name here".into(),
            ),
            Reason::WriteOnce(_) => failure(
                FailureKind::PermissionDenied,
                "files here cannot be changed once they are stored".into(),
            ),
            Reason::TooLarge { max, .. } => failure(
                FailureKind::QuotaExceeded,
                format!("files here may have at most {max} bytes"),
            ),
            Reason::Shortens => failure(
                FailureKind::PermissionDenied,
                "only the end of this file may be written".into(),
            ),
            Reason::Name(error) => failure(FailureKind::NameRefused, error.to_string()),
        }
    }
}
