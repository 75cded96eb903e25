//! Which control sessions may be one client's with one store of TLS sessions for all of them. A data
//! connection of such a client may resume any of them, so that it does not tell whose it is.
//!
//! A client that logs in while it has a session in its store offers that. Only handshakes that overlap
//! leave it open: neither side of any of them has anything to offer yet. They form a cohort, whose
//! members count as one client's until each, after the last of them was settled, has resumed itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;

use super::ticket::SessionId;

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
    /// A handshake of somebody in `network` begins, whose client said after `told` what it has to offer.
    pub(super) fn join(&self, network: IpNet, id: SessionId, told: Instant) -> Member {
        let now = Instant::now().max(told);
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() >= KEPT && !newest.contains_key(&network) {
            newest.retain(|_, cohort| cohort.lock().is_open(told));
        }
        let cohort = match newest.get(&network) {
            Some(open) if open.lock().is_open(told) => open.clone(),
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

    /// What a connection proves that resumed the session itself, and whose client was told after `told`
    /// to make it; nothing, where somebody was not settled by then.
    pub(super) fn proof(&self, told: Instant) -> Option<u64> {
        let state = self.cohort.lock();
        let quiet = state.unsettled == 0 && state.changed < told;
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
    /// Whether a client that was told then to speak may have spoken before a member was settled.
    fn is_open(&self, told: Instant) -> bool {
        self.unsettled > 0 || told <= self.changed
    }

    fn change(&mut self, now: Instant) -> &mut Self {
        self.generation += 1;
        self.changed = now;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_overlaps_is_of_one_cohort_and_proves_it_only_when_all_are_settled() {
        // In a time to come: what is told is later than what was.
        let (cohorts, begin) = (Cohorts::default(), Instant::now() + Duration::from_secs(1000));
        let at = |millis| begin + Duration::from_millis(millis);
        let here: IpNet = "192.0.2.1/32".parse().unwrap();
        let a = cohorts.join(here, [1; 16], at(0));
        let elsewhere = cohorts.join("192.0.2.2/32".parse().unwrap(), [9; 16], at(1));
        assert_eq!((a.cohort(), elsewhere.cohort()), ([1; 16], [9; 16]));
        let b = cohorts.join(here, [2; 16], at(50));
        assert_eq!(b.cohort(), [1; 16]);
        a.settle(at(60));
        assert_eq!(a.proof(at(90)), None);
        b.settle(at(90));
        assert_eq!(a.proof(at(90)), None);
        let proven = a.proof(at(91));
        assert!(proven.is_some());
        assert_eq!(b.proof(at(95)), proven);

        // It was told to speak before the second was settled; and after.
        let c = cohorts.join(here, [3; 16], at(89));
        assert_eq!(c.cohort(), [1; 16]);
        c.settle(at(99));
        assert_ne!(a.proof(at(200)), proven);
        assert_eq!(cohorts.join(here, [4; 16], at(100)).cohort(), [4; 16]);
    }

    #[test]
    fn who_leaves_unsettled_holds_nobody_up_and_nothing_is_kept_for_ever() {
        let cohorts = Cohorts::default();
        let here: IpNet = "192.0.2.1/32".parse().unwrap();
        let a = cohorts.join(here, [1; 16], Instant::now());
        drop(cohorts.join(here, [2; 16], Instant::now()));
        a.settle(Instant::now());
        assert!(a.proof(Instant::now() + Duration::from_millis(1)).is_some());
        for number in 0..=u16::try_from(KEPT).unwrap() {
            let [high, low] = number.to_be_bytes();
            let network = IpNet::new([10, 0, high, low].into(), 32).unwrap();
            cohorts.join(network, [3; 16], Instant::now()).settle(Instant::now());
        }
        assert!(cohorts.0.lock().unwrap().len() <= KEPT);
    }
}
