//! Which upload a name at a backend belongs to, over all sessions of the gateway there: a client whose
//! connection broke comes back and sends its file again, often before the end of the first session
//! was noticed. The part of that one must not be taken for the file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync;

use crate::op::RemotePath;

/// Who writes what at a backend.
#[derive(Default)]
pub(super) struct Claims {
    names: Mutex<HashMap<Key, Weak<Name>>>,
}

/// An account at the backend: others may mean other files by the same path.
#[derive(Clone, Default)]
pub(super) struct Account {
    claims: Arc<Claims>,
    user: Arc<[u8]>,
}

type Key = (Arc<[u8]>, RemotePath);

/// A name that somebody writes to.
struct Name {
    claims: Arc<Claims>,
    key: Key,
    /// The number of the newest claim.
    newest: sync::Mutex<u64>,
}

/// What was begun under a name; it counts until somebody else begins something there.
pub(super) struct Claim {
    name: Arc<Name>,
    number: u64,
}

impl Account {
    pub(super) fn new(claims: &Arc<Claims>, user: &[u8]) -> Self {
        Self { claims: claims.clone(), user: user.into() }
    }

    /// From now on the name is the caller's. To be called before the backend is asked to begin the
    /// file, or to give its name to another; waits while a part of that name is being deleted.
    pub(super) async fn claim(&self, path: &RemotePath) -> Claim {
        let name = self.name(path);
        let mut newest = name.newest.lock().await;
        *newest += 1;
        let number = *newest;
        drop(newest);
        Claim { name, number }
    }

    fn name(&self, path: &RemotePath) -> Arc<Name> {
        let key = (self.user.clone(), path.clone());
        let mut names = self.claims.names();
        if let Some(name) = names.get(&key).and_then(Weak::upgrade) {
            return name;
        }
        let claims = self.claims.clone();
        let name = Arc::new(Name { claims, key: key.clone(), newest: sync::Mutex::new(0) });
        names.insert(key, Arc::downgrade(&name));
        name
    }
}

impl Claim {
    /// While it is held, nobody else begins anything under the name. `None` where somebody has since.
    pub(super) async fn hold(&self) -> Option<sync::MutexGuard<'_, u64>> {
        let newest = self.name.newest.lock().await;
        (*newest == self.number).then_some(newest)
    }
}

impl Claims {
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
    async fn nobody_begins_anything_while_a_part_is_deleted() {
        let anna = Account::new(&Arc::default(), b"anna");
        let path = path("a");
        let claim = anna.claim(&path).await;
        let held = claim.hold().await.unwrap();
        let next = anna.claim(&path);
        tokio::pin!(next);
        assert!(crate::net::poll_once(next.as_mut()).is_none());
        drop(held);
        next.await;
        assert!(claim.hold().await.is_none());
    }
}
