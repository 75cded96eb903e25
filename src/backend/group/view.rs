//! The servers as operators see them.

use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::Group;
use super::server::Server;

/// All servers of the configuration, in its order.
#[derive(Clone, Default)]
pub struct Servers {
    servers: Vec<Arc<Server>>,
}

/// The state of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its name in the configuration.
    pub name: String,
    /// Servers that are up and not drained.
    pub up: usize,
    /// Servers that are down and not drained.
    pub down: usize,
    /// Servers that an operator has drained.
    pub drained: usize,
}

/// The state of a server.
#[derive(Debug, Clone)]
pub struct ServerView {
    /// Its name in the configuration.
    pub name: String,
    /// Its addresses, as configured.
    pub addresses: Vec<String>,
    /// Whether it is up: as checked, or, without `health`, whether the last login or a check since then worked.
    pub up: bool,
    /// Since when.
    pub since: SystemTime,
    /// Whether it is also checked while it is up.
    pub checked: bool,
    /// Whether an operator has drained it.
    pub drained: bool,
    /// Sessions at present.
    pub sessions: usize,
    /// The most that it may have.
    pub sessions_max: Option<usize>,
    /// The last failure, with its time.
    pub last_error: Option<(SystemTime, String)>,
}

impl Servers {
    /// In the order in which they are shown.
    pub fn new(servers: Vec<Arc<Server>>) -> Self {
        Self { servers }
    }

    /// The server of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.name() == name)
    }

    /// The metrics of those that have moved to other addresses since `previous` start again.
    pub fn note_moved_since(&self, previous: &Self) {
        for server in &self.servers {
            if let Some(previous) = previous.get(server.name()) {
                server.note_moved_since(previous);
            }
        }
    }

    /// Checks each until `stop`; one without `health` while it is down.
    pub fn check_until(&self, stop: &CancellationToken) {
        self.servers.iter().for_each(|server| server.clone().check_until(stop.clone()));
    }

    /// The state of each.
    pub fn view(&self) -> Vec<ServerView> {
        self.servers.iter().map(|server| server.view()).collect()
    }

    /// Drains a server, or ends that. `None`: there is none of this name.
    pub fn set_drained(&self, name: &str, drained: bool) -> Option<ServerView> {
        let server = self.get(name)?;
        server.set_drained(drained);
        Some(server.view())
    }
}

impl Group {
    /// Whether the other one has all of its servers, and more.
    pub fn is_part_of(&self, other: &Self) -> bool {
        let is_there = |server| other.servers.iter().any(|it| Arc::ptr_eq(it, server));
        self.servers.len() < other.servers.len() && self.servers.iter().all(is_there)
    }

    /// How many of its servers can be used.
    pub fn view(&self) -> GroupView {
        let mut view = GroupView { name: self.name.clone(), up: 0, down: 0, drained: 0 };
        for server in &self.servers {
            match (server.is_drained(), server.state().is_up()) {
                (true, _) => view.drained += 1,
                (false, true) => view.up += 1,
                (false, false) => view.down += 1,
            }
        }
        view
    }
}

impl Server {
    fn view(&self) -> ServerView {
        let state = self.state();
        ServerView {
            name: self.name().to_owned(),
            addresses: self.backend().addresses().to_vec(),
            up: state.is_up(),
            since: state.since(),
            checked: self.checks().is_some(),
            drained: self.is_drained(),
            sessions: self.sessions(),
            sessions_max: self.sessions_max(),
            last_error: state.last_error().cloned(),
        }
    }
}
