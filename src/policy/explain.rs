//! Which rule decides an operation, and why those before it do not, for `lockgate explain`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::denial::Denial;
use super::judge::{End, Judge, PassedOver};
use super::rule::UploadRule;
use super::session_policy::SessionPolicy;
use crate::op::{Effect, RemotePath};

/// The decision of one effect on one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rules before the one that decides, each with why it does not.
    pub passed_over: Vec<(Arc<str>, PassedOver)>,
    /// The rule that allows the operation, or the denial.
    pub decision: Result<Arc<str>, Denial>,
    /// The entries of `policy.uploads` that apply, and refuse nothing here.
    pub uploads: Vec<Arc<str>>,
    /// The largest file that they allow, in bytes.
    pub max_size: Option<u64>,
}

impl SessionPolicy {
    /// Explains an effect at a moment, as it is decided for a client's request. A file transfer of FTP
    /// counts as encrypted if the control connection is.
    pub fn explain(
        &self,
        effect: Effect,
        path: &RemotePath,
        end: End,
        now: Timestamp,
    ) -> Explanation {
        let judge = Judge::new(self, path, self.facts().encrypted, now);
        let mut noted = HashMap::new();
        let ruling = judge.decide_by_rules(effect, &mut |rule, why| {
            noted.insert(rule.name.clone(), why);
        });
        let decider = match &ruling {
            Ok(rule) => Some(rule),
            Err(denial) => denial.rule(),
        };
        let mut passed_over = Vec::new();
        for rule in self.rules.rules() {
            if Some(&rule.name) == decider {
                break;
            }
            let of_session = rule.scope.session.mismatch(self.facts()).map(PassedOver::Condition);
            if let Some(why) = of_session.or_else(|| noted.get(&rule.name).copied()) {
                passed_over.push((rule.name.clone(), why));
            }
        }
        let stores = matches!(effect, Effect::Create | Effect::Overwrite | Effect::Append);
        let uploads: Vec<&UploadRule> = if stores { judge.uploads().collect() } else { Vec::new() };
        Explanation {
            passed_over,
            decision: ruling.and_then(|rule| judge.check_uploads(effect, end).map(|()| rule)),
            max_size: uploads.iter().filter_map(|entry| entry.max_size).min(),
            uploads: uploads.iter().map(|entry| entry.name.clone()).collect(),
        }
    }
}

impl PassedOver {
    /// Why the rule did not decide.
    pub fn reason(self) -> String {
        match self {
            Self::Operation => "it does not name this operation".into(),
            Self::Condition(key) => format!("match.{key} does not hold"),
            Self::DryRun => "it would decide, but is in dry run".into(),
        }
    }
}
