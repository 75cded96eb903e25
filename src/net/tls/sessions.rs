use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ticket::{Heirs, Owner, SessionId};

/// A listener's control sessions that live.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionId, Arc<Known>>>);

/// What is known of a control session's client.
#[derive(Default)]
pub(super) struct Known {
    pub heirs: Heirs,
    /// The first of the sessions that resumed one another: whoever has one of them has them all.
    root: Mutex<SessionId>,
    /// Its client keeps one store of TLS sessions for this and others.
    shares_store: AtomicBool,
}

impl Sessions {
    pub(super) fn begin(&self, id: SessionId) -> Arc<Known> {
        let known = Arc::new(Known { root: Mutex::new(id), ..Known::default() });
        self.lock().insert(id, known.clone());
        known
    }

    pub(super) fn end(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Known>> {
        self.lock().get(id).cloned()
    }

    /// The session that a resumed ticket was given under, where that is sure: strangers' data
    /// connections get tickets, too, before they are known for that.
    pub(super) fn of(&self, owner: Owner) -> Option<Arc<Known>> {
        let known = self.get(&owner.session)?;
        let sure = owner.heir == owner.session || known.heirs.contains(&owner.heir);
        sure.then_some(known)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    pub(super) fn root(&self) -> SessionId {
        *self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was begun by resuming `other`.
    pub(super) fn resumed(&self, other: &Known) {
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = other.root();
    }

    pub(super) fn shares_store(&self) -> bool {
        self.shares_store.load(Ordering::Relaxed)
    }

    pub(super) fn note_shared_store(&self) {
        self.shares_store.store(true, Ordering::Relaxed);
    }
}
