//! What the admin socket asks of the gateway.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::hand_over::hand_over;
use super::process::Process;
use super::reload::{ReloadError, Reloader};
use super::restart::restart;
use crate::admin::{
    Control, FromBefore, InForce, Lasting, Link, PeerRequest, ProcessBefore, ReloadOutcome,
    RestartOutcome,
};
use crate::task;

impl Control for Reloader {
    fn in_force(&self) -> Arc<InForce> {
        self.configuration()
    }

    fn lasting(&self) -> Lasting {
        let Process { started, live, expected, drain, .. } = &**self.process();
        let (live, expected, drain) = (live.clone(), expected.clone(), drain.clone());
        Lasting { started: *started, file: self.file(), live, expected, drain }
    }

    fn reload(&self) -> ReloadOutcome {
        let reloaded = match Self::reload(self) {
            Ok(reloaded) => reloaded,
            Err(ReloadError::Invalid(report)) => return ReloadOutcome::Invalid(report.to_string()),
            Err(error @ ReloadError::Start(_)) => {
                let told = format!("{error}; the configuration before stays in force");
                return ReloadOutcome::Failed(told);
            }
            Err(error) => return ReloadOutcome::Failed(error.to_string()),
        };
        let mut notes = Vec::new();
        if !reloaded.warnings.is_empty() {
            notes.push(reloaded.warnings.to_string());
        }
        if !reloaded.needs_restart.is_empty() {
            let keys = reloaded.needs_restart.join(", ");
            notes.push(format!("these keys have changed, and apply after a restart: {keys}"));
        }
        ReloadOutcome::InForce(notes)
    }

    fn hand_over(self: Arc<Self>, link: Link) {
        task::spawn(hand_over(self, link));
    }

    fn restart(self: Arc<Self>) -> BoxFuture<'static, RestartOutcome> {
        Box::pin(restart(self))
    }

    fn before(&self) -> Vec<ProcessBefore> {
        self.peers().before()
    }

    fn ask_before(self: Arc<Self>, request: PeerRequest) -> BoxFuture<'static, Vec<FromBefore>> {
        let peers = self.peers().clone();
        Box::pin(async move { peers.ask_before(request).await })
    }
}
