//! All open sessions. As many as `limits.sessions` allows: each has a permit of the admission.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::judge_slot::JudgeSlot;
use super::rate::INTERVAL;
use super::session::LiveSession;
use crate::session::login_basis::Judge;

/// The open sessions of all listeners, by their numbers.
#[derive(Default)]
pub struct LiveSessions {
    open: Mutex<BTreeMap<u64, Arc<LiveSession>>>,
    judge: JudgeSlot,
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
        self.open().insert(session.number(), session.clone());
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
        self.open().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    /// Samples what each session has moved, for the rates. Runs forever.
    pub async fn keep_rates(self: Arc<Self>) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            self.all().iter().for_each(|session| session.sample(now));
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<LiveSession>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.open().remove(&self.session);
    }
}
