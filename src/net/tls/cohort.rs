//! Which control sessions may be one client's with one store of TLS sessions for all of them. A data
//! connection of such a client may resume any of them, so that it does not tell whose it is.
//!
//! A client that logs in while it has a session in its store offers that. Only handshakes that overlap
//! leave it open: neither side of any of them has anything to offer yet. They form a cohort, whose
//! members count as one client's until each, after the last of them was settled, has resumed itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::ticket::SessionId;

/// What one connection may be late against another of the same client.
const SKEW: Duration = Duration::from_millis(500);
/// Cohorts that are kept before those that nobody joins any more are looked for.
const KEPT: usize = 1024;

/// The newest cohort of each network, of one listener.
#[derive(Default)]
pub(super) struct Cohorts(Mutex<HashMap<IpNet, Arc<Cohort>>>);

struct Cohort {
    id: SessionId,
    state: Mutex<State>,
}

struct State {
    /// Counts who came and who was settled: what was seen before is not known any more.
    generation: u64,
    unsettled: usize,
    changed: Instant,
}

/// A control session in its cohort.
pub(super) struct Member {
    cohort: Arc<Cohort>,
    settled: AtomicBool,
}

/// Of which control sessions one can be told, by the session that its data connections resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub cohort: SessionId,
    /// It has resumed itself when the cohort was last seen like this.
    pub proven: Option<u64>,
    /// It has been seen to share its store: no other can be told from it.
    pub shares_store: bool,
}

impl Cohorts {
    /// A handshake of somebody in `network` begins.
    pub(super) fn join(&self, network: IpNet, id: SessionId, now: Instant) -> Member {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() >= KEPT && !newest.contains_key(&network) {
            newest.retain(|_, cohort| cohort.lock().is_open(now));
        }
        let cohort = match newest.get(&network) {
            Some(open) if open.lock().is_open(now) => open.clone(),
            _ => {
                let state = State { generation: 0, unsettled: 0, changed: now };
                let cohort = Arc::new(Cohort { id, state: Mutex::new(state) });
                newest.insert(network, cohort.clone());
                cohort
            }
        };
        cohort.lock().change(now).unsettled += 1;
        Member { cohort, settled: false.into() }
    }
}

impl Member {
    pub(super) fn cohort(&self) -> SessionId {
        self.cohort.id
    }

    /// The client has the session in its store, if it keeps one.
    pub(super) fn settle(&self, now: Instant) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            self.cohort.lock().change(now).unsettled -= 1;
        }
    }

    /// What a connection that came at `came` and resumed the session itself proves; nothing, where
    /// somebody was not settled by then.
    pub(super) fn proof(&self, came: Instant) -> Option<u64> {
        let state = self.cohort.lock();
        let quiet = state.unsettled == 0 && state.changed + SKEW <= came;
        quiet.then_some(state.generation)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.settle(Instant::now());
    }
}

impl Cohort {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a handshake that begins now overlaps with one of its members'.
    fn is_open(&self, now: Instant) -> bool {
        self.unsettled > 0 || now < self.changed + SKEW
    }

    fn change(&mut self, now: Instant) -> &mut Self {
        self.generation += 1;
        self.changed = now;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_overlaps_is_of_one_cohort_and_proves_it_only_when_all_are_settled() {
        let (cohorts, begin) = (Cohorts::default(), Instant::now());
        let at = |millis| begin + Duration::from_millis(millis);
        let here: IpNet = "192.0.2.1/32".parse().unwrap();
        let a = cohorts.join(here, [1; 16], at(0));
        let elsewhere = cohorts.join("192.0.2.2/32".parse().unwrap(), [9; 16], at(1));
        assert_eq!((a.cohort(), elsewhere.cohort()), ([1; 16], [9; 16]));
        let b = cohorts.join(here, [2; 16], at(5_000));
        assert_eq!(b.cohort(), [1; 16]);
        a.settle(at(5_010));
        assert_eq!(a.proof(at(9_000)), None);
        b.settle(at(9_000));
        assert_eq!(a.proof(at(9_400)), None);
        let proven = a.proof(at(9_600));
        assert!(proven.is_some());
        assert_eq!(b.proof(at(9_600)), proven);

        // Late, but perhaps sent before; then surely after.
        let c = cohorts.join(here, [3; 16], at(9_499));
        assert_eq!(c.cohort(), [1; 16]);
        c.settle(at(9_510));
        assert_ne!(a.proof(at(20_000)), proven);
        assert_eq!(cohorts.join(here, [4; 16], at(10_020)).cohort(), [4; 16]);
    }

    #[test]
    fn who_leaves_unsettled_holds_nobody_up_and_nothing_is_kept_for_ever() {
        let cohorts = Cohorts::default();
        let here: IpNet = "192.0.2.1/32".parse().unwrap();
        let a = cohorts.join(here, [1; 16], Instant::now());
        drop(cohorts.join(here, [2; 16], Instant::now()));
        a.settle(Instant::now());
        assert!(a.proof(Instant::now() + SKEW).is_some());
        for number in 0..=u16::try_from(KEPT).unwrap() {
            let [high, low] = number.to_be_bytes();
            let network = IpNet::new([10, 0, high, low].into(), 32).unwrap();
            let then = Instant::now() + 4 * SKEW * u32::from(number);
            cohorts.join(network, [3; 16], then).settle(then + SKEW);
        }
        assert!(cohorts.0.lock().unwrap().len() <= KEPT);
    }
}
