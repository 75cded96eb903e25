//! Which upload a name at a backend belongs to, over all sessions of the gateway there: a client whose
//! connection broke comes back and sends its file again, often before the end of the first session
//! was noticed. The part of that one must not be taken for the file.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::Home;
use crate::op::RemotePath;

/// Who writes what at a backend.
#[derive(Default)]
pub(super) struct Claims {
    names: Mutex<HashMap<Key, Weak<Name>>>,
    /// How often each account's sessions have changed something.
    changes: Mutex<HashMap<Arc<[u8]>, Weak<AtomicU64>>>,
}

/// An account at the backend: others may mean other files by the same path.
#[derive(Clone, Default)]
pub(super) struct Account {
    claims: Arc<Claims>,
    user: Arc<[u8]>,
    changes: Arc<AtomicU64>,
    /// Its paths begin where the login put the user: they are others than absolute ones.
    relative: bool,
}

/// Account, whether its paths are relative, path.
type Key = (Arc<[u8]>, bool, RemotePath);

/// A name that somebody writes to.
struct Name {
    claims: Arc<Claims>,
    key: Key,
    state: Mutex<State>,
    /// The last hold has ended.
    free: Notify,
}

#[derive(Default)]
struct State {
    /// The number of the newest claim.
    newest: u64,
    held: usize,
}

/// What was begun under a name; it counts until somebody else begins something there.
pub(super) struct Claim {
    name: Arc<Name>,
    number: u64,
}

/// While there is one, nobody else begins anything under the name.
pub(super) struct Held {
    name: Arc<Name>,
    is_newest: bool,
}

impl Account {
    pub(super) fn new(claims: &Arc<Claims>, user: &[u8]) -> Self {
        let user = user.into();
        let changes = claims.changes(&user);
        Self { claims: claims.clone(), user, changes, relative: false }
    }

    /// Goes on with whatever any session of the account may have changed.
    pub(super) fn changes(&self) -> &Arc<AtomicU64> {
        &self.changes
    }

    /// As its paths are told to the server.
    pub(super) fn at(self, home: &Home) -> Self {
        Self { relative: !home.is_known(), ..self }
    }

    /// From now on the name is the caller's. To be called before the backend is asked to begin the
    /// file, or to give its name to another; waits while the name is held.
    pub(super) async fn claim(&self, path: &RemotePath) -> Claim {
        let name = self.name(path);
        loop {
            let free = name.free.notified();
            if let Some(number) = name.next() {
                return Claim { name: name.clone(), number };
            }
            free.await;
        }
    }

    fn name(&self, path: &RemotePath) -> Arc<Name> {
        let key = (self.user.clone(), self.relative, path.clone());
        let mut names = self.claims.names();
        if let Some(name) = names.get(&key).and_then(Weak::upgrade) {
            return name;
        }
        let claims = self.claims.clone();
        let (state, free) = (Mutex::default(), Notify::new());
        let name = Arc::new(Name { claims, key: key.clone(), state, free });
        names.insert(key, Arc::downgrade(&name));
        name
    }
}

impl Name {
    /// `None` while it is held.
    fn next(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.held > 0 {
            return None;
        }
        state.newest += 1;
        Some(state.newest)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Holds the name, also where somebody has begun something there since.
    pub(super) fn hold_anyway(&self) -> Held {
        let mut state = self.name.lock();
        state.held += 1;
        Held { name: self.name.clone(), is_newest: state.newest == self.number }
    }

    /// `None` where somebody has begun something there since.
    pub(super) async fn hold(&self) -> Option<Held> {
        Some(self.hold_anyway()).filter(Held::is_newest)
    }
}

impl Held {
    /// Nobody has begun anything under the name since it was claimed.
    pub(super) fn is_newest(&self) -> bool {
        self.is_newest
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.name.lock();
        state.held = state.held.saturating_sub(1);
        if state.held == 0 {
            self.name.free.notify_waiters();
        }
    }
}

impl Claims {
    fn changes(&self, user: &Arc<[u8]>) -> Arc<AtomicU64> {
        let mut all = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(user).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, changes| changes.strong_count() > 0);
        let new = Arc::default();
        all.insert(user.clone(), Arc::downgrade(&new));
        new
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Key, Weak<Name>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut names = self.claims.names();
        // Another of the same key may be there by now.
        if names.get(&self.key).is_some_and(|name| name.strong_count() == 0) {
            names.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), name.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn the_newest_claim_of_a_name_and_account_counts() {
        let claims = Arc::default();
        let (anna, ben) = (Account::new(&claims, b"anna"), Account::new(&claims, b"ben"));
        let first = anna.claim(&path("a")).await;
        let (others, elsewhere) = (ben.claim(&path("a")).await, anna.claim(&path("b")).await);
        assert!(first.hold().await.is_some());
        let second = Account::new(&claims, b"anna").claim(&path("a")).await;
        assert!(first.hold().await.is_none());
        // Ended, it was the newest still.
        drop(second);
        assert!(first.hold().await.is_none());
        assert!(others.hold().await.is_some() && elsewhere.hold().await.is_some());
        drop((first, others, elsewhere));
        assert!(claims.names().is_empty());
    }

    #[tokio::test]
    async fn a_relative_path_is_another_name_than_an_absolute_one() {
        let claims = Arc::default();
        let absolute = Account::new(&claims, b"anna").claim(&path("a")).await;
        let anna = Account::new(&claims, b"anna").at(&Home::Unknown);
        let _relative = anna.claim(&path("a")).await;
        assert!(absolute.hold().await.is_some());
    }

    #[tokio::test]
    async fn nobody_begins_anything_while_the_name_is_held() {
        let anna = Account::new(&Arc::default(), b"anna");
        let path = path("a");
        let first = anna.claim(&path).await;
        let second = anna.claim(&path).await;
        // Both are being ended: the older one too may write still.
        let (older, newer) = (first.hold_anyway(), second.hold().await.unwrap());
        assert!(!older.is_newest());
        let next = anna.claim(&path);
        tokio::pin!(next);
        for held in [newer, older] {
            assert!(crate::net::poll_once(next.as_mut()).is_none());
            drop(held);
        }
        next.await;
        assert!(second.hold().await.is_none());
        // That hold is none.
        anna.claim(&path).await;
    }
}
