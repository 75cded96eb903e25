//! The live control sessions of a listener, as far as TLS resumption concerns them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ticket::{ResumedConnections, SessionId, TicketOwner};

/// The live control sessions of a listener.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionId, Arc<SessionState>>>);

/// What a control session's handshakes have shown.
#[derive(Default)]
pub(super) struct SessionState {
    pub resumed_connections: ResumedConnections,
    /// The first of a chain of sessions that resumed one another: one client's.
    root: Mutex<SessionId>,
    /// The client keeps one store of TLS sessions for this and other control sessions.
    shares_store: AtomicBool,
}

impl Sessions {
    pub(super) fn start(&self, id: SessionId) -> Arc<SessionState> {
        let state = Arc::new(SessionState { root: Mutex::new(id), ..SessionState::default() });
        self.lock().insert(id, state.clone());
        state
    }

    pub(super) fn remove(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<SessionState>> {
        self.lock().get(id).cloned()
    }

    /// The session that a resumed ticket was issued to, if that is certain: a stranger's data
    /// connection gets a ticket, too, before it is recognized.
    pub(super) fn verified_owner(&self, owner: TicketOwner) -> Option<Arc<SessionState>> {
        let state = self.get(&owner.session)?;
        let is_certain = owner.connection == owner.session
            || state.resumed_connections.contains(&owner.connection);
        is_certain.then_some(state)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<SessionState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionState {
    pub(super) fn root(&self) -> SessionId {
        *self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its control connection resumed `other`.
    pub(super) fn note_resumed(&self, other: &SessionState) {
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = other.root();
    }

    pub(super) fn shares_store(&self) -> bool {
        self.shares_store.load(Ordering::Relaxed)
    }

    pub(super) fn note_shared_store(&self) {
        self.shares_store.store(true, Ordering::Relaxed);
    }
}
