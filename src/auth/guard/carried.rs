//! Bans and failures of sources, for the process that takes over. Those of users stay behind: their names are
//! kept as hashes whose key no other process has.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{BANS_MAX, BanEntry, LoginGuard, SOURCES_MAX, State};
use crate::auth::Source;

/// What another process goes on with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CarriedGuard {
    bans: Vec<CarriedBan>,
    failures: Vec<CarriedFailures>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CarriedBan {
    source: IpAddr,
    failures: u32,
    remaining: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
struct CarriedFailures {
    source: IpAddr,
    /// How long ago they were, the oldest first.
    ages: Vec<Duration>,
}

impl LoginGuard {
    /// The bans and the failures of sources.
    pub fn export(&self) -> CarriedGuard {
        let now = Instant::now();
        let State { sources, bans, .. } = &*self.state();
        let bans = bans.iter().filter(|(_, ban)| ban.until > now).map(|(source, ban)| CarriedBan {
            source: source.address(),
            failures: ban.failures,
            remaining: ban.until.duration_since(now),
        });
        let failures = sources.all().map(|(source, times)| CarriedFailures {
            source: source.address(),
            ages: times.iter().map(|time| now.duration_since(*time)).collect(),
        });
        CarriedGuard { bans: bans.collect(), failures: failures.collect() }
    }

    /// Goes on with those of the process before.
    pub fn import(&self, carried: CarriedGuard) {
        let now = Instant::now();
        let mut state = self.state();
        for CarriedBan { source, failures, remaining } in carried.bans.into_iter().take(BANS_MAX) {
            if let Some(until) = now.checked_add(remaining) {
                state.bans.insert(Source::of(source), BanEntry { failures, until });
            }
        }
        for CarriedFailures { source, ages } in carried.failures.into_iter().take(SOURCES_MAX) {
            let times = ages.into_iter().filter_map(|age| now.checked_sub(age));
            state.sources.set(Source::of(source), times.collect());
        }
    }
}
