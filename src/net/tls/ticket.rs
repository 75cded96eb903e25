//! Resumption tickets that name their owner.
//!
//! Every connection wraps one shared ticketer: `encrypt` puts an owner before the plaintext, `decrypt`
//! takes it off and notes it. The same for TLS 1.2 and 1.3, and one ticket may be resumed as often as
//! the client likes. Every ticket names the control session that it was given under, so that its
//! connection can be brought there; a data connection's names the data connection, too, which becomes
//! the session's heir only once it is known to have resumed it: tickets go out before that. TLS 1.2
//! clients without tickets resume by session id out of a store that belongs to the control session
//! alone, and that data connections only read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::{ProducesTickets, StoresServerSessions};

/// Names one control session among all, over restarts too.
pub type SessionId = [u8; 16];

/// Whom a ticket was given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    /// The control session that it was given under.
    pub session: SessionId,
    /// The session again, or the data connection that it was given on.
    pub heir: SessionId,
}

impl Owner {
    const BYTES: usize = 2 * size_of::<SessionId>();

    pub(super) fn itself(session: SessionId) -> Self {
        Self { session, heir: session }
    }
}

/// The owner, and what rustls put into the ticket.
pub(super) fn open(ticketer: &dyn ProducesTickets, ticket: &[u8]) -> Option<(Owner, Vec<u8>)> {
    let mut owned = ticketer.decrypt(ticket)?;
    let (session, rest) = owned.split_first_chunk()?;
    let owner = Owner { session: *session, heir: *rest.first_chunk()? };
    owned.drain(..Owner::BYTES);
    Some((owner, owned))
}

#[derive(Debug)]
pub(super) struct OwnedTicketer {
    shared: Arc<dyn ProducesTickets>,
    owner: Owner,
    noted: Mutex<Noted>,
}

/// What was offered to be resumed, and given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// Anything at all, readable or not.
    pub offered: bool,
    /// The owner named by the ticket that was decrypted last. It counts only once the handshake is
    /// complete and was a resumption.
    pub owner: Option<Owner>,
    /// A ticket was made, as is done once the client's Finished has been verified.
    pub issued: bool,
}

impl OwnedTicketer {
    pub(super) fn new(shared: Arc<dyn ProducesTickets>, owner: Owner) -> Self {
        Self { shared, owner, noted: Mutex::default() }
    }

    pub(super) fn noted(&self) -> Noted {
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).issued = true;
        let Owner { session, heir } = &self.owner;
        self.shared.encrypt(&[session, heir, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let opened = open(&*self.shared, cipher);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.offered = true;
        let (owner, plain) = opened?;
        noted.owner = Some(owner);
        Some(plain)
    }
}

/// Which control session a TLS 1.2 session id belongs to, for all of a listener.
#[derive(Debug, Default)]
pub(super) struct Index(Mutex<HashMap<Vec<u8>, SessionId>>);

impl Index {
    pub(super) fn owner(&self, id: &[u8]) -> Option<SessionId> {
        self.lock().get(id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, SessionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most sessions a client without tickets can have remembered for one control session.
const SESSIONS: usize = 8;

/// TLS 1.2 sessions by id, of one control session; `take` does not delete, so that a session can be
/// resumed again and again.
#[derive(Debug)]
pub(super) struct SessionStore {
    owner: SessionId,
    index: Arc<Index>,
    sessions: Mutex<VecDeque<(Vec<u8>, Vec<u8>)>>,
}

impl SessionStore {
    pub(super) fn new(owner: SessionId, index: Arc<Index>) -> Self {
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
        let oldest = if sessions.len() == SESSIONS { sessions.pop_front() } else { None };
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

/// What a control connection sees of its store, which is empty yet: that it was asked for a session
/// means that the client has one in its own.
#[derive(Debug)]
pub(super) struct Asked {
    store: Arc<SessionStore>,
    for_id: Mutex<Option<Vec<u8>>>,
}

impl Asked {
    pub(super) fn new(store: Arc<SessionStore>) -> Self {
        Self { store, for_id: Mutex::default() }
    }

    pub(super) fn for_id(&self) -> Option<Vec<u8>> {
        self.for_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StoresServerSessions for Asked {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.store.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        *self.for_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.to_vec());
        self.store.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// What a data connection sees of the control session's store: whoever it is, it adds nothing.
#[derive(Debug)]
pub(super) struct ReadOnly(pub Arc<SessionStore>);

impl StoresServerSessions for ReadOnly {
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

/// The most heirs that are remembered; with tickets used once, a client has about ten in hand.
const HEIRS: usize = 64;

/// The ids in tickets that data connections of a control session got, once these had resumed it. A
/// stranger's data connection gets tickets too before it is known for one; its id never comes in
/// here.
#[derive(Debug, Default)]
pub(super) struct Heirs(Mutex<VecDeque<SessionId>>);

impl Heirs {
    pub(super) fn add(&self, id: SessionId) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() == HEIRS {
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
        let shared = crate::net::tls::ticketer::weekly().unwrap();
        let alice = OwnedTicketer::new(shared.clone(), Owner { session: [1; 16], heir: [3; 16] });
        let bob = OwnedTicketer::new(shared, Owner::itself([2; 16]));
        let ticket = alice.encrypt(b"secrets").unwrap();
        assert_eq!(bob.noted(), Noted::default());
        assert_eq!(bob.decrypt(b"rubbish"), None);
        assert_eq!(bob.noted(), Noted { offered: true, ..Noted::default() });
        assert_eq!(bob.decrypt(&ticket).as_deref(), Some(&b"secrets"[..]));
        let owner = Some(Owner { session: [1; 16], heir: [3; 16] });
        assert_eq!(bob.noted(), Noted { offered: true, owner, issued: false });
        assert!(alice.noted().issued);
    }

    #[test]
    fn the_store_keeps_what_is_taken_and_is_bounded() {
        let index = Arc::new(Index::default());
        let store = SessionStore::new([1; 16], index.clone());
        for i in 0..20u8 {
            store.put(vec![i], vec![i, i]);
        }
        assert_eq!(store.take(&[19]), Some(vec![19, 19]));
        assert_eq!(store.take(&[19]), Some(vec![19, 19]));
        assert_eq!(store.get(&[0]), None);
        assert_eq!(store.sessions.lock().unwrap().len(), SESSIONS);
        assert_eq!((index.owner(&[19]), index.owner(&[0])), (Some([1; 16]), None));
        drop(store);
        assert!(index.lock().is_empty());
    }
}
