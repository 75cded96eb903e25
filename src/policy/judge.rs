//! Judges one path of an operation: the first rule that matches decides; without one it is denied.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use jiff::Timestamp;

use super::denial::{Denial, Reason};
use super::dry_run;
use super::path_pattern::PathPattern;
use super::rule::{Rule, Scope, UploadRule, Verdict};
use super::rule_set::PathMatches;
use super::session_policy::SessionPolicy;
use crate::op::{Effect, RemotePath, as_os_path};

/// Which of the two names of a rename or a link a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The name that exists.
    Old,
    /// The name that is made.
    New,
    /// Not known, or the only one of an operation: what holds for both is decided.
    Any,
}

/// What is asked of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The path alone.
    Path,
    /// The path, and everything below it: a folder may be moved, or be reached through a link.
    Tree,
}

impl Reach {
    fn of(effect: Effect) -> Self {
        match effect {
            Effect::Rename | Effect::Link => Self::Tree,
            _ => Self::Path,
        }
    }
}

/// Why a rule did not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// It does not name this operation.
    Operation,
    /// The condition under this key does not hold.
    Condition(&'static str),
    /// It would have decided, but only logs (`dry_run`).
    DryRun,
}

/// One path of an operation of a session.
pub(super) struct Judge<'a> {
    policy: &'a SessionPolicy,
    path: &'a RemotePath,
    folded: Option<RemotePath>,
    /// Whether it travels encrypted.
    encrypted: bool,
    matches: OnceCell<PathMatches>,
    /// Rules in dry run that would have denied an effect.
    counted: RefCell<Vec<Arc<str>>>,
    now: Timestamp,
}

/// The rule that allowed an operation.
pub(super) type Ruling = Result<Arc<str>, Denial>;

impl SessionPolicy {
    /// Judges a path now. `on_data_connection`: file contents or a listing travel, for FTP on a data
    /// connection.
    pub(super) fn judge<'a>(&'a self, path: &'a RemotePath, on_data_connection: bool) -> Judge<'a> {
        Judge::new(self, path, self.is_encrypted(on_data_connection), Timestamp::now())
    }
}

impl<'a> Judge<'a> {
    /// `encrypted`: whether what is sent and received is.
    pub(super) fn new(
        policy: &'a SessionPolicy,
        path: &'a RemotePath,
        encrypted: bool,
        now: Timestamp,
    ) -> Self {
        let folded = policy.names.fold(path);
        let (matches, counted) = (OnceCell::new(), RefCell::default());
        Self { policy, path, folded, encrypted, matches, counted, now }
    }

    /// Decides one effect: first the rules, then the entries of `policy.uploads`. Logs what rules in dry run
    /// would have done.
    pub(super) fn decide(&self, effect: Effect, end: End) -> Ruling {
        let rule = self.decide_open_file(effect)?;
        self.check_uploads(effect, end).map(|()| rule)
    }

    /// As [`Judge::decide`], for a file that is open: its name was checked then.
    pub(super) fn decide_open_file(&self, effect: Effect) -> Ruling {
        self.decide_by_rules(effect, &mut |rule, why| {
            if why == PassedOver::DryRun {
                dry_run::log_rule(rule, effect.as_str(), Some(self.path));
                self.count_dry_run(rule);
            }
        })
    }

    /// Counts a rule once, however many effects of the operation it would have denied.
    fn count_dry_run(&self, rule: &Rule) {
        let mut counted = self.counted.borrow_mut();
        if rule.verdict != Verdict::Allow && !counted.contains(&rule.name) {
            counted.push(rule.name.clone());
            self.policy.counts().dry_run(Some(&rule.name));
        }
    }

    /// Decides by the rules alone; tells `note` of each that is passed over.
    pub(super) fn decide_by_rules(
        &self,
        effect: Effect,
        note: &mut dyn FnMut(&Rule, PassedOver),
    ) -> Ruling {
        let reach = Reach::of(effect);
        if let Err(error) = self.policy.names.check(self.path) {
            return Err(self.denial(effect, Reason::Name(error)));
        }
        let set = &self.policy.rules;
        // By a rule that says nothing of what is below the path.
        let mut allowed = None;
        for index in self.policy.applicable.rules.iter().map(|index| *index as usize) {
            let rule = &set.rules()[index];
            if !rule.effects.contains(effect) {
                note(rule, PassedOver::Operation);
            } else if let Some(key) = self.mismatch(index, rule, effect, reach) {
                note(rule, PassedOver::Condition(key));
            } else if rule.dry_run {
                if allowed.is_none() {
                    note(rule, PassedOver::DryRun);
                }
            } else {
                return match &rule.verdict {
                    Verdict::Allow
                        if reach == Reach::Tree && !self.includes_tree(index, &rule.scope) =>
                    {
                        allowed.get_or_insert_with(|| rule.name.clone());
                        continue;
                    }
                    Verdict::Allow => Ok(allowed.unwrap_or_else(|| rule.name.clone())),
                    // The path itself is allowed, but not what this rule protects below it.
                    _ if allowed.is_some() && !self.is_only_below(index, &rule.scope) => continue,
                    Verdict::Deny { message } => Err(self.denial(
                        effect,
                        Reason::Rule { name: rule.name.clone(), message: message.clone() },
                    )),
                    Verdict::Hide => Err(self.denial(effect, Reason::Hidden(rule.name.clone()))),
                };
            }
        }
        allowed.ok_or_else(|| self.denial(effect, Reason::NoRule))
    }

    /// The entries of `policy.uploads` that apply to the path.
    pub(super) fn uploads(&self) -> impl Iterator<Item = &'a UploadRule> {
        self.uploads_within(Reach::Path)
    }

    /// With [`Reach::Tree`], also those that apply to something below the path.
    fn uploads_within(&self, reach: Reach) -> impl Iterator<Item = &'a UploadRule> {
        let set = &self.policy.rules;
        let indices = self.policy.applicable.uploads.iter().map(|index| *index as usize);
        indices.filter_map(move |index| {
            let (rule, scope) = (&set.uploads()[index], set.upload_scope(index));
            let is_below = || reach == Reach::Tree && self.is_moved(scope);
            let applies = (rule.scope.paths.is_none() || self.matches().contains(scope))
                && self.other_mismatch(&rule.scope).is_none();
            (applies || is_below()).then_some(rule)
        })
    }

    /// Refuses what an entry of `policy.uploads` does not allow: a file's name, or a change of a file that stays
    /// as it was stored.
    pub(super) fn check_uploads(&self, effect: Effect, end: End) -> Result<(), Denial> {
        use Effect::{Append, Create, Delete, Link, Overwrite, Rename};
        let stores = matches!(effect, Create | Overwrite | Append);
        if stores || (effect == Rename && end != End::Old) {
            self.check_name(effect)?;
        }
        let changes = matches!(effect, Overwrite | Append | Delete);
        if changes || (matches!(effect, Rename | Link) && end != End::New) {
            self.check_write_once(effect)?;
        }
        Ok(())
    }

    fn check_name(&self, effect: Effect) -> Result<(), Denial> {
        let Some(name) = self.path.name() else { return Ok(()) };
        // Windows would store the name without dots and spaces at its end.
        let folded = self.folded.as_ref().and_then(|path| path.name());
        let is_match = |set: &globset::GlobSet| {
            set.is_match(as_os_path(name))
                || folded.is_some_and(|name| set.is_match(as_os_path(name)))
        };
        for rule in self.uploads() {
            let denied = rule.denied_names.as_ref().is_some_and(is_match);
            if denied || !rule.allowed_names.as_ref().is_none_or(is_match) {
                return Err(self.denial(effect, Reason::UploadName(rule.name.clone())));
            }
        }
        Ok(())
    }

    /// A folder with such files does not change its name, either.
    fn check_write_once(&self, effect: Effect) -> Result<(), Denial> {
        let found = self.uploads_within(Reach::of(effect)).find(|rule| rule.write_once);
        match found {
            Some(rule) => Err(self.denial(effect, Reason::WriteOnce(rule.name.clone()))),
            None => Ok(()),
        }
    }

    /// The key of the first condition of a rule that does not hold; those on the session hold.
    fn mismatch(
        &self,
        index: usize,
        rule: &Rule,
        effect: Effect,
        reach: Reach,
    ) -> Option<&'static str> {
        if rule.scope.paths.is_some() && !self.is_path_of(index, rule, effect, reach) {
            return Some("paths");
        }
        self.other_mismatch(&rule.scope)
    }

    fn is_path_of(&self, index: usize, rule: &Rule, effect: Effect, reach: Reach) -> bool {
        if self.matches().contains(index) {
            return true;
        }
        let moves = reach == Reach::Tree && rule.verdict != Verdict::Allow;
        (effect == Effect::List && self.matches().is_folder_of(index))
            || (moves && self.is_moved(index))
    }

    /// Whether something that the scope matches leaves its reach if the path gets another name: what a rule
    /// protects must not come out of its reach with the folder that contains it.
    fn is_moved(&self, scope: usize) -> bool {
        self.matches().is_folder_of(scope)
            || self.any_pattern(scope, |pattern, path| pattern.is_at_or_below(path))
    }

    fn is_only_below(&self, index: usize, scope: &Scope) -> bool {
        scope.paths.is_some() && !self.matches().contains(index) && self.is_moved(index)
    }

    /// Whether the scope matches everything below the path.
    fn includes_tree(&self, index: usize, scope: &Scope) -> bool {
        let all = |pattern: &PathPattern, path: &RemotePath| pattern.includes_all_below(path);
        scope.extensions.is_none() && (scope.paths.is_none() || self.any_pattern(index, all))
    }

    /// In the spelling in which the server reads names.
    fn any_pattern(&self, scope: usize, holds: impl Fn(&PathPattern, &RemotePath) -> bool) -> bool {
        let path = self.folded.as_ref().unwrap_or(self.path);
        let patterns = self.policy.rules.patterns(scope, self.folded.is_some());
        patterns.iter().any(|pattern| holds(pattern, path))
    }

    fn other_mismatch(&self, scope: &Scope) -> Option<&'static str> {
        if scope.encrypted.is_some_and(|required| required != self.encrypted) {
            return Some("encrypted");
        }
        if scope.extensions.as_ref().is_some_and(|listed| !self.has_extension(listed)) {
            return Some("extensions");
        }
        if scope.times.as_ref().is_some_and(|times| !times.contains(self.now)) {
            return Some("times");
        }
        None
    }

    fn has_extension(&self, listed: &[Vec<u8>]) -> bool {
        let path = self.folded.as_ref().unwrap_or(self.path);
        let extension = path.name().and_then(|name| {
            let dot = name.iter().rposition(|b| *b == b'.')?;
            Some(&name[dot + 1..])
        });
        extension.is_some_and(|it| listed.iter().any(|listed| listed.eq_ignore_ascii_case(it)))
    }

    fn matches(&self) -> &PathMatches {
        self.matches.get_or_init(|| self.policy.rules.matches(self.path, self.folded.as_ref()))
    }

    /// As the client sees it.
    pub(super) fn path(&self) -> &RemotePath {
        self.path
    }

    pub(super) fn denial(&self, effect: Effect, reason: Reason) -> Denial {
        Denial { effect, path: self.path.as_bytes().to_vec(), reason }
    }
}
