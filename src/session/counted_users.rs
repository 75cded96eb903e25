//! What the users that metrics show have done since the start: those that the configuration names, and
//! the busiest. Their names are labels, so their number is bounded.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::op::Direction;

/// Users that are counted to find the busiest. Then the one that moved least is forgotten.
const USERS_MAX: usize = 10_000;

/// The longest name in a label, in bytes.
const NAME_MAX: usize = 255;

/// Which users the metrics show (`metrics`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownUsers {
    /// By name; their series exist from the start.
    pub named: BTreeSet<String>,
    /// So many others: those that moved most bytes.
    pub busiest: usize,
}

/// All counted users.
#[derive(Default)]
pub(super) struct CountedUsers(RwLock<State>);

#[derive(Default)]
struct State {
    shown: ShownUsers,
    users: HashMap<Vec<u8>, Arc<CountedUser>>,
}

/// What one user has done.
#[derive(Default)]
pub(super) struct CountedUser {
    logins: Outcomes,
    uploads: Outcomes,
    downloads: Outcomes,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
}

/// How often something ended in each way.
#[derive(Default)]
pub(super) struct Outcomes([AtomicU64; UserOutcome::ALL.len()]);

/// How a login or a transfer of a user ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserOutcome {
    Ok,
    /// A download that was not read to its end; a login that needs a second method.
    Partial,
    Failed,
}

impl CountedUsers {
    /// Shows these users from now on. Who is neither named nor could be among the busiest is forgotten.
    pub(super) fn show(&self, shown: ShownUsers) {
        let mut state = self.write();
        state.shown = shown;
        let State { shown, users } = &mut *state;
        for name in &shown.named {
            users.entry(name.clone().into_bytes()).or_default();
        }
        if shown.busiest == 0 {
            users.retain(|name, _| shown.names(name));
        }
    }

    /// A user that is counted; `None` for others.
    pub(super) fn get(&self, user: &[u8]) -> Option<Arc<CountedUser>> {
        self.read().users.get(user).cloned()
    }

    /// As [`CountedUsers::get`], of a user who has logged in: one may be counted from now on. Whom
    /// somebody only tried to be is not.
    pub(super) fn logged_in(&self, user: &[u8]) -> Option<Arc<CountedUser>> {
        if let Some(counted) = self.get(user) {
            return Some(counted);
        }
        if self.read().shown.busiest == 0 {
            return None;
        }
        let mut state = self.write();
        if state.users.len() >= USERS_MAX {
            let idlest = state.idlest()?;
            state.users.remove(&idlest);
        }
        Some(state.users.entry(user.to_vec()).or_default().clone())
    }

    /// The users to show, with their names as labels.
    pub(super) fn shown(&self) -> Vec<(String, Vec<u8>, Arc<CountedUser>)> {
        let state = self.read();
        let (mut shown, mut others) = (Vec::new(), Vec::new());
        for (name, counted) in &state.users {
            let of = if state.shown.names(name) { &mut shown } else { &mut others };
            of.push((label(name), name.clone(), counted.clone()));
        }
        // The same order at each scrape, also of those with as many.
        others.sort_by(|(_, a, one), (_, b, two)| two.bytes().cmp(&one.bytes()).then(a.cmp(b)));
        others.truncate(state.shown.busiest);
        shown.append(&mut others);
        shown
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who moved least, is not named and transfers nothing now.
    fn idlest(&self) -> Option<Vec<u8>> {
        let others = self
            .users
            .iter()
            .filter(|(name, counted)| !self.shown.names(name) && Arc::strong_count(counted) == 1);
        others.min_by_key(|(_, counted)| counted.bytes()).map(|(name, _)| name.clone())
    }
}

impl ShownUsers {
    fn names(&self, user: &[u8]) -> bool {
        std::str::from_utf8(user).is_ok_and(|user| self.named.contains(user))
    }
}

impl CountedUser {
    pub(super) fn logins(&self) -> &Outcomes {
        &self.logins
    }

    /// `None` for copies within a backend.
    pub(super) fn transfers(&self, direction: Direction) -> Option<&Outcomes> {
        match direction {
            Direction::Upload => Some(&self.uploads),
            Direction::Download => Some(&self.downloads),
            Direction::Copy => None,
        }
    }

    pub(super) fn add_bytes(&self, uploaded: u64, downloaded: u64) {
        self.uploaded.fetch_add(uploaded, Ordering::Relaxed);
        self.downloaded.fetch_add(downloaded, Ordering::Relaxed);
    }

    pub(super) fn uploaded(&self) -> u64 {
        self.uploaded.load(Ordering::Relaxed)
    }

    pub(super) fn downloaded(&self) -> u64 {
        self.downloaded.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.uploaded().saturating_add(self.downloaded())
    }
}

impl Outcomes {
    pub(super) fn count(&self, outcome: UserOutcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self, outcome: UserOutcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}

impl UserOutcome {
    pub(super) const ALL: [Self; 3] = [Self::Ok, Self::Partial, Self::Failed];

    /// Of the outcome in a record.
    pub(super) fn of(outcome: &str) -> Self {
        match outcome {
            "ok" => Self::Ok,
            "partial" => Self::Partial,
            _ => Self::Failed,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

/// A label is UTF-8; the encoder escapes quotes and line ends.
fn label(name: &[u8]) -> String {
    let mut label = match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => name.escape_ascii().to_string(),
    };
    let end = (0..=NAME_MAX.min(label.len())).rev().find(|at| label.is_char_boundary(*at));
    label.truncate(end.unwrap_or_default());
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(named: &[&str], busiest: usize) -> CountedUsers {
        let users = CountedUsers::default();
        let named = named.iter().map(|name| (*name).to_owned()).collect();
        users.show(ShownUsers { named, busiest });
        users
    }

    fn names(users: &CountedUsers) -> Vec<String> {
        users.shown().into_iter().map(|(label, ..)| label).collect()
    }

    #[test]
    fn named_users_are_shown_from_the_start_and_others_by_their_bytes() {
        let users = users(&["alice"], 2);
        assert_eq!(names(&users), ["alice"]);
        assert!(users.get(b"bob").is_none(), "he has not logged in");
        for (user, bytes) in [("bob", 5), ("carol", 9), ("dave", 7)] {
            users.logged_in(user.as_bytes()).unwrap().add_bytes(0, bytes);
        }
        assert_eq!(names(&users), ["alice", "carol", "dave"]);
        users.get(b"bob").unwrap().add_bytes(10, 0);
        assert_eq!(names(&users), ["alice", "bob", "carol"]);
        assert_eq!(users.get(b"dave").unwrap().downloaded(), 7, "it goes on when it comes back");
    }

    #[test]
    fn without_busiest_only_named_users_are_counted() {
        let users = users(&["alice"], 0);
        assert!(users.logged_in(b"bob").is_none() && users.logged_in(b"alice").is_some());
        users.get(b"alice").unwrap().add_bytes(1, 2);
        users.show(ShownUsers { named: ["alice".into(), "bob".into()].into(), busiest: 1 });
        assert_eq!(users.get(b"alice").unwrap().downloaded(), 2, "a reload keeps it");
        users.logged_in(b"carol").unwrap();
        users.show(ShownUsers { named: ["bob".into()].into(), busiest: 0 });
        assert_eq!(names(&users), ["bob"]);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_busiest() {
        let users = users(&["alice"], 1);
        let busy = users.logged_in(b"busy").unwrap();
        busy.add_bytes(1, 0);
        drop(busy);
        let running = users.logged_in(b"running").unwrap();
        for number in 0..USERS_MAX + 100 {
            users.logged_in(format!("user {number}").as_bytes()).unwrap();
        }
        assert_eq!(users.read().users.len(), USERS_MAX);
        assert_eq!(names(&users), ["alice", "busy"]);
        running.add_bytes(2, 0);
        assert!(users.shown().iter().any(|(label, ..)| label == "running"), "it was forgotten");
    }

    #[test]
    fn labels_are_text_of_bounded_length() {
        assert_eq!(label(b"a\"\n\xc3\xa4"), "a\"\nä");
        assert_eq!(label(b"\xff\x1b"), "\\xff\\x1b");
        let long = label("ä".repeat(200).as_bytes());
        assert_eq!(long, "ä".repeat(127));
    }
}
