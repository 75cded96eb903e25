//! What the users that metrics show have done since the start: those that the configuration names, and
//! the busiest. Their names are labels, so their number is bounded.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::outcome_class::OutcomeClass;
use crate::op::Direction;

/// Users that are counted to find the busiest. Then those that moved least are forgotten.
const USERS_MAX: usize = 10_000;

/// As many are forgotten at once, so that not each login looks for one.
const FORGOTTEN_AT_ONCE: usize = USERS_MAX / 10;

/// Who was counted first less long ago is not forgotten: his transfers may follow.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// Where none could be forgotten, the next look is so much later.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

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
    /// Until then, none can be forgotten.
    full_until: Option<Instant>,
}

/// What one user has done.
pub(super) struct CountedUser {
    since: Instant,
    logins: Outcomes,
    uploads: Outcomes,
    downloads: Outcomes,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
}

/// How often something ended in each way.
#[derive(Default)]
pub(super) struct Outcomes([AtomicU64; OutcomeClass::ALL.len()]);

impl CountedUsers {
    /// Shows these users from now on. Who is neither named nor could be among the busiest is forgotten.
    pub(super) fn show(&self, shown: ShownUsers) {
        let mut state = self.write();
        state.shown = shown;
        let State { shown, users, .. } = &mut *state;
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
    /// somebody only tried to be is not, nor who is one too many within minutes.
    pub(super) fn logged_in(&self, user: &[u8]) -> Option<Arc<CountedUser>> {
        if let Some(counted) = self.get(user) {
            return Some(counted);
        }
        if self.read().shown.busiest == 0 {
            return None;
        }
        let mut state = self.write();
        if !state.users.contains_key(user) && !state.has_room() {
            return None;
        }
        Some(state.users.entry(user.to_vec()).or_default().clone())
    }

    /// The users to show, with their names as labels.
    pub(super) fn shown(&self) -> Vec<(String, Vec<u8>, Arc<CountedUser>)> {
        let state = self.read();
        let (mut shown, mut others) = (Vec::new(), Vec::new());
        for (name, counted) in &state.users {
            let of = if state.shown.names(name) { &mut shown } else { &mut others };
            // Bytes go on while it is sorted.
            of.push((Reverse(counted.bytes()), name, counted));
        }
        // The same order at each scrape, also of those with as many.
        others.sort_unstable_by_key(|(bytes, name, _)| (*bytes, *name));
        others.truncate(state.shown.busiest);
        shown.append(&mut others);
        let all = shown.into_iter();
        all.map(|(_, name, counted)| (label(name), name.clone(), counted.clone())).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes room for another, if it can.
    fn has_room(&mut self) -> bool {
        if self.users.len() < USERS_MAX {
            return true;
        }
        let now = Instant::now();
        if self.full_until.is_some_and(|until| now < until) {
            return false;
        }
        let idlest = self.idlest(now);
        self.full_until = idlest.is_empty().then_some(now + LOOK_AGAIN);
        for name in &idlest {
            self.users.remove(name);
        }
        self.users.len() < USERS_MAX
    }

    /// Those who moved least, are not new, not named, and transfer nothing now.
    fn idlest(&self, now: Instant) -> Vec<Vec<u8>> {
        let can_go = |name: &[u8], counted: &Arc<CountedUser>| {
            now.duration_since(counted.since) >= KEPT_FOR
                && !self.shown.names(name)
                && Arc::strong_count(counted) == 1
        };
        let others = self.users.iter().filter(|(name, counted)| can_go(name, counted));
        let mut others: Vec<_> = others.map(|(name, counted)| (counted.bytes(), name)).collect();
        others.sort_unstable();
        others.into_iter().take(FORGOTTEN_AT_ONCE).map(|(_, name)| name.clone()).collect()
    }
}

impl ShownUsers {
    fn names(&self, user: &[u8]) -> bool {
        std::str::from_utf8(user).is_ok_and(|user| self.named.contains(user))
    }
}

impl Default for CountedUser {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            logins: Outcomes::default(),
            uploads: Outcomes::default(),
            downloads: Outcomes::default(),
            uploaded: AtomicU64::default(),
            downloaded: AtomicU64::default(),
        }
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
    pub(super) fn count(&self, outcome: OutcomeClass) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self, outcome: OutcomeClass) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
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

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_keeps_the_busiest() {
        let users = users(&["alice"], 1);
        users.logged_in(b"busy").unwrap().add_bytes(1, 0);
        let running = users.logged_in(b"running").unwrap();
        let log_in = |number| users.logged_in(format!("user {number}").as_bytes());
        (3..USERS_MAX).for_each(|number| assert!(log_in(number).is_some()));
        let len = || users.read().users.len();
        assert_eq!(len(), USERS_MAX);
        assert!(log_in(USERS_MAX).is_none(), "one that may yet begin was forgotten");
        assert!(users.logged_in(b"busy").is_some());

        tokio::time::advance(KEPT_FOR).await;
        log_in(USERS_MAX).unwrap();
        assert_eq!(len(), USERS_MAX - FORGOTTEN_AT_ONCE + 1);
        assert_eq!(names(&users), ["alice", "busy"]);
        running.add_bytes(2, 0);
        assert!(names(&users).contains(&"running".to_owned()), "it was forgotten");
        // The newest is kept, with all who come after it.
        for number in USERS_MAX + 1..USERS_MAX + 5000 {
            log_in(number).unwrap();
        }
        assert!(len() <= USERS_MAX && users.get(format!("user {USERS_MAX}").as_bytes()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_keeps_nobody_but_those_that_it_shows() {
        let users = users(&[], 1);
        for number in 0..USERS_MAX {
            users.logged_in(format!("user {number}").as_bytes()).unwrap();
        }
        tokio::time::advance(KEPT_FOR).await;
        let shown = users.shown();
        assert_eq!(shown.len(), 1);
        assert!(users.logged_in(b"another").is_some());
    }

    #[test]
    fn labels_are_text_of_bounded_length() {
        assert_eq!(label(b"a\"\n\xc3\xa4"), "a\"\nä");
        assert_eq!(label(b"\xff\x1b"), "\\xff\\x1b");
        let long = label("ä".repeat(200).as_bytes());
        assert_eq!(long, "ä".repeat(127));
    }
}
