//! Verifies passwords: on blocking threads, a bounded number at a time, and with the same work for an unknown
//! user as for a wrong password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::Registry;
use zeroize::Zeroizing;

use super::password_queue::{PasswordQueue, Place};
use super::{Scheme, Source, User, UserTable};
use crate::metrics;
use crate::task;

/// The gateway's users, and the check of their passwords.
pub struct PasswordCheck {
    users: RwLock<Arc<UserTable>>,
    /// A verification occupies a core and, with argon2's defaults, 19 MiB.
    queue: Arc<PasswordQueue>,
    /// How many hashes were computed.
    computed: Option<HashMap<Scheme, prometheus::IntCounter>>,
}

impl PasswordCheck {
    /// Checks against `users`; verifies at most one password per core at a time.
    pub fn new(users: UserTable) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let users = RwLock::new(Arc::new(users));
        Self { users, queue: PasswordQueue::new(cores), computed: None }
    }

    /// Registers the metrics, once per registry.
    pub fn with_metrics(mut self, registry: &Registry) -> Result<Self, prometheus::Error> {
        let computed = metrics::counters(
            registry,
            "lockgate_password_checks_total",
            "Passwords checked, by the hash's scheme",
            &["scheme"],
        )?;
        let of_scheme = |scheme: Scheme| (scheme, computed.with_label_values(&[scheme.as_str()]));
        self.computed = Some(Scheme::ALL.into_iter().map(of_scheme).collect());
        let queue = self.queue.clone();
        metrics::live_gauge(
            registry,
            "lockgate_password_checks_waiting",
            "Logins that wait for the check of their password",
            move || queue.waiting() as f64,
        )?;
        let queue = self.queue.clone();
        metrics::live_gauge(
            registry,
            "lockgate_password_checks_in_progress",
            "Password checks that run",
            move || queue.taken() as f64,
        )?;
        let places = metrics::gauge(
            registry,
            "lockgate_password_checks_limit",
            "Password checks at once: one for each core",
        )?;
        places.set(self.queue.places() as i64);
        Ok(self)
    }

    /// The users now. A login keeps the table that it began with.
    pub fn users(&self) -> Arc<UserTable> {
        self.users.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other users in place of these, for logins that begin from now on.
    pub fn replace_users(&self, users: UserTable) {
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(users);
    }

    /// Waits until a password from this address may be checked. Addresses take turns.
    pub async fn place(&self, from: IpAddr) -> Place {
        self.queue.place(Source::of(from)).await
    }

    /// The user of `users`, if the password is correct. The same work for unknown users.
    pub async fn verify(
        &self,
        place: Place,
        users: &UserTable,
        name: &[u8],
        password: &Zeroizing<Vec<u8>>,
    ) -> Option<Arc<User>> {
        let (hash, user) = users.hash_for(name)?;
        let (hash, password) = (hash.clone(), password.clone());
        if let Some(computed) = self.computed.as_ref().and_then(|it| it.get(&hash.scheme())) {
            computed.inc();
        }
        let checked = task::spawn_blocking(move || {
            let _place = place;
            hash.verify(&password)
        });
        // It does not panic; if it did, the login would fail.
        if checked.await.unwrap_or(false) { user.cloned() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{HashKind, PasswordHash, hash_password};

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    /// Of `open sesame`, each with another work.
    const MD5: &str = "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/";
    const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

    async fn verify_at(
        check: &PasswordCheck,
        users: &UserTable,
        name: &[u8],
        password: &str,
    ) -> bool {
        let password = Zeroizing::new(password.into());
        check.verify(check.place(CLIENT).await, users, name, &password).await.is_some()
    }

    fn user(hash: Option<&str>) -> User {
        let password_hash = hash.map(|hash| Arc::new(PasswordHash::parse(hash).unwrap()));
        User { password_hash, groups: vec!["g".into()], ..User::default() }
    }

    fn table(users: Vec<(String, User)>) -> UserTable {
        UserTable::new(users.into_iter().map(|(name, user)| (name.into_bytes(), user)).collect())
    }

    /// `count` users with each hash.
    fn mixed(count: usize) -> UserTable {
        let named =
            |n: usize| [(format!("m{n}"), user(Some(MD5))), (format!("b{n}"), user(Some(BCRYPT)))];
        table((0..count).flat_map(named).collect())
    }

    #[tokio::test]
    async fn only_the_password_of_a_known_user_is_correct() {
        let hash = hash_password(b"open sesame", HashKind::Argon2id).unwrap();
        let alice = user(Some(&hash));
        let users = table(vec![("alice".into(), alice), ("keys-only".into(), user(None))]);
        let check = PasswordCheck::new(UserTable::default());
        let verify = async |name: &[u8], password| verify_at(&check, &users, name, password).await;
        assert!(verify(b"alice", "open sesame").await);
        assert!(!verify(b"alice", "wrong").await);
        // Another user's password does not authenticate an unknown user, whose name costs that hash.
        for name in [&b"mallory"[..], b"keys-only"] {
            assert!(!verify(name, "open sesame").await);
        }
        assert!(users.get(b"keys-only").is_some());
    }

    #[tokio::test]
    async fn an_empty_table_authenticates_no_user() {
        let (check, users) = (PasswordCheck::new(UserTable::default()), UserTable::default());
        assert!(!verify_at(&check, &users, b"alice", "").await);
    }

    #[tokio::test]
    async fn other_users_apply_at_once_but_not_to_a_login_that_has_begun() {
        let check = PasswordCheck::new(table(vec![("alice".into(), user(Some(MD5)))]));
        let before = check.users();
        check.replace_users(table(vec![("bob".into(), user(Some(MD5)))]));
        let after = check.users();
        let verify = async |users: &UserTable, name: &[u8]| {
            verify_at(&check, users, name, "open sesame").await
        };
        assert!(verify(&before, b"alice").await && !verify(&before, b"bob").await);
        assert!(verify(&after, b"bob").await && !verify(&after, b"alice").await);
    }

    /// What is computed is counted, not timed: a name that nobody has costs what one of the users costs.
    #[tokio::test]
    async fn an_unknown_name_costs_the_work_of_some_user_always_the_same() {
        let registry = Registry::new();
        let check = PasswordCheck::new(mixed(20)).with_metrics(&registry).unwrap();
        let users = check.users();
        let count = |scheme| check.computed.as_ref().unwrap()[&scheme].get();
        let counts = || (count(Scheme::Md5Crypt), count(Scheme::Bcrypt));
        let (mut md5, mut bcrypt) = (0, 0);
        for n in 0..60 {
            let name = format!("unknown{n}");
            let work = async || {
                let before = counts();
                verify_at(&check, &users, name.as_bytes(), "wrong").await;
                (counts().0 - before.0, counts().1 - before.1)
            };
            let first = work().await;
            assert_eq!(first, work().await, "{name}");
            match first {
                (1, 0) => md5 += 1,
                (0, 1) => bcrypt += 1,
                other => panic!("{name}: {other:?}"),
            }
        }
        // Half of each, as with the known ones: 60 draws are within these with a probability of 0.99999.
        assert!((13..=47).contains(&md5), "{md5} and {bcrypt}");
        // A known one costs one hash, too.
        let before = counts();
        verify_at(&check, &users, b"m0", "wrong").await;
        verify_at(&check, &users, b"b0", "wrong").await;
        assert_eq!(counts(), (before.0 + 1, before.1 + 1));
    }

    #[test]
    fn the_cost_of_a_name_stays_when_users_come_and_go() {
        let cost = |table: &UserTable, name: &str| {
            table.hash_for(name.as_bytes()).unwrap().0.cost().clone()
        };
        let (before, after) = (mixed(100), mixed(101));
        // More of one cost: 100 to 110.
        let more = (0..10).map(|n| (format!("more{n}"), user(Some(MD5))));
        let both = (0..100).flat_map(|n| {
            [(format!("m{n}"), user(Some(MD5))), (format!("b{n}"), user(Some(BCRYPT)))]
        });
        let shifted = table(both.chain(more).collect());
        let (mut moved, names) = (0, (0..1000).map(|n| format!("unknown{n}")));
        for name in names {
            assert_eq!(cost(&before, &name), cost(&after, &name));
            moved += usize::from(cost(&before, &name) != cost(&shifted, &name));
        }
        // 110 / 210 instead of 1 / 2, so about 24.
        assert!((3..60).contains(&moved), "{moved}");
    }
}
