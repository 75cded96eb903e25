//! Bans and failures, for the process that takes over, in parts of limited length.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::failures::Failures;
use super::names::NameKey;
use super::{BANS_MAX, BanEntry, LoginGuard, State};
use crate::auth::Source;

/// Entries in a part.
const PART_MAX: usize = 1000;

/// A part of what another process goes on with.
#[derive(Debug, Serialize, Deserialize)]
pub enum CarriedGuard {
    /// Bans.
    Bans(Vec<CarriedBan>),
    /// Failures by source.
    Sources(Vec<CarriedFailures<IpAddr>>),
    /// Failures by user. The other process must hash names with the same key: secret.
    Users(Box<NameKey>, Vec<CarriedFailures<u64>>),
}

/// A ban.
#[derive(Debug, Serialize, Deserialize)]
pub struct CarriedBan {
    source: IpAddr,
    failures: u32,
    remaining: Duration,
}

/// The failures of a source or user.
#[derive(Debug, Serialize, Deserialize)]
pub struct CarriedFailures<K> {
    of: K,
    /// How many milliseconds ago they were, the oldest first.
    ages: Vec<u64>,
}

impl LoginGuard {
    /// The bans and failures.
    pub fn export(&self) -> Vec<CarriedGuard> {
        let now = Instant::now();
        let State { sources, users, bans, names } = &*self.state();
        let bans = bans.iter().filter(|(_, ban)| ban.until > now).map(|(source, ban)| CarriedBan {
            source: source.address(),
            failures: ban.failures,
            remaining: ban.until.duration_since(now),
        });
        let mut all = parts(bans, CarriedGuard::Bans);
        all.extend(parts(exported(sources, now, |it| it.address()), CarriedGuard::Sources));
        let of_users = |failures| CarriedGuard::Users(Box::new(names.clone()), failures);
        all.extend(parts(exported(users, now, |user| *user), of_users));
        all
    }

    /// Goes on with a part of the process before; to be called before the first login, with the settings in force.
    pub fn import(&self, part: CarriedGuard) {
        let now = Instant::now();
        let mut state = self.state();
        match part {
            CarriedGuard::Bans(bans) => {
                for CarriedBan { source, failures, remaining } in bans {
                    if state.bans.len() < BANS_MAX
                        && let Some(until) = now.checked_add(remaining)
                    {
                        state.bans.insert(Source::of(source), BanEntry { failures, until });
                    }
                }
            }
            CarriedGuard::Sources(all) => import(&mut state.sources, all, now, Source::of),
            CarriedGuard::Users(key, all) => {
                state.names = *key;
                import(&mut state.users, all, now, |user| user);
            }
        }
    }
}

fn parts<T>(
    all: impl Iterator<Item = T>,
    part: impl Fn(Vec<T>) -> CarriedGuard,
) -> Vec<CarriedGuard> {
    let mut all = all.peekable();
    let mut parts = Vec::new();
    while all.peek().is_some() {
        parts.push(part(all.by_ref().take(PART_MAX).collect()));
    }
    parts
}

fn exported<K: Copy + Eq + std::hash::Hash, C>(
    failures: &Failures<K>,
    now: Instant,
    carried: impl Fn(&K) -> C,
) -> impl Iterator<Item = CarriedFailures<C>> {
    failures.all().map(move |(key, times)| {
        let age = |time: &Instant| now.duration_since(*time).as_millis() as u64;
        CarriedFailures { of: carried(key), ages: times.iter().map(age).collect() }
    })
}

fn import<K: Copy + Eq + std::hash::Hash, C>(
    failures: &mut Failures<K>,
    all: Vec<CarriedFailures<C>>,
    now: Instant,
    key: impl Fn(C) -> K,
) {
    for CarriedFailures { of, ages } in all {
        let times = ages.into_iter().filter_map(|age| now.checked_sub(Duration::from_millis(age)));
        failures.set(key(of), times.collect());
    }
}

#[cfg(test)]
pub(super) fn failures_of(of: u64) -> CarriedFailures<u64> {
    CarriedFailures { of, ages: vec![0] }
}
