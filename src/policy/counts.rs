//! How often each rule denied something, or would have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::net::WeakMap;

/// The name of what no rule allows; no rule has it.
pub const DEFAULT: &str = "default";

/// The rules of all configurations that a process has had, and that sessions still use: their counts go on.
#[derive(Default)]
pub struct KnownRules(WeakMap<Arc<str>, Counts>);

/// Of one rule, or entry of `policy.uploads`.
#[derive(Debug, Default)]
struct Counts {
    denied: AtomicU64,
    dry_run: AtomicU64,
}

/// What one rule, or entry of `policy.uploads`, has denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCount {
    /// Its name; `default`: what no rule allowed.
    pub rule: Arc<str>,
    /// Operations, and FTP commands, that it denied.
    pub denied: u64,
    /// Those that it would have denied, but for `dry_run`.
    pub dry_run: u64,
}

/// Of all rules of a configuration, by name.
#[derive(Debug, Default)]
pub(super) struct RuleCounts(BTreeMap<Arc<str>, Arc<Counts>>);

impl KnownRules {
    /// Of the rules of these names, and of what no rule allows.
    pub(super) fn counts(&self, names: impl Iterator<Item = Arc<str>>) -> RuleCounts {
        let all = names.chain([Arc::from(DEFAULT)]).map(|name| {
            let counts = self.0.get_or_insert_with(&name, Counts::default);
            (name, counts)
        });
        RuleCounts(all.collect())
    }

    /// Forgets the rules that no configuration and no session has any more.
    pub fn forget_ended(&self) {
        self.0.forget_ended(|_| {});
    }
}

impl RuleCounts {
    /// `rule`: `None` where no rule allows it.
    pub(super) fn denied(&self, rule: Option<&Arc<str>>) {
        self.count(rule, |counts| &counts.denied);
    }

    pub(super) fn dry_run(&self, rule: Option<&Arc<str>>) {
        self.count(rule, |counts| &counts.dry_run);
    }

    fn count(&self, rule: Option<&Arc<str>>, of: impl Fn(&Counts) -> &AtomicU64) {
        let name = rule.map_or(DEFAULT, |name| name);
        if let Some(counts) = self.0.get(name) {
            of(counts).fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = RuleCount> {
        self.0.iter().map(|(rule, counts)| RuleCount {
            rule: rule.clone(),
            denied: counts.denied.load(Ordering::Relaxed),
            dry_run: counts.dry_run.load(Ordering::Relaxed),
        })
    }
}
