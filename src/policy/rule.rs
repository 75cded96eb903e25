//! Rules, their conditions and their effects, as compiled from `policy.rules` and `policy.uploads`.

use std::sync::Arc;

use globset::GlobSet;

use super::conditions::SessionConditions;
use super::path_pattern::PathPattern;
use super::time_window::TimeWindow;
use crate::op::Effects;

/// When a rule applies; an absent condition always holds.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Decided once for a session.
    pub session: SessionConditions,
    /// Whether the connection must be encrypted (true) or must not be (false). What travels on an FTP data
    /// connection is encrypted only under PROT P.
    pub encrypted: Option<bool>,
    /// Of which one must match the client's path.
    pub paths: Option<Vec<PathPattern>>,
    /// Extensions of file names in lower case, without the dot.
    pub extensions: Option<Vec<Vec<u8>>>,
    /// Times of day and weekdays.
    pub times: Option<TimeWindow>,
}

/// An entry of `policy.rules`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Unique; for the log and for `lockgate explain`.
    pub name: Arc<str>,
    /// When it applies.
    pub scope: Scope,
    /// The operations that it decides.
    pub effects: Effects,
    /// The FTP commands that it decides, in upper case: "STOU", "SITE CHMOD".
    pub commands: Vec<String>,
    /// What it decides.
    pub verdict: Verdict,
    /// Only logged: the next rules decide.
    pub dry_run: bool,
}

/// What a rule decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The operation is allowed.
    Allow,
    /// The operation is refused.
    Deny {
        /// For the client; `None`: a standard text.
        message: Option<String>,
    },
    /// The operation is refused as if the file did not exist, and listings leave it out.
    Hide,
}

/// An entry of `policy.uploads`: what files may be stored, beyond the rules. All entries that apply must
/// allow an upload.
#[derive(Debug, Clone)]
pub struct UploadRule {
    /// Unique; for the log and for `lockgate explain`.
    pub name: Arc<str>,
    /// When it applies.
    pub scope: Scope,
    /// Of file names, of which one must match.
    pub allowed_names: Option<GlobSet>,
    /// Of file names, of which none may match.
    pub denied_names: Option<GlobSet>,
    /// The largest file, in bytes.
    pub max_size: Option<u64>,
    /// Whether a stored file stays as it is: it is not overwritten, continued, renamed or deleted.
    pub write_once: bool,
}
