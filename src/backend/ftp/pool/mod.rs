//! The control connections of one session: each carries one transfer or operation at a time.

mod guard;

use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Shared;
use super::connection::Connection;
use super::data_ports::DataPorts;
use super::features::Features;
use super::login;
use super::reply::unavailable;
use super::servers::Server;
use super::session_state::SessionState;
use super::settings::{Dialect, Settings};
use crate::auth::Credentials;
use crate::backend::path_leases::{Account, PathLeases};
use crate::backend::unsupported::AttributePolicy;
use crate::backend::{Home, Origin};
use crate::net::Peer;
use crate::op::{Failure, FailureKind, RemotePath};
use crate::task;

pub(super) use guard::ConnectionGuard;

/// An additional connection that is idle for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a waiting operation repeats its request for a connection.
const REMINDER_INTERVAL: Duration = Duration::from_secs(1);
/// How long an optional operation waits for a free connection.
const OPTIONAL_WAIT_TIMEOUT: Duration = Duration::from_millis(100);
/// The same, for an additional login.
const OPTIONAL_LOGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// For an additional login that is required, including the wait for its turn to connect.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// After a refused additional login, optional operations try none for so long.
const LOGIN_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// For QUIT on a connection that is in use when the session ends.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// All control connections of one session. A client that does one thing at a time has one, and its
/// loss ends the session. A client with several open files gets more, up to the setting
/// `connections`, and lost ones are replaced by new logins.
pub(super) struct Pool {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    data_ports: Option<DataPorts>,
    credentials: Credentials,
    /// Shared with other sessions of the account, which must not touch what this one uploads.
    account: Account,
    origin: Origin,
    features: Features,
    /// The server of the first connection.
    server: Arc<Server>,
    home: Arc<Home>,
    /// The server and the protection of the first connection, for records.
    peer: Option<Peer>,
    /// One permit per connection that may be in use.
    permits: Arc<Semaphore>,
    session: Arc<SessionState>,
    /// Notified when an operation waits for a connection.
    connection_requested: Notify,
    /// Held while two connections are acquired: operations that hold one each would deadlock.
    pair_lock: Mutex<()>,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    connections: Vec<Arc<Mutex<Connection>>>,
    /// The session's only connection was lost, which ends the session.
    lost: bool,
    closed: bool,
    /// When an additional login was last refused.
    login_refused: Option<Instant>,
    closing_idle: bool,
}

impl Pool {
    /// Logs the first connection in.
    pub(super) async fn login(
        settings: Arc<Settings>,
        shared: Arc<Shared>,
        data_ports: Option<DataPorts>,
        (leases, credentials): (&Arc<PathLeases>, Credentials),
        origin: Origin,
    ) -> Result<Arc<Self>, Failure> {
        let (mut connection, login_folder) =
            login::login(&settings, &shared, &credentials, origin).await?;
        let configured = settings.login_folder.as_ref();
        let home = match settings.dialect {
            Dialect::Unix => Home::decide(configured, login_folder, origin.rooted, "PWD"),
            // No path of the session is made from it.
            Dialect::Opaque => Home::At(RemotePath::root()),
        };
        let home = Arc::new(home);
        connection.home = home.clone();
        connection.data_ports.clone_from(&data_ports);
        let (features, server) = (connection.features, connection.server.clone());
        let session = connection.session.clone();
        let control = &connection.control;
        let address = control.peer().ok();
        let peer =
            address.map(|address| Peer { address, protection: control.stream().protection() });
        let connections = vec![Arc::new(Mutex::new(connection))];
        let pool = Self {
            settings,
            shared,
            data_ports,
            account: Account::new(leases, &credentials.user).with_home(&home),
            credentials,
            origin,
            features,
            server,
            home,
            peer,
            permits: Arc::new(Semaphore::new(1)),
            session,
            connection_requested: Notify::new(),
            pair_lock: Mutex::default(),
            state: Lock::new(State { connections, ..State::default() }),
        };
        Ok(Arc::new(pool))
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn peer(&self) -> Option<Peer> {
        self.peer.clone()
    }

    /// The policy for attributes that the server cannot set.
    pub(super) fn attributes(&self) -> &AttributePolicy {
        &self.shared.attributes
    }

    /// Whether the times of files can be set; `None` if unknown.
    pub(super) fn sets_times(&self) -> Option<bool> {
        self.server.time_commands.can_set(self.features)
    }

    /// Allows several operations at once, each over a connection of its own.
    pub(super) fn allow_concurrency(&self) {
        if self.session.allow_concurrency() {
            self.permits.add_permits(self.settings.connections.saturating_sub(1));
        }
    }

    pub(super) fn is_concurrent(&self) -> bool {
        self.session.is_concurrent()
    }

    /// Acquires a connection in sync: a free one, a new one, or one that is released within `wait`.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        wait: Duration,
    ) -> Result<ConnectionGuard, Failure> {
        let busy = || {
            let max = self.settings.connections;
            Failure::gateway(
                FailureKind::Busy,
                format!(
                    "all {max} connections to the backend server (`connections`) are used by open files; close one of them first"
                ),
            )
        };
        let permit = timeout(wait, self.permit()).await;
        let permit = permit.map_err(|_| busy())?.map_err(unavailable)?;
        let connection = match self.take_free()? {
            Some(connection) => connection,
            None => Box::pin(self.log_in_another()).await?,
        };
        Ok(ConnectionGuard { connection, pool: self.clone(), _permit: permit })
    }

    /// Acquires two connections, one after the other, as [`Pool::acquire`] does.
    pub(super) async fn acquire_two(
        self: &Arc<Self>,
        wait: Duration,
    ) -> Result<(ConnectionGuard, Result<ConnectionGuard, Failure>), Failure> {
        let _pair = self.pair_lock.lock().await;
        let first = self.acquire(wait).await?;
        let second = self.acquire(wait).await;
        Ok((first, second))
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        let permit = self.permits.clone().acquire_owned();
        tokio::pin!(permit);
        // A permit that is available needs no request.
        if let Some(permit) = crate::task::poll_once(permit.as_mut()) {
            return permit;
        }
        loop {
            self.connection_requested.notify_one();
            if let Ok(permit) = timeout(REMINDER_INTERVAL, &mut permit).await {
                return permit;
            }
        }
    }

    /// Returns when an operation waits for a connection.
    pub(super) async fn connection_requested(&self) {
        self.connection_requested.notified().await;
    }

    /// Acquires a connection if one is free.
    pub(super) fn acquire_idle(self: &Arc<Self>) -> Option<ConnectionGuard> {
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        let connection = self.take_free().ok()??;
        Some(ConnectionGuard { connection, pool: self.clone(), _permit: permit })
    }

    /// Acquires a connection for an optional operation.
    pub(super) async fn try_acquire(self: &Arc<Self>) -> Option<ConnectionGuard> {
        if let Some(guard) = self.acquire_idle() {
            return Some(guard);
        }
        if self.lock().login_refused.is_some_and(|since| since.elapsed() < LOGIN_RETRY_INTERVAL) {
            return None;
        }
        match timeout(OPTIONAL_LOGIN_TIMEOUT, self.acquire(OPTIONAL_WAIT_TIMEOUT)).await {
            Ok(guard) => guard.ok(),
            Err(_) => {
                self.lock().login_refused = Some(Instant::now());
                None
            }
        }
    }

    /// Takes a free connection.
    fn take_free(&self) -> Result<Option<OwnedMutexGuard<Connection>>, Failure> {
        let mut state = self.lock();
        if state.closed {
            return Err(unavailable("the session was closed"));
        }
        if state.lost && !self.is_concurrent() {
            return Err(unavailable("it was lost before"));
        }
        while let Some(at) = state.connections.iter().position(|c| c.try_lock().is_ok()) {
            let Ok(mut connection) = state.connections[at].clone().try_lock_owned() else {
                return Ok(None);
            };
            // A connection that the server has closed is noticed before it is used.
            if !self.is_concurrent() || connection.is_in_sync() {
                return Ok(Some(connection));
            }
            state.connections.swap_remove(at);
        }
        Ok(None)
    }

    async fn log_in_another(self: &Arc<Self>) -> Result<OwnedMutexGuard<Connection>, Failure> {
        let Self { settings, shared, credentials, .. } = &**self;
        let login = login::login(settings, shared, credentials, self.origin);
        let login = timeout(LOGIN_TIMEOUT, login).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(LOGIN_TIMEOUT);
            Err(unavailable(format!("an additional login timed out after {limit}")))
        });
        let (mut connection, _) = match login {
            Ok(login) => login,
            Err(failure) if self.lock().connections.is_empty() => return Err(failure),
            // The session continues with the connections that it has.
            Err(failure) => {
                self.lock().login_refused = Some(Instant::now());
                return Err(Failure::backend(
                    FailureKind::Busy,
                    "the backend server refuses an additional connection; close an open file first",
                )
                .with_detail(failure.detail.unwrap_or(failure.message)));
            }
        };
        connection.home = self.home.clone();
        connection.session = self.session.clone();
        connection.data_ports = self.data_ports.clone();
        let connection = Arc::new(Mutex::new(connection));
        // No other operation can hold it yet.
        let held = connection.clone().lock_owned().await;
        let mut state = self.lock();
        if state.closed {
            return Err(unavailable("the session was closed"));
        }
        state.connections.push(connection);
        if state.connections.len() > 1 && !std::mem::replace(&mut state.closing_idle, true) {
            task::spawn(close_idle_periodically(Arc::downgrade(self)));
        }
        Ok(held)
    }

    pub(super) async fn close(&self) {
        let connections = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.connections)
        };
        for connection in connections {
            // A connection in use sends QUIT when it is released.
            if let Ok(mut connection) = timeout(QUIT_TIMEOUT, connection.lock()).await {
                connection.quit().await;
            }
        }
    }

    /// Closes connections that are idle for too long; returns whether additional ones remain.
    fn close_idle(&self) -> bool {
        let mut state = self.lock();
        let mut count = 0;
        state.connections.retain(|connection| {
            count += 1;
            match connection.clone().try_lock_owned() {
                Ok(mut spare) if count > 1 && spare.last_used.elapsed() >= IDLE_TIMEOUT => {
                    task::spawn(async move { spare.quit().await });
                    false
                }
                _ => true,
            }
        });
        state.closing_idle = state.connections.len() > 1;
        state.closing_idle
    }

    /// Removes a connection that cannot be used again.
    fn remove(&self, lost: &OwnedMutexGuard<Connection>) {
        let own = OwnedMutexGuard::mutex(lost);
        let mut state = self.lock();
        state.connections.retain(|connection| !Arc::ptr_eq(connection, own));
        // Another connection of an opaque server would not be in the same state.
        state.lost |= !lost.is_replaceable() || self.settings.dialect == Dialect::Opaque;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close_idle_periodically(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 4).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_idle()) {
            return;
        }
    }
}
