//! All open sessions. As many as `limits.sessions` allows: each has a permit of the admission.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::failures::{RecentFailure, RecentFailures};
use super::judge_slot::JudgeSlot;
use super::rate::INTERVAL;
use super::running::Moved;
use super::session::LiveSession;
use super::throughput::{Samples, Throughput};
use crate::session::login_basis::Judge;

/// The open sessions of all listeners, by their numbers.
#[derive(Default)]
pub struct LiveSessions {
    open: Mutex<Open>,
    judge: JudgeSlot,
    failures: Arc<RecentFailures>,
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Open {
    sessions: BTreeMap<u64, Arc<LiveSession>>,
    /// By sessions that have ended.
    moved: Moved,
}

/// While it exists, its session is among the open ones.
pub struct Registered {
    sessions: Arc<LiveSessions>,
    session: u64,
}

impl LiveSessions {
    /// Starts without sessions.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds the session of a client's connection.
    pub fn register(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        connection: &TcpStream,
    ) -> Registered {
        if let Ok(from) = connection.peer_addr() {
            session.note_source(SocketAddr::new(from.ip().to_canonical(), from.port()));
        }
        session.set_failures(self.failures.clone());
        self.open().sessions.insert(session.number(), session.clone());
        // After it is among the open ones: none is missed.
        session.set_judge(self.judge.clone());
        Registered { sessions: self.clone(), session: session.number() }
    }

    /// Judges all sessions by another configuration, and their later logins; `None`: no session from now on.
    pub(in crate::session) fn judge_by(&self, judge: Option<Arc<dyn Judge>>) {
        self.judge.set(judge);
        self.judge();
    }

    /// Judges nobody from now on.
    pub fn keep_all(&self) {
        self.judge_by(None);
    }

    /// Judges all sessions once more, if a configuration judges them: users have changed.
    pub fn judge(&self) {
        self.all().iter().for_each(|session| session.judge());
    }

    /// Each of them, by number.
    pub fn all(&self) -> Vec<Arc<LiveSession>> {
        self.open().sessions.values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open().sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open().sessions.is_empty()
    }

    /// Keeps the last failures from now on: there is somebody to show them to.
    pub fn keep_failures(&self) {
        self.failures.keep();
    }

    /// What failed or was denied, the newest first: at most two hundred logins, and two hundred of the rest.
    pub fn recent_failures(&self) -> Vec<RecentFailure> {
        self.failures.all()
    }

    /// What all of them have moved in each of the last seconds.
    pub fn throughput(&self) -> Throughput {
        self.samples().view()
    }

    /// By all sessions since the start.
    fn moved(&self) -> Moved {
        let open = self.open();
        open.sessions.values().fold(open.moved, |sum, session| sum.and(session.moved()))
    }

    /// Samples what each session and all of them have moved, for the rates. Runs forever.
    pub async fn keep_rates(self: Arc<Self>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            self.all().iter().for_each(|session| session.sample(now));
            let moved = self.moved();
            self.samples().sample(now, moved);
        }
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.sessions.open();
        if let Some(session) = open.sessions.remove(&self.session) {
            open.moved = open.moved.and(session.moved());
        }
    }
}
