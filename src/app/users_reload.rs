//! Reads the users of `users_file` again when the files have changed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::process::Process;
use crate::config::{Stamps, UsersFiles};
use crate::net::task;

/// Between two looks at the files. A change is read once it is as old.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the files of one configuration.
pub(super) struct UsersReload {
    process: Arc<Process>,
    files: UsersFiles,
    seen: Option<Stamps>,
    /// Another configuration is in force, with users of its own.
    replaced: CancellationToken,
}

impl UsersReload {
    pub(super) fn new(
        process: Arc<Process>,
        files: UsersFiles,
        replaced: CancellationToken,
    ) -> Self {
        Self { process, files, seen: None, replaced }
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
        let read = self.files.read_again();
        let metrics = &self.process.users_reload;
        let _change = self.process.change();
        if self.replaced.is_cancelled() {
            return;
        }
        match read {
            Ok(users) => {
                tracing::info!(users = users.iter().len(), "users_file was read again");
                self.process.passwords.replace_users(users);
                self.process.live.judge();
                metrics.reloads.with_label_values(&["ok"]).inc();
                metrics.broken.set(0);
            }
            Err(report) => {
                let reason = report.summary();
                tracing::error!(
                    reason,
                    "users_file has an error: the users stay as they were until it is corrected"
                );
                metrics.reloads.with_label_values(&["failed"]).inc();
                metrics.broken.set(1);
            }
        }
    }
}
