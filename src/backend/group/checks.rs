//! Checks of a server: up to its greeting, or with a login and a listing.

use std::sync::Arc;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::server::Server;
use super::settings::Checks;
use crate::backend::{BackendSession, Login, Origin};
use crate::op::{Failure, FailureKind, ListDirectory, Outage, RemotePath};
use crate::policy::Permit;
use crate::route::{PathMap, Target};
use crate::task;

impl Server {
    /// Checks the server until `stop`: always, or, without `health`, while it is down. A login cannot bring
    /// such a server back where a gateway that is not ready gets none.
    pub(super) fn check_until(self: Arc<Self>, stop: CancellationToken) {
        let only_down = self.checks().is_none();
        let checks = self.checks().cloned().unwrap_or_default();
        task::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                if only_down {
                    self.until_down().await;
                }
                // Not all servers at the same time.
                sleep(checks.every.mul_f64(rand::random_range(0.9..1.1))).await;
                if only_down && self.state().is_up() {
                    continue;
                }
                let checked = self.check(&checks).await;
                self.state().checked(checked.is_err());
                match checked {
                    Ok(()) => self.note_success(),
                    Err(failure) => self.note_failure(&failure),
                }
            }
        }));
    }

    async fn check(&self, checks: &Checks) -> Result<(), Failure> {
        let checked = timeout(checks.timeout, self.ask(checks)).await;
        checked.unwrap_or_else(|_| {
            let limit = humantime::format_duration(checks.timeout);
            let detail = format!("the check took longer than {limit} (health.timeout)");
            Err(Failure::backend(FailureKind::Unavailable, "the check took too long")
                .with_detail(detail)
                .with_outage(Outage::Timeout))
        })
    }

    async fn ask(&self, checks: &Checks) -> Result<(), Failure> {
        let Some(account) = &checks.login else { return self.backend().greet().await.map(drop) };
        let login = Login::Authenticated(Some(account.clone()));
        let refused = |failure: Failure| match failure.outage {
            Some(_) => failure,
            // The account of the checks can log in where the server works.
            None => failure.with_outage(Outage::AccountRefused),
        };
        let session = self.backend().login(&login, Origin::CHECK).await.map_err(refused)?;
        let listed = list_login_folder(&*session).await;
        session.close().await;
        listed
    }
}

/// Lists the login folder to its end.
pub async fn list_login_folder(session: &dyn BackendSession) -> Result<(), Failure> {
    // Nobody knows a name there that can be listed; PWD was answered at the login.
    if session.relay().is_some() {
        return Ok(());
    }
    let permit = Permit::internal(ListDirectory { path: RemotePath::root() });
    let folder = PathMap::root_only(session.home().path());
    let target = Target::new(permit, &folder)
        .map_err(|error| Failure::gateway(FailureKind::Internal, error.to_string()))?;
    let mut listing = session.list(&target).await?;
    while listing.next().await?.is_some() {}
    Ok(())
}
