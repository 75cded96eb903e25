//! One open session: what it does, and how it is ended from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

use super::account::LiveAccount;
use super::failures::{RecentFailure, RecentFailures};
use super::judge_slot::JudgeSlot;
use super::rate::Rate;
use super::running::{Moved, Running};
use super::view::{LISTED_MAX, SessionState, SessionSummary, SessionView};
use crate::net::{Drain, Protection};
use crate::op::{Direction, Fault};
use crate::session::end::SessionEnd;
use crate::session::login_basis::Judged;

/// The session of a client's connection, from the accept on.
pub struct LiveSession {
    connection: Connection,
    proxy: OnceLock<SocketAddr>,
    since: SystemTime,
    started: Instant,
    /// The session's part of the gateway's drain.
    drain: Drain,
    /// Of all sessions.
    judge: OnceLock<JudgeSlot>,
    failures: OnceLock<Arc<RecentFailures>>,
    at_once: OnceLock<SessionEnd>,
    after_transfers: OnceLock<SessionEnd>,
    state: Mutex<State>,
}

/// What is known of the connection.
pub(in crate::session) struct Connection {
    pub(in crate::session) session: u64,
    pub(in crate::session) listener: String,
    pub(in crate::session) protocol: &'static str,
    pub(in crate::session) peer: SocketAddr,
    pub(in crate::session) local: SocketAddr,
    pub(in crate::session) encryption: Arc<OnceLock<Protection>>,
    pub(in crate::session) server_name: Arc<OnceLock<String>>,
    pub(in crate::session) software: Arc<OnceLock<String>>,
}

struct State {
    login: Login,
    account: Option<LiveAccount>,
    judged: Option<Arc<Judged>>,
    /// The end of the last operation.
    last: Instant,
    next: u64,
    running: BTreeMap<u64, Box<Running>>,
    /// By what has ended.
    moved: Moved,
    upload_rate: Rate,
    download_rate: Rate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    None,
    Running,
    Done,
}

/// An operation or a transfer, which ends when this is dropped.
pub(in crate::session) struct RunningGuard {
    session: Arc<LiveSession>,
    number: u64,
}

impl LiveSession {
    /// `drain`: the gateway's, or the listener's, which also ends the session.
    pub(in crate::session) fn new(connection: Connection, drain: &Drain) -> Arc<Self> {
        Arc::new(Self {
            connection,
            proxy: OnceLock::new(),
            since: SystemTime::now(),
            started: Instant::now(),
            drain: drain.child(),
            judge: OnceLock::new(),
            failures: OnceLock::new(),
            at_once: OnceLock::new(),
            after_transfers: OnceLock::new(),
            state: Mutex::new(State {
                login: Login::None,
                account: None,
                judged: None,
                last: Instant::now(),
                next: 0,
                running: BTreeMap::new(),
                moved: Moved::default(),
                upload_rate: Rate::new(),
                download_rate: Rate::new(),
            }),
        })
    }

    /// Its listener's name.
    pub fn listener(&self) -> &str {
        &self.connection.listener
    }

    /// Its login is done: it is judged, if there is a judge.
    pub(in crate::session) fn set_judged(&self, judged: Judged) {
        self.state().judged = Some(Arc::new(judged));
        self.judge();
    }

    /// Ends the session after its transfers, if the judge says so.
    pub(super) fn judge(&self) {
        let Some(judge) = self.judge.get().and_then(JudgeSlot::get) else { return };
        let judged = self.state().judged.clone();
        let judged = judged.filter(|judged| judged.rules.strong_count() > 0);
        if let Err(reason) = judge.judge(&self.connection.listener, judged.as_deref()) {
            let reason = format!("the configuration has changed, and {reason}");
            self.end_after_transfers(SessionEnd::by(Fault::Policy, reason));
        }
    }

    pub(super) fn set_judge(&self, judge: JudgeSlot) {
        let _ = self.judge.set(judge);
        self.judge();
    }

    pub(super) fn set_failures(&self, failures: Arc<RecentFailures>) {
        let _ = self.failures.set(failures);
    }

    /// Operators see it among the last failures, if they can ask.
    pub(in crate::session) fn note_failure(&self, failure: impl FnOnce() -> RecentFailure) {
        if let Some(failures) = self.failures.get().filter(|failures| failures.are_kept()) {
            failures.add(failure());
        }
    }

    pub(super) fn moved(&self) -> Moved {
        self.state().moved()
    }

    /// Its number in the log and in the audit; unique while the gateway runs, also over take-overs.
    pub fn number(&self) -> u64 {
        self.connection.session
    }

    /// The client's address and port.
    pub fn client(&self) -> SocketAddr {
        self.connection.peer
    }

    /// Ends the session at once: its transfers are aborted, and none counts as complete. The first reason
    /// counts; clients and records get it.
    pub fn end_now(&self, end: SessionEnd) {
        let _ = self.at_once.set(end);
        self.drain.force();
    }

    /// Ends the session when its transfers have ended; at once where none is running. No further one
    /// starts.
    pub fn end_after_transfers(&self, end: SessionEnd) {
        let _ = self.after_transfers.set(end);
        self.drain.begin();
    }

    /// Cancelled when the session may start nothing new.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Returns when the session must end at once, with the reason.
    pub async fn forced(&self) -> SessionEnd {
        self.drain.forced().await;
        self.at_once.get().cloned().unwrap_or_else(SessionEnd::shutdown)
    }

    /// Whether an operation or a transfer is running.
    pub fn is_at_work(&self) -> bool {
        !self.state().running.is_empty()
    }

    /// Notes that a transfer or another operation was cut, where the gateway ends: by that, or by an operator
    /// meanwhile.
    pub fn note_cut(&self) {
        if self.at_once.get().is_none() || self.drain.is_announced() {
            self.drain.note_cut();
        }
    }

    /// Why the session ends, once it may start nothing new.
    pub fn end(&self) -> SessionEnd {
        let end = self.at_once.get().or_else(|| self.after_transfers.get());
        end.cloned().unwrap_or_else(SessionEnd::shutdown)
    }

    /// What it does at the moment.
    pub fn view(&self) -> SessionView {
        let now = Instant::now();
        let connection = &self.connection;
        let state = self.state();
        let running = || state.running.values();
        let transfers = || running().filter(|running| running.is_transfer());
        let operations = || running().filter(|running| !running.is_transfer());
        let moved = state.moved();
        let encryption = connection.encryption.get().cloned();
        SessionView {
            session: connection.session,
            listener: connection.listener.clone(),
            protocol: connection.protocol(),
            client: connection.peer,
            local: connection.local,
            proxy: self.proxy.get().copied(),
            encryption,
            software: connection.software.get().cloned(),
            server_name: connection.server_name.get().cloned(),
            since: self.since,
            duration: now - self.started,
            state: self.what(&state, transfers().next().is_some()),
            idle: state.running.is_empty().then(|| now - state.last),
            logged_in: state.login == Login::Done,
            account: state.account.clone(),
            operations: operations().take(LISTED_MAX).map(|it| it.view(now)).collect(),
            operations_running: operations().count(),
            transfers: transfers().take(LISTED_MAX).map(|it| it.view(now)).collect(),
            transfers_running: transfers().count(),
            uploaded: moved.up,
            downloaded: moved.down,
            upload_rate: state.upload_rate.per_second(now, moved.up),
            download_rate: state.download_rate.per_second(now, moved.down),
            ending: self.drain.is_draining().then(|| self.end().reason().to_owned()),
        }
    }

    /// What metrics need of it.
    pub(in crate::session) fn summary(&self) -> SessionSummary {
        let state = self.state();
        let running = |direction| {
            state.running.values().filter(|it| it.direction() == Some(direction)).count()
        };
        let (uploads, downloads) = (running(Direction::Upload), running(Direction::Download));
        let account = state.account.as_ref().filter(|_| state.login == Login::Done);
        SessionSummary {
            protocol: self.connection.protocol(),
            state: self.what(&state, uploads + downloads > 0),
            backend: account.map(|account| account.backend.clone()).unwrap_or_default(),
            user: account.map(|account| account.user.clone()),
            uploads,
            downloads,
        }
    }

    /// The user, if a login has succeeded or is being checked.
    pub fn account(&self) -> Option<LiveAccount> {
        let state = self.state();
        state.account.clone().filter(|_| state.login != Login::None)
    }

    /// Where the connection comes from.
    pub(super) fn note_source(&self, from: SocketAddr) {
        if from != self.connection.peer {
            let _ = self.proxy.set(from);
        }
    }

    pub(in crate::session) fn login_begins(&self, account: LiveAccount) {
        let mut state = self.state();
        (state.login, state.account) = (Login::Running, Some(account));
    }

    pub(in crate::session) fn login_succeeded(&self, account: LiveAccount) {
        let mut state = self.state();
        (state.login, state.account) = (Login::Done, Some(account));
        state.last = Instant::now();
    }

    pub(in crate::session) fn login_failed(&self) {
        self.state().login = Login::None;
    }

    /// Another login may follow on the connection.
    pub(in crate::session) fn logged_out(&self) {
        let mut state = self.state();
        (state.login, state.account) = (Login::None, None);
    }

    /// Shows an operation or a transfer until the guard is dropped.
    pub(in crate::session) fn begin(self: &Arc<Self>, running: Running) -> RunningGuard {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.running.insert(number, Box::new(running));
        RunningGuard { session: self.clone(), number }
    }

    pub(super) fn sample(&self, now: Instant) {
        let mut state = self.state();
        let moved = state.moved();
        state.upload_rate.sample(now, moved.up);
        state.download_rate.sample(now, moved.down);
        state.running.values_mut().for_each(|running| running.sample(now));
    }

    fn what(&self, state: &State, transfers: bool) -> SessionState {
        match state.login {
            _ if self.at_once.get().is_some() => SessionState::Ending,
            Login::None => SessionState::BeforeLogin,
            Login::Running => SessionState::LoggingIn,
            Login::Done if transfers => SessionState::Transferring,
            Login::Done if !state.running.is_empty() => SessionState::Busy,
            Login::Done => SessionState::Idle,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn protocol(&self) -> &'static str {
        match self.protocol {
            // After AUTH TLS.
            "ftp" if self.encryption.get().is_some() => "ftps",
            protocol => protocol,
        }
    }
}

impl State {
    fn moved(&self) -> Moved {
        self.running.values().fold(self.moved, |sum, running| sum.and(running.moved()))
    }
}

impl RunningGuard {
    /// The name that the backend chose.
    pub(in crate::session) fn set_path(&self, path: &[u8]) {
        if let Some(running) = self.session.state().running.get_mut(&self.number) {
            running.set_path(path);
        }
    }

    /// How many bytes it has in all; `None`: unknown.
    pub(in crate::session) fn set_size(&self, size: Option<u64>) {
        if let Some(running) = self.session.state().running.get_mut(&self.number) {
            running.set_size(size);
        }
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        let mut state = self.session.state();
        if let Some(mut ended) = state.running.remove(&self.number) {
            ended.count();
            state.moved = state.moved.and(ended.moved());
        }
        state.last = Instant::now();
    }
}

impl fmt::Debug for LiveSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSession").field("session", &self.number()).finish_non_exhaustive()
    }
}
