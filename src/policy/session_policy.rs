//! The rules as they apply to one session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::counts::RuleCounts;
use super::dry_run;
use super::facts::{Protocol, SessionFacts};
use super::names::Names;
use super::rule::{Rule, Scope, Verdict};
use super::rule_set::{Applicable, RuleSet};
use crate::op::{Failure, FailureKind, Fault};

/// The rules of a session: those whose conditions on the session hold are found at its login.
pub struct SessionPolicy {
    pub(super) rules: Arc<RuleSet>,
    pub(super) applicable: Applicable,
    pub(super) names: Names,
    facts: SessionFacts,
    /// Whether a rule hides something: only then each entry of a listing is decided.
    pub(super) hides: bool,
    /// FTP: whether data connections have TLS (PROT P).
    data_encrypted: AtomicBool,
}

impl SessionPolicy {
    /// The rules for a session with these properties, at a server that reads names in this way.
    pub fn new(rules: Arc<RuleSet>, facts: SessionFacts, names: Names) -> Self {
        let applicable = rules.applicable(&facts);
        let data_encrypted = AtomicBool::new(facts.protocol == Protocol::Sftp);
        let is_hiding = |index: &u32| rules.rules()[*index as usize].verdict == Verdict::Hide;
        let hides = !rules.is_dry_run() && applicable.rules.iter().any(is_hiding);
        Self { rules, applicable, names, facts, hides, data_encrypted }
    }

    /// Sets whether FTP data connections are encrypted (PROT, RFC 4217 section 9).
    pub fn set_data_encrypted(&self, encrypted: bool) {
        self.data_encrypted.store(encrypted, Ordering::Relaxed);
    }

    /// Of the session.
    pub fn facts(&self) -> &SessionFacts {
        &self.facts
    }

    /// Whether nothing is refused.
    pub fn is_dry_run(&self) -> bool {
        self.rules.is_dry_run()
    }

    /// Counts an operation or a command that was refused. `rule`: `None` where no rule allows it.
    pub fn count_denied(&self, rule: Option<&Arc<str>>) {
        self.counts().denied(rule);
    }

    pub(super) fn counts(&self) -> &RuleCounts {
        self.rules.counts()
    }

    /// Whether a request or what it moves travels encrypted. `on_data_connection`: file contents or a listing,
    /// for FTP on a data connection.
    pub(super) fn is_encrypted(&self, on_data_connection: bool) -> bool {
        let data = !on_data_connection || self.data_encrypted.load(Ordering::Relaxed);
        self.facts.encrypted && data
    }

    fn applicable_rules(&self) -> impl Iterator<Item = &Rule> {
        self.applicable.rules.iter().map(|index| &self.rules.rules()[*index as usize])
    }

    /// Whether a rule names an FTP command.
    pub fn has_commands(&self) -> bool {
        self.applicable_rules().any(|rule| !rule.commands.is_empty())
    }

    /// Decides whether an FTP command may be used, by its name and that of a SITE command ("SITE CHMOD").
    /// A command that no rule names is allowed: what it does is decided as an operation.
    pub fn decide_command(&self, command: &str) -> Result<(), CommandDenial> {
        let note = &mut |rule: &Rule| self.note_command(rule, command);
        match self.command_rule(command, Timestamp::now(), note) {
            Some(rule) if self.is_dry_run() && rule.verdict != Verdict::Allow => {
                self.note_command(rule, command);
                Ok(())
            }
            rule => CommandDenial::by(rule),
        }
    }

    /// As [`SessionPolicy::decide_command`], without `policy.dry_run`, for a command of which nothing else is
    /// decided: one that no rule names is denied.
    pub fn decide_named_command(&self, command: &str) -> Result<Arc<str>, CommandDenial> {
        let note = &mut |rule: &Rule| self.note_command(rule, command);
        CommandDenial::unless_allowed(self.command_rule(command, Timestamp::now(), note))
    }

    /// Logs and counts what a rule in dry run would have done with a command.
    fn note_command(&self, rule: &Rule, command: &str) {
        dry_run::log_rule(rule, command, None);
        if rule.verdict != Verdict::Allow {
            self.counts().dry_run(Some(&rule.name));
        }
    }

    /// As [`SessionPolicy::decide_named_command`] at a moment, for `lockgate explain`.
    pub fn explain_named_command(
        &self,
        command: &str,
        now: Timestamp,
    ) -> Result<Arc<str>, CommandDenial> {
        CommandDenial::unless_allowed(self.command_rule(command, now, &mut |_| {}))
    }

    /// Whether a rule or an entry of `policy.uploads` depends on names of files.
    pub(super) fn reads_names(&self) -> bool {
        let is_about_names =
            |rule: &Rule| rule.scope.paths.is_some() || rule.scope.extensions.is_some();
        self.applicable_rules().any(is_about_names) || !self.applicable.uploads.is_empty()
    }

    /// As [`SessionPolicy::decide_command`] at a moment, for `lockgate explain`.
    pub fn explain_command(&self, command: &str, now: Timestamp) -> Result<(), CommandDenial> {
        CommandDenial::by(self.command_rule(command, now, &mut |_| {}))
    }

    /// The first rule that names a command and applies; tells `dry_run` of those that only log.
    fn command_rule(
        &self,
        command: &str,
        now: Timestamp,
        dry_run: &mut dyn FnMut(&Rule),
    ) -> Option<&Rule> {
        let verb = command.split(' ').next().unwrap_or(command);
        let names = |rule: &Rule| rule.commands.iter().any(|it| it == command || it == verb);
        let fits = |Scope { encrypted, times, .. }: &Scope| {
            encrypted.is_none_or(|it| it == self.facts.encrypted)
                && times.as_ref().is_none_or(|times| times.contains(now))
        };
        let mut matching = self.applicable_rules().filter(|rule| names(rule) && fits(&rule.scope));
        matching.find(|rule| {
            if rule.dry_run {
                dry_run(rule);
            }
            !rule.dry_run
        })
    }
}

/// A refused FTP command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandDenial {
    /// The rule's name; `None`: no rule names the command, and one must.
    pub rule: Option<Arc<str>>,
    /// For the client; `None`: a standard text.
    pub message: Option<String>,
}

impl CommandDenial {
    /// What the rule that applies decides.
    fn by(rule: Option<&Rule>) -> Result<(), Self> {
        let Some(Rule { name, verdict, .. }) = rule else { return Ok(()) };
        let message = match verdict {
            Verdict::Allow => return Ok(()),
            Verdict::Deny { message } => message.clone(),
            Verdict::Hide => None,
        };
        Err(Self { rule: Some(name.clone()), message })
    }

    /// The rule that allows the command.
    fn unless_allowed(rule: Option<&Rule>) -> Result<Arc<str>, Self> {
        let Some(allowing) = rule else { return Err(Self { rule: None, message: None }) };
        Self::by(rule).map(|()| allowing.name.clone())
    }

    /// What refused, for the log and for `lockgate explain`.
    pub fn explanation(&self, command: &str) -> String {
        match &self.rule {
            Some(rule) => format!("policy rule \"{rule}\" denies the command {command}"),
            None => format!(
                "no policy rule names the command {command}, and at a backend with `dialect: opaque` one must: \
                 allow: [{command}]"
            ),
        }
    }

    /// The failure for the client and the log.
    pub fn failure(&self, command: &str) -> Failure {
        let message = self.message.clone();
        let message = message.unwrap_or_else(|| match self.rule {
            Some(_) => format!("a rule of the gateway denies {command}"),
            None => format!("no rule of the gateway allows {command}"),
        });
        Failure::new(FailureKind::PermissionDenied, Fault::Policy, message)
            .with_detail(self.explanation(command))
    }
}
