//! Session tickets that name their owner.
//!
//! Every connection wraps one shared ticketer: `encrypt` prepends the owner to the plaintext, `decrypt`
//! removes and records it, for TLS 1.2 and 1.3 alike. A ticket may be resumed any number of times. It names
//! the control session that it was issued to, so that a connection that offers it can be assigned to that
//! session. A ticket that was issued on a data connection names the data connection, too: tickets are sent
//! before the gateway knows whether the connection resumed the session. TLS 1.2 clients without tickets
//! resume by session id, from a store of the control session that data connections can only read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::{ProducesTickets, StoresServerSessions};

/// Identifies a control session, across restarts too.
pub type SessionId = [u8; 16];

/// The connection that a ticket was issued to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TicketOwner {
    pub session: SessionId,
    /// The data connection that it was issued on; on a control connection, the session again.
    pub connection: SessionId,
}

impl TicketOwner {
    const BYTES: usize = 2 * size_of::<SessionId>();

    pub(super) fn control(session: SessionId) -> Self {
        Self { session, connection: session }
    }
}

/// Decrypts a ticket into its owner and rustls' plaintext.
pub(super) fn open(
    ticketer: &dyn ProducesTickets,
    ticket: &[u8],
) -> Option<(TicketOwner, Vec<u8>)> {
    let mut owned = ticketer.decrypt(ticket)?;
    let (session, rest) = owned.split_first_chunk()?;
    let owner = TicketOwner { session: *session, connection: *rest.first_chunk()? };
    owned.drain(..TicketOwner::BYTES);
    Some((owner, owned))
}

#[derive(Debug)]
pub(super) struct OwnedTicketer {
    shared: Arc<dyn ProducesTickets>,
    owner: TicketOwner,
    /// Whether tickets are resumed, not only recorded.
    resumes: bool,
    used: Mutex<TicketUse>,
}

/// What one handshake did with tickets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TicketUse {
    /// The client offered a ticket, valid or not.
    pub offered: bool,
    /// The owner in the last ticket that was decrypted. It counts only after a complete handshake that
    /// was a resumption.
    pub owner: Option<TicketOwner>,
    /// A ticket was issued, which happens once the client's Finished is verified.
    pub issued: bool,
}

impl OwnedTicketer {
    pub(super) fn new(shared: Arc<dyn ProducesTickets>, owner: TicketOwner) -> Self {
        Self { shared, owner, resumes: true, used: Mutex::default() }
    }

    /// For a connection whose handshake must be a full one.
    pub(super) fn without_resumption(self) -> Self {
        Self { resumes: false, ..self }
    }

    pub(super) fn used(&self) -> TicketUse {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducesTickets for OwnedTicketer {
    fn enabled(&self) -> bool {
        self.shared.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.shared.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).issued = true;
        let TicketOwner { session, connection } = &self.owner;
        self.shared.encrypt(&[session, connection, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let opened = open(&*self.shared, cipher);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.offered = true;
        let (owner, plain) = opened?;
        used.owner = Some(owner);
        self.resumes.then_some(plain)
    }
}

/// The control session that each TLS 1.2 session id of a listener belongs to.
#[derive(Debug, Default)]
pub(super) struct SessionIdIndex(Mutex<HashMap<Vec<u8>, SessionId>>);

impl SessionIdIndex {
    pub(super) fn owner(&self, id: &[u8]) -> Option<SessionId> {
        self.lock().get(id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most TLS 1.2 sessions that are stored for one control session.
const SESSIONS_MAX: usize = 8;

/// The TLS 1.2 sessions of one control session, by id. `take` does not remove: a session can be resumed
/// any number of times.
#[derive(Debug)]
pub(super) struct SessionStore {
    owner: SessionId,
    index: Arc<SessionIdIndex>,
    sessions: Mutex<VecDeque<(Vec<u8>, Vec<u8>)>>,
}

impl SessionStore {
    pub(super) fn new(owner: SessionId, index: Arc<SessionIdIndex>) -> Self {
        Self { owner, index, sessions: Mutex::default() }
    }
}

impl Drop for SessionStore {
    fn drop(&mut self) {
        let sessions = self.sessions.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut index = self.index.lock();
        for (id, _) in sessions {
            index.remove(id);
        }
    }
}

impl StoresServerSessions for SessionStore {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|(k, _)| *k != key);
        let oldest = if sessions.len() == SESSIONS_MAX { sessions.pop_front() } else { None };
        let mut index = self.index.lock();
        if let Some((oldest, _)) = oldest {
            index.remove(&oldest);
        }
        index.insert(key.clone(), self.owner);
        sessions.push_back((key, value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The store of a control connection, empty so far. It records the id that is looked up: the client has a
/// session with that id in its own store.
#[derive(Debug)]
pub(super) struct LookupRecorder {
    store: Arc<SessionStore>,
    looked_up: Mutex<Option<Vec<u8>>>,
}

impl LookupRecorder {
    pub(super) fn new(store: Arc<SessionStore>) -> Self {
        Self { store, looked_up: Mutex::default() }
    }

    pub(super) fn looked_up(&self) -> Option<Vec<u8>> {
        self.looked_up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StoresServerSessions for LookupRecorder {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.store.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        *self.looked_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.to_vec());
        self.store.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The control session's store for a data connection, which may be a stranger's: it adds nothing.
#[derive(Debug)]
pub(super) struct ReadOnlyStore(pub Arc<SessionStore>);

impl StoresServerSessions for ReadOnlyStore {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        false
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The most connections that are remembered. A client that uses each ticket once holds about ten.
const RESUMED_CONNECTIONS_MAX: usize = 64;

/// The data connections that resumed a control session. Their tickets count as the session's own; those of
/// a stranger's data connection do not.
#[derive(Debug, Default)]
pub(super) struct ResumedConnections(Mutex<VecDeque<SessionId>>);

impl ResumedConnections {
    pub(super) fn add(&self, id: SessionId) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() == RESUMED_CONNECTIONS_MAX {
            ids.pop_front();
        }
        ids.push_back(id);
    }

    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_names_its_owner() {
        let shared = Arc::new(crate::net::tls::ticketer::WeeklyTicketer::new().unwrap());
        let alice = OwnedTicketer::new(
            shared.clone(),
            TicketOwner { session: [1; 16], connection: [3; 16] },
        );
        let bob = OwnedTicketer::new(shared, TicketOwner::control([2; 16]));
        let ticket = alice.encrypt(b"secrets").unwrap();
        assert_eq!(bob.used(), TicketUse::default());
        assert_eq!(bob.decrypt(b"rubbish"), None);
        assert_eq!(bob.used(), TicketUse { offered: true, ..TicketUse::default() });
        assert_eq!(bob.decrypt(&ticket).as_deref(), Some(&b"secrets"[..]));
        let owner = Some(TicketOwner { session: [1; 16], connection: [3; 16] });
        assert_eq!(bob.used(), TicketUse { offered: true, owner, issued: false });
        assert!(alice.used().issued);
    }

    #[test]
    fn a_full_handshake_records_the_offered_ticket() {
        let shared = Arc::new(crate::net::tls::ticketer::WeeklyTicketer::new().unwrap());
        let made = || OwnedTicketer::new(shared.clone(), TicketOwner::control([1; 16]));
        let ticket = made().encrypt(b"secrets").unwrap();
        let full = made().without_resumption();
        assert_eq!(full.decrypt(&ticket), None);
        assert_eq!(full.used().owner, Some(TicketOwner::control([1; 16])));
        assert!(made().decrypt(&ticket).is_some());
    }

    #[test]
    fn the_store_keeps_taken_sessions_and_is_bounded() {
        let index = Arc::new(SessionIdIndex::default());
        let store = SessionStore::new([1; 16], index.clone());
        for i in 0..20u8 {
            store.put(vec![i], vec![i, i]);
        }
        assert_eq!(store.take(&[19]), Some(vec![19, 19]));
        assert_eq!(store.take(&[19]), Some(vec![19, 19]));
        assert_eq!(store.get(&[0]), None);
        assert_eq!(store.sessions.lock().unwrap().len(), SESSIONS_MAX);
        assert_eq!((index.owner(&[19]), index.owner(&[0])), (Some([1; 16]), None));
        drop(store);
        assert!(index.lock().is_empty());
    }
}
