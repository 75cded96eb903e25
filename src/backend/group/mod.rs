//! A backend as routes name it: one server, or several that stand in for each other.

mod checks;
mod choice;
mod metrics;
mod resumable;
mod server;
mod session;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{Backend, BackendSession, Login, Origin};
use crate::op::{Failure, FailureKind, Outage};
use crate::policy::Names;
use server::{Place, is_unavailable};
use session::GroupSession;

pub use checks::list_login_folder;
pub use metrics::GroupMetrics;
pub use resumable::ResumeNote;
pub use server::{KnownServers, Server};
pub use settings::{Checks, Choice, ServerSettings, Settings};
pub use view::{GroupView, ServerView, Servers};

/// The servers of a backend, and the choice among them.
pub struct Group {
    name: String,
    servers: Vec<Arc<Server>>,
    chooser: choice::Chooser,
    resumable: Arc<resumable::Resumable>,
    /// Of all servers, for the log.
    addresses: Vec<String>,
}

impl Group {
    /// A backend with these servers, at least one.
    pub fn new(settings: Settings, servers: Vec<Arc<Server>>) -> Self {
        let addresses = servers.iter().flat_map(|server| server.backend().addresses());
        Self {
            addresses: addresses.cloned().collect(),
            name: settings.name,
            chooser: choice::Chooser::new(settings.choice),
            resumable: Arc::default(),
            servers,
        }
    }

    /// The backend of this name in another configuration: interrupted uploads still find their server.
    pub fn continues(&mut self, previous: &Self) {
        self.resumable = previous.resumable.clone();
    }

    /// The servers to try, in order: those that may get a new session.
    fn candidates(&self, user: &[u8], origin: Origin) -> Vec<Arc<Server>> {
        let now = Instant::now();
        let available = self.servers.iter().filter(|server| server.is_available());
        let mut servers =
            self.chooser.order(available.cloned().collect(), user, origin.client.ip(), now);
        if let Some(name) = self.resumable.server_of(user, now) {
            // Stable: the others keep their order.
            servers.sort_by_key(|server| server.name() != name);
        }
        servers
    }

    /// The server to try where none is left: one that only logins have found to be down, such as those that
    /// a busy server answered too late. Of several, the one that failed the longest time ago.
    fn last_resort(&self, tried: &[Arc<Server>]) -> Option<Arc<Server>> {
        let new =
            self.servers.iter().filter(|it| !tried.iter().any(|other| Arc::ptr_eq(it, other)));
        let failed = new.filter_map(|server| Some((server.last_resort()?, server)));
        Some(failed.min_by_key(|(failed, _)| *failed)?.1.clone())
    }

    /// A session at the server.
    fn session(
        &self,
        session: Box<dyn BackendSession>,
        place: Place,
        user: &[u8],
    ) -> Box<dyn BackendSession> {
        let note = ResumeNote::new(&self.resumable, user, place.server().name());
        let note = (self.servers.len() > 1).then(|| Arc::new(note));
        Box::new(GroupSession::new(session, place, note))
    }

    /// Why no server could be tried.
    fn none_available(&self) -> Failure {
        let states: Vec<_> = self.servers.iter().map(|server| server.why_unavailable()).collect();
        Failure::backend(
            FailureKind::Unavailable,
            "no server is available for this login at present; try again later or contact the gateway's \
             operator",
        )
        .with_detail(format!("backend \"{}\": {}", self.name, states.join("; ")))
        .with_outage(Outage::Unreachable)
    }
}

#[async_trait]
impl Backend for Group {
    async fn login(
        &self,
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure> {
        self.login_as(b"", login, origin).await
    }

    /// Tries the next server only where one cannot be used: never once one has the client's password, which
    /// would ask several servers the same wrong one.
    async fn login_as(
        &self,
        user: &[u8],
        login: &Login,
        origin: Origin,
    ) -> Result<Box<dyn BackendSession>, Failure> {
        let mut failed: Option<Failure> = None;
        let mut fail = |server: &Server, failure: Failure| {
            failed = Some(match failed.take() {
                Some(first) => both(first, server.name(), &failure),
                None => failure,
            });
        };
        let mut tried = Vec::new();
        for server in self.candidates(user, origin) {
            let Some(place) = server.take_place() else { continue };
            // Since it was chosen, another server may have taken its time.
            if server.is_drained() {
                continue;
            }
            match server.login(login, origin).await {
                Some(Ok(session)) => return Ok(self.session(session, place, user)),
                Some(Err(failure)) if may_try_next(&failure, login) => {
                    fail(&server, failure);
                    tried.push(server);
                }
                Some(Err(failure)) => return Err(failure),
                None if login.is_undecided() => return Err(server.went_down()),
                None => fail(&server, server.went_down()),
            }
        }
        if let Some(server) = self.last_resort(&tried)
            && let Some(place) = server.take_place()
        {
            match server.login_though_down(login, origin).await {
                Ok(session) => return Ok(self.session(session, place, user)),
                Err(failure) if may_try_next(&failure, login) => fail(&server, failure),
                Err(failure) => return Err(failure),
            }
        }
        Err(failed.unwrap_or_else(|| self.none_available()))
    }

    fn names(&self) -> Names {
        self.servers.first().map_or(Names::Exact, |server| server.backend().names())
    }

    fn is_opaque(&self) -> bool {
        self.servers.first().is_some_and(|server| server.backend().is_opaque())
    }

    fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

fn may_try_next(failure: &Failure, login: &Login) -> bool {
    is_unavailable(failure) && !login.is_undecided()
}

/// The failure of one server, with that of the next in its detail.
fn both(first: Failure, next: &str, failure: &Failure) -> Failure {
    let of = |failure: &Failure| failure.detail.as_ref().unwrap_or(&failure.message).clone();
    let detail = format!("{}; then {next}: {}", of(&first), of(failure));
    first.with_detail(detail)
}
