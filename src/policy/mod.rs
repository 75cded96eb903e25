//! What a user may do: the rules of `policy`, evaluated for each operation. Only this module creates a
//! [`Permit`].

mod conditions;
mod counts;
mod decision;
mod denial;
mod dry_run;
mod explain;
mod facts;
mod hidden;
mod judge;
pub mod limits;
mod names;
mod path_index;
mod path_pattern;
mod path_patterns;
mod relayed;
mod rule;
mod rule_set;
mod session_policy;
mod subject;
#[cfg(test)]
mod tests;
mod time_window;

pub use conditions::SessionConditions;
pub use counts::{DEFAULT, KnownRules, RuleCount};
pub use decision::{Decision, FileState, Permit, Question, Terms};
pub use denial::{Denial, Reason};
pub use explain::Explanation;
pub use facts::{Protocol, SessionFacts};
pub use judge::{End, PassedOver};
pub use names::{NameError, Names};
pub use path_pattern::PathPattern;
pub use path_patterns::PathPatterns;
pub use relayed::{RelayRefusal, decide_relayed, may_relay};
pub use rule::{Rule, Scope, UploadRule, Verdict};
pub use rule_set::RuleSet;
pub use session_policy::{CommandDenial, SessionPolicy};
pub use subject::Subject;
pub use time_window::TimeWindow;

/// Decides an action. Without rules (`None`), everything is allowed that the backend allows.
/// `creates_exclusively`: whether the backend can create a file, or rename one, only if the name is free.
pub fn decide<A: Subject>(
    policy: Option<&SessionPolicy>,
    action: A,
    creates_exclusively: bool,
) -> Decision<A> {
    let Some(policy) = policy else { return Decision::Allowed(Permit::internal(action)) };
    if !policy.is_dry_run() {
        return action.judge(policy, creates_exclusively);
    }
    match action.clone().judge(policy, creates_exclusively) {
        Decision::Denied(denial) => {
            policy.counts().dry_run(denial.rule());
            dry_run::log_denial("", &denial);
        }
        Decision::Allowed(permit) => {
            let terms = permit.terms();
            for denial in [&terms.if_exists, &terms.if_absent].into_iter().flatten() {
                dry_run::log_denial("perhaps: ", denial);
            }
        }
        Decision::Depends(question) => dry_run::log_question(&question.path),
    }
    Decision::Allowed(Permit::internal(action))
}
