//! Which upload owns a path at a backend, across all of the gateway's sessions there. A client whose
//! connection broke reconnects and sends its file again, often before the gateway notices the end of the
//! first session. The first session's cleanup must not affect the new file.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::Home;
use crate::net::WeakMap;
use crate::op::RemotePath;

/// The leases at all servers, by their names: sessions of another configuration must see each other's.
#[derive(Default)]
pub struct KnownLeases(WeakMap<String, PathLeases>);

/// All leases at one backend.
#[derive(Default)]
pub struct PathLeases {
    paths: Mutex<HashMap<Key, Weak<LeasedPath>>>,
    /// How often each account's sessions have changed something.
    changes: Mutex<HashMap<Arc<[u8]>, Weak<AtomicU64>>>,
}

/// An account at the backend: the same path may be another file for another account.
#[derive(Clone, Default)]
pub(super) struct Account {
    leases: Arc<PathLeases>,
    user: Arc<[u8]>,
    changes: Arc<AtomicU64>,
    /// Its paths are relative to the login folder, so they differ from absolute ones.
    relative: bool,
}

/// Account, whether its paths are relative, path.
type Key = (Arc<[u8]>, bool, RemotePath);

struct LeasedPath {
    leases: Arc<PathLeases>,
    key: Key,
    state: Mutex<State>,
    /// The last guard was dropped.
    released: Notify,
}

#[derive(Default)]
struct State {
    /// The number of the newest lease.
    newest: u64,
    guards: usize,
}

/// The right of one upload to a path. It ends when a newer lease of the path is taken.
pub(super) struct PathLease {
    path: Arc<LeasedPath>,
    number: u64,
}

/// While it exists, no new lease of the path is granted.
pub(super) struct PathGuard {
    path: Arc<LeasedPath>,
    is_newest: bool,
}

impl KnownLeases {
    /// Those at the server of this name.
    pub fn of(&self, server: &str) -> Arc<PathLeases> {
        self.0.forget_ended(|_| {});
        self.0.get_or_insert_with(&server.to_owned(), PathLeases::default)
    }
}

impl Account {
    pub(super) fn new(leases: &Arc<PathLeases>, user: &[u8]) -> Self {
        let user = user.into();
        let changes = leases.changes(&user);
        Self { leases: leases.clone(), user, changes, relative: false }
    }

    /// Increases with whatever any session of the account may have changed.
    pub(super) fn changes(&self) -> &Arc<AtomicU64> {
        &self.changes
    }

    /// With paths as they are sent to the server.
    pub(super) fn with_home(self, home: &Home) -> Self {
        Self { relative: !home.is_known(), ..self }
    }

    /// Takes a lease of the path, which ends all earlier ones. To be called before the backend starts a
    /// file under the path or renames one to it. Waits while the path is guarded.
    pub(super) async fn lease(&self, path: &RemotePath) -> PathLease {
        let path = self.path(path);
        loop {
            let released = path.released.notified();
            if let Some(number) = path.next() {
                return PathLease { path: path.clone(), number };
            }
            released.await;
        }
    }

    fn path(&self, path: &RemotePath) -> Arc<LeasedPath> {
        let key = (self.user.clone(), self.relative, path.clone());
        let mut paths = self.leases.paths();
        if let Some(path) = paths.get(&key).and_then(Weak::upgrade) {
            return path;
        }
        let leases = self.leases.clone();
        let (state, released) = (Mutex::default(), Notify::new());
        let path = Arc::new(LeasedPath { leases, key: key.clone(), state, released });
        paths.insert(key, Arc::downgrade(&path));
        path
    }
}

impl LeasedPath {
    /// `None` while it is guarded.
    fn next(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.guards > 0 {
            return None;
        }
        state.newest += 1;
        Some(state.newest)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PathLease {
    /// Guards the path, even where a newer lease was taken.
    pub(super) fn guard(&self) -> PathGuard {
        let mut state = self.path.lock();
        state.guards += 1;
        PathGuard { path: self.path.clone(), is_newest: state.newest == self.number }
    }

    /// `None` where a newer lease was taken.
    pub(super) fn guard_if_newest(&self) -> Option<PathGuard> {
        Some(self.guard()).filter(PathGuard::is_newest)
    }
}

impl PathGuard {
    /// No newer lease of the path was taken.
    pub(super) fn is_newest(&self) -> bool {
        self.is_newest
    }
}

impl Drop for PathGuard {
    fn drop(&mut self) {
        let mut state = self.path.lock();
        state.guards = state.guards.saturating_sub(1);
        if state.guards == 0 {
            self.path.released.notify_waiters();
        }
    }
}

impl PathLeases {
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

    fn paths(&self) -> MutexGuard<'_, HashMap<Key, Weak<LeasedPath>>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LeasedPath {
    fn drop(&mut self) {
        let mut paths = self.leases.paths();
        // There may be a new one of the same key by now.
        if paths.get(&self.key).is_some_and(|path| path.strong_count() == 0) {
            paths.remove(&self.key);
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
    async fn only_the_newest_lease_of_a_path_and_account_is_valid() {
        let leases = Arc::default();
        let (anna, ben) = (Account::new(&leases, b"anna"), Account::new(&leases, b"ben"));
        let first = anna.lease(&path("a")).await;
        let (other_account, other_path) =
            (ben.lease(&path("a")).await, anna.lease(&path("b")).await);
        assert!(first.guard_if_newest().is_some());
        let second = Account::new(&leases, b"anna").lease(&path("a")).await;
        assert!(first.guard_if_newest().is_none());
        // Dropped, the second is still the newest.
        drop(second);
        assert!(first.guard_if_newest().is_none());
        assert!(other_account.guard_if_newest().is_some());
        assert!(other_path.guard_if_newest().is_some());
        drop((first, other_account, other_path));
        assert!(leases.paths().is_empty());
    }

    #[tokio::test]
    async fn a_relative_path_and_an_absolute_one_have_separate_leases() {
        let leases = Arc::default();
        let absolute = Account::new(&leases, b"anna").lease(&path("a")).await;
        let anna = Account::new(&leases, b"anna").with_home(&Home::Unknown);
        let _relative = anna.lease(&path("a")).await;
        assert!(absolute.guard_if_newest().is_some());
    }

    #[tokio::test]
    async fn a_lease_waits_until_all_guards_of_the_path_are_dropped() {
        let anna = Account::new(&Arc::default(), b"anna");
        let path = path("a");
        let first = anna.lease(&path).await;
        let second = anna.lease(&path).await;
        // Both uploads are ending; the older one may still write, too.
        let (older, newer) = (first.guard(), second.guard_if_newest().unwrap());
        assert!(!older.is_newest());
        let next = anna.lease(&path);
        tokio::pin!(next);
        for guard in [newer, older] {
            assert!(crate::task::poll_once(next.as_mut()).is_none());
            drop(guard);
        }
        next.await;
        assert!(second.guard_if_newest().is_none());
        // The failed attempt above left no guard.
        anna.lease(&path).await;
    }
}
