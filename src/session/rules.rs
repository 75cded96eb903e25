//! The rules of a session, which another configuration may replace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::policy::SessionPolicy;

/// The rules of a session; none: whatever the backend allows.
pub(super) struct SessionRules {
    policy: RwLock<Option<Arc<SessionPolicy>>>,
    /// FTP: whether data connections have TLS (PROT P), for rules to come.
    data_encrypted: AtomicBool,
}

impl SessionRules {
    pub(super) fn new(policy: Option<SessionPolicy>) -> Self {
        let policy = RwLock::new(policy.map(Arc::new));
        Self { policy, data_encrypted: AtomicBool::new(false) }
    }

    /// The rules now. An operation keeps those that it began with.
    pub(super) fn get(&self) -> Option<Arc<SessionPolicy>> {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other rules in their place, for the next operations.
    pub(super) fn replace(&self, policy: Option<SessionPolicy>) {
        let mut current = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = &policy
            && self.data_encrypted.load(Ordering::Relaxed)
        {
            policy.set_data_encrypted(true);
        }
        *current = policy.map(Arc::new);
    }

    /// Whether FTP data connections are encrypted (PROT, RFC 4217 section 9).
    pub(super) fn set_data_encrypted(&self, encrypted: bool) {
        // Under the lock, so that rules that take their place meanwhile know it.
        let current = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        self.data_encrypted.store(encrypted, Ordering::Relaxed);
        if let Some(policy) = &*current {
            policy.set_data_encrypted(encrypted);
        }
    }
}
