//! The guard against guessing: failed logins delay the next ones, by source and by user, and ban a source for
//! a time.

mod carried;
mod failures;
mod metrics;
mod names;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use prometheus::Registry;
use tokio::time::Instant;

use super::Source;
pub use carried::CarriedGuard;
use failures::Failures;
use metrics::Counters;
use names::NameKey;
pub use settings::GuardSettings;

/// Sources whose failures are counted; beyond, the oldest are forgotten.
const SOURCES_MAX: usize = 20_000;
/// Users whose failures are counted; beyond, the oldest are forgotten.
const USERS_MAX: usize = 20_000;
/// Bans at a time; beyond, those that end soonest are lifted.
const BANS_MAX: usize = 50_000;

/// Failures without a delay.
const FREE_FAILURES_OF_SOURCE: u32 = 2;
const FREE_FAILURES_OF_USER: u32 = 5;
/// The first delay; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay: who knows the password can always log in.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// Failures of a user that are counted: those of the longest delay.
const USER_FAILURES_MAX: u32 = 16;

/// Counts failed logins. Its state is bounded, and lost with the process, unless another takes over.
pub struct LoginGuard {
    settings: RwLock<Arc<GuardSettings>>,
    state: Mutex<State>,
    counters: Counters,
}

struct State {
    sources: Failures<Source>,
    users: Failures<u64>,
    bans: HashMap<Source, BanEntry>,
    names: NameKey,
}

struct BanEntry {
    failures: u32,
    until: Instant,
}

/// A source that is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// Who is banned.
    pub source: Source,
    /// The failed logins that led to it.
    pub failures: u32,
    /// Until it ends.
    pub remaining: Duration,
}

impl LoginGuard {
    /// Starts without failures and bans. Registers its metrics, once per registry.
    pub fn new(
        settings: GuardSettings,
        registry: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let state = State {
            sources: Failures::new(settings.find_time, settings.max_failures, SOURCES_MAX),
            users: Failures::new(settings.find_time, USER_FAILURES_MAX, USERS_MAX),
            bans: HashMap::new(),
            names: NameKey::random(),
        };
        let state = Mutex::new(state);
        let counters = Counters::register(registry)?;
        let settings = RwLock::new(Arc::new(settings));
        let guard = Arc::new(Self { settings, state, counters });
        metrics::register_gauges(&guard, registry)?;
        Ok(guard)
    }

    /// Other settings, for the failures and bans that it has. Bans keep their end.
    pub fn put_in_force(&self, settings: GuardSettings) {
        let mut state = self.state();
        state.sources.count_within(settings.find_time, settings.max_failures);
        state.users.count_within(settings.find_time, USER_FAILURES_MAX);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Whether connections and logins of this address are refused.
    pub fn is_banned(&self, address: IpAddr) -> bool {
        self.state().is_banned(Source::of(address))
    }

    /// How long a login waits before its password is checked. Zero for nearly all.
    pub fn delay(&self, address: IpAddr, user: &[u8]) -> Duration {
        let settings = self.settings();
        let mut state = self.state();
        let user = state.names.hash(user);
        let of_user = delay(state.users.count(&user), FREE_FAILURES_OF_USER);
        let of_source = if settings.is_exempt(address) {
            Duration::ZERO
        } else {
            delay(state.sources.count(&Source::of(address)), FREE_FAILURES_OF_SOURCE)
        };
        drop(state);
        self.counters.delayed(of_source, of_user);
        of_source.max(of_user).min(settings.delay_max)
    }

    /// Counts a refused login, `user`: of this name. Bans the source, and logs that, if it had as many as
    /// `login_guard.max_failures` allows.
    pub fn login_refused(&self, address: IpAddr, user: Option<&[u8]>) {
        let (source, settings) = (Source::of(address), self.settings());
        let mut state = self.state();
        if let Some(name) = user {
            let user = state.names.hash(name);
            state.users.add(user);
        }
        if settings.is_exempt(address) || state.is_banned(source) {
            return;
        }
        let failures = state.sources.add(source);
        if failures < settings.max_failures || settings.ban_time.is_zero() {
            return;
        }
        state.sources.forget(&source);
        let until = Instant::now() + settings.ban_time;
        state.ban(source, BanEntry { failures, until });
        drop(state);
        self.counters.banned();
        tracing::warn!(
            target: "lockgate::record",
            event = "ban",
            source = %source,
            failures,
            ban_time = %humantime::format_duration(settings.ban_time),
            "banned after failed logins (login_guard); `lockgate bans --lift` lifts it"
        );
    }

    /// The bans, those that end last first.
    pub fn bans(&self) -> Vec<Ban> {
        let now = Instant::now();
        let mut state = self.state();
        state.bans.retain(|_, ban| ban.until > now);
        let ban = |(source, ban): (&Source, &BanEntry)| Ban {
            source: *source,
            failures: ban.failures,
            remaining: ban.until.duration_since(now),
        };
        let mut bans: Vec<_> = state.bans.iter().map(ban).collect();
        drop(state);
        bans.sort_by_key(|ban| (std::cmp::Reverse(ban.remaining), ban.source));
        bans
    }

    /// Lifts the ban of this address, and forgets its failures. Returns whether it was banned.
    pub fn lift(&self, address: IpAddr) -> bool {
        let source = Source::of(address);
        let mut state = self.state();
        let was_banned = state.is_banned(source);
        state.bans.remove(&source);
        state.sources.forget(&source);
        drop(state);
        if was_banned {
            tracing::info!(
                target: "lockgate::record",
                event = "ban-lifted",
                source = %source,
                "the ban was lifted (`lockgate bans --lift`)"
            );
        }
        was_banned
    }

    /// Sources with failures; some may no longer count.
    fn sources(&self) -> usize {
        self.state().sources.len()
    }

    fn settings(&self) -> Arc<GuardSettings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_banned(&self, source: Source) -> bool {
        self.bans.get(&source).is_some_and(|ban| ban.until > Instant::now())
    }

    fn ban(&mut self, source: Source, ban: BanEntry) {
        if self.bans.len() >= BANS_MAX {
            let mut ends: Vec<_> = self.bans.values().map(|ban| ban.until).collect();
            let (_, lifted, _) = ends.select_nth_unstable(BANS_MAX / 16);
            let lifted = (*lifted).max(Instant::now());
            self.bans.retain(|_, ban| ban.until > lifted);
        }
        self.bans.insert(source, ban);
    }
}

fn delay(failures: u32, free: u32) -> Duration {
    match failures.checked_sub(free + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY.saturating_mul(1 << doublings.min(10)).min(DELAY_MAX),
    }
}
