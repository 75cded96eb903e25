//! Reads the users of `users_file` again when the files have changed.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use crate::config::{Stamps, UsersFiles};
use crate::net::task;
use crate::session::Gateway;

/// Between two looks at the files. A change is read once it is as old.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the files for a gateway.
pub(super) struct UsersReload {
    gateway: Arc<Gateway>,
    files: UsersFiles,
    seen: Option<Stamps>,
    reloads: IntCounterVec,
    broken: IntGauge,
}

impl UsersReload {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        files: UsersFiles,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let reloads = IntCounterVec::new(
            Opts::new("lockgate_users_file_reloads_total", "How often users_file was read again"),
            &["outcome"],
        )?;
        let broken = IntGauge::new(
            "lockgate_users_file_broken",
            "1 while users_file has an error, and the users before are in force",
        )?;
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(broken.clone()))?;
        for outcome in ["ok", "failed"] {
            reloads.with_label_values(&[outcome]);
        }
        Ok(Self { gateway, files, seen: None, reloads, broken })
    }

    /// Never ends.
    pub(super) async fn watch(mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let looked = task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(again) => self = again,
                // The runtime shuts down.
                Err(_) => return,
            }
        }
    }

    fn look(&mut self) {
        if !self.files.has_settled_change(&mut self.seen) {
            return;
        }
        match self.files.read_again() {
            Ok(users) => {
                tracing::info!(users = users.iter().len(), "users_file was read again");
                self.gateway.passwords.replace_users(users);
                self.reloads.with_label_values(&["ok"]).inc();
                self.broken.set(0);
            }
            Err(report) => {
                let reason = report.summary();
                tracing::error!(
                    reason,
                    "users_file has an error: the users stay as they were until it is corrected"
                );
                self.reloads.with_label_values(&["failed"]).inc();
                self.broken.set(1);
            }
        }
    }
}
