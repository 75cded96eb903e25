//! Commands that are relayed to an opaque server: judged by their effects, without paths, and by their names.

use std::sync::Arc;

use jiff::Timestamp;

use super::decision::{Permit, Terms};
use super::denial::{Denial, Reason};
use super::dry_run;
use super::judge::{End, Judge, Ruling};
use super::session_policy::{CommandDenial, SessionPolicy};
use crate::op::{Action, Effect, Failure, RemotePath};
use crate::wire::ftp::relayed::{Data, RelayedCommand};

/// Why a relayed command was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayRefusal {
    /// By its name, which is the first part.
    Command(String, CommandDenial),
    /// By one of its effects.
    Effect(Denial),
}

impl RelayRefusal {
    /// The rule that refused; `None` if no rule allows it.
    pub fn rule(&self) -> Option<&Arc<str>> {
        match self {
            Self::Command(_, denial) => denial.rule.as_ref(),
            Self::Effect(denial) => denial.rule(),
        }
    }

    /// The failure for the client and the log.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Command(name, denial) => denial.failure(name),
            Self::Effect(denial) => denial.failure(),
        }
    }

    fn log(&self, command: &RelayedCommand) {
        match self {
            Self::Command(name, denial) => {
                dry_run::log(&denial.explanation(name), command.path());
            }
            Self::Effect(denial) => dry_run::log_denial("", denial),
        }
    }
}

/// Decides a command. All effects that it may have must be allowed, since nobody asks the server first; a
/// command of which they are not known must be allowed by name. Without rules (`None`), everything is
/// allowed that the server allows.
pub fn decide_relayed(
    policy: Option<&SessionPolicy>,
    command: RelayedCommand,
) -> Result<Permit<RelayedCommand>, RelayRefusal> {
    let Some(policy) = policy else { return Ok(Permit::internal(command)) };
    let by_effect = |judge: &Judge<'_>, effect| judge.decide(effect, End::Any);
    match judge(policy, &command, SessionPolicy::decide_named_command, by_effect) {
        Ok(rule) => Ok(Permit::new(command, Terms { rule, ..Terms::default() })),
        Err(refusal) if policy.is_dry_run() => {
            policy.counts().dry_run(refusal.rule());
            refusal.log(&command);
            Ok(Permit::internal(command))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Whether a command would be allowed. Nothing is logged or counted.
pub fn may_relay(policy: Option<&SessionPolicy>, command: &RelayedCommand) -> bool {
    let by_name =
        |policy: &SessionPolicy, name: &str| policy.explain_named_command(name, Timestamp::now());
    let by_effect = |judge: &Judge<'_>, effect| {
        let ruling = judge.decide_by_rules(effect, &mut |_, _| {})?;
        judge.check_uploads(effect, End::Any).map(|()| ruling)
    };
    policy.is_none_or(|policy| {
        policy.is_dry_run() || judge(policy, command, by_name, by_effect).is_ok()
    })
}

/// The last of the rules that allow it. `by_name` and `by_effect` decide each part.
fn judge(
    policy: &SessionPolicy,
    command: &RelayedCommand,
    by_name: impl Fn(&SessionPolicy, &str) -> Result<Arc<str>, CommandDenial>,
    by_effect: impl Fn(&Judge<'_>, Effect) -> Ruling,
) -> Result<Option<Arc<str>>, RelayRefusal> {
    let mut allowing = None;
    for name in command.names() {
        match by_name(policy, &name) {
            Ok(rule) => allowing = Some(rule),
            // What a known command does is decided below.
            Err(CommandDenial { rule: None, .. }) if !command.needs_named_rule() => {}
            Err(denial) => return Err(RelayRefusal::Command(name, denial)),
        }
    }
    let anywhere = RemotePath::root();
    let judge = policy.judge(&anywhere, command.data() != Data::None);
    for effect in command.known_effects().iter() {
        let refused =
            |reason| RelayRefusal::Effect(Denial { effect, path: command.path().to_vec(), reason });
        // `check` refuses such rules for these sessions: what they would decide is not known.
        if policy.reads_names() {
            return Err(refused(Reason::NoRule));
        }
        let ruling = by_effect(&judge, effect);
        allowing = Some(ruling.map_err(|denial| refused(denial.reason))?);
    }
    Ok(allowing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Effects;
    use crate::policy::tests::{policy_of, rule_of, uploads_once};
    use crate::policy::{PathPattern, Rule, Scope, Verdict};

    fn decided(policy: &SessionPolicy, line: &str) -> Result<Option<String>, String> {
        let command = RelayedCommand::parse(line.as_bytes()).unwrap().unwrap();
        match decide_relayed(Some(policy), command) {
            Ok(permit) => Ok(permit.terms().rule.as_ref().map(ToString::to_string)),
            Err(refusal) => Err(refusal.failure().detail.unwrap()),
        }
    }

    fn allow(name: &str, effects: &[Effect], commands: &[&str]) -> Rule {
        rule_of(name, Effects::of(effects), commands, Verdict::Allow)
    }

    fn deny(name: &str, commands: &[&str]) -> Rule {
        rule_of(name, Effects::default(), commands, Verdict::Deny { message: None })
    }

    #[test]
    fn every_possible_effect_must_be_allowed() {
        let policy =
            policy_of(vec![allow("some", &[Effect::Create, Effect::List], &[])], vec![], false);
        assert_eq!(decided(&policy, "STOU"), Ok(Some("some".into())));
        assert_eq!(decided(&policy, "CWD 'A.B'"), Ok(Some("some".into())));
        // Of no effect on files.
        assert_eq!(decided(&policy, "TYPE E"), Ok(None));
        for (line, refused) in [
            ("STOR 'A.B(C)'", "overwrite of 'A.B(C)'"),
            ("APPE 'A.B'", "append of 'A.B'"),
            ("RETR 'A.B'", "read of 'A.B'"),
            ("MDTM 20260102030405 X", "attributes of 20260102030405 X"),
        ] {
            let expected = format!("no policy rule allows {refused}");
            assert_eq!(decided(&policy, line), Err(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_known_must_be_allowed_by_name() {
        let all = rule_of("all", Effects::all(), &[], Verdict::Allow);
        let rules = vec![
            deny("no-jobs", &["SITE FILETYPE", "MODE"]),
            allow("records", &[], &["SITE LRECL", "SITE RECFM", "SITE CHMOD", "RCMD"]),
            all.clone(),
        ];
        let policy = policy_of(rules, vec![], false);
        assert_eq!(decided(&policy, "SITE LRECL=80 RECFM=FB"), Ok(Some("records".into())));
        assert_eq!(decided(&policy, "rcmd X"), Ok(Some("records".into())));
        assert_eq!(decided(&policy, "SITE CHMOD 600 x"), Ok(Some("all".into())));
        assert_eq!(
            decided(&policy, "MODE S"),
            Err("policy rule \"no-jobs\" denies the command MODE".into())
        );
        for line in
            ["SITE FILETYPE=JES", "SITE LRECL=80 FILETYPE=JES", "SITE CHMOD 600 x FILETYPE=JES"]
        {
            let expected = "policy rule \"no-jobs\" denies the command SITE FILETYPE";
            assert_eq!(decided(&policy, line), Err(expected.into()), "{line}");
        }
        for (line, name) in
            [("SITE LRECL=80 FILE=JES", "SITE FILE"), ("ADDM x", "ADDM"), ("SITE", "SITE")]
        {
            let refused = decided(&policy, line).unwrap_err();
            let expected = format!("no policy rule names the command {name}, ");
            assert!(refused.starts_with(&expected), "{refused}");
        }
        // A name allows a command that sets attributes only beside the operation.
        let policy = policy_of(vec![allow("site", &[], &["SITE"])], vec![], false);
        assert_eq!(decided(&policy, "SITE FILETYPE=JES 1"), Ok(Some("site".into())));
        assert!(decided(&policy, "SITE CHMOD 600 x").is_err());
        // In a dry run nothing is refused.
        let policy = policy_of(vec![deny("no-jobs", &["SITE"])], vec![], true);
        assert_eq!(decided(&policy, "SITE FILETYPE=JES"), Ok(None));
        assert_eq!(decided(&policy, "RETR X"), Ok(None));
    }

    #[test]
    fn rules_about_names_allow_nothing() {
        let all = rule_of("all", Effects::all(), &[], Verdict::Allow);
        let paths = Some(vec![PathPattern::new("/x/**").unwrap()]);
        let of_paths = Rule { scope: Scope { paths, ..Scope::default() }, ..all.clone() };
        let of_extensions = Rule {
            scope: Scope { extensions: Some(vec![b"exe".to_vec()]), ..Scope::default() },
            ..all.clone()
        };
        for rule in [of_paths, of_extensions] {
            let policy = policy_of(vec![rule, all.clone()], vec![], false);
            assert!(decided(&policy, "RETR X").is_err());
        }
        let policy = policy_of(vec![all.clone()], vec![uploads_once()], false);
        assert!(decided(&policy, "RETR X").is_err());
        let policy = policy_of(vec![all], vec![], false);
        assert_eq!(decided(&policy, "RETR X"), Ok(Some("all".into())));
    }
}
