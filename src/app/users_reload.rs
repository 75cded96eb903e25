//! Reads the users of `users_file` again when the files have changed.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::every_second::every_second;
use super::process::Process;
use crate::config::{Stamps, UsersFiles};

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
    pub(super) async fn watch(self) {
        every_second(self, Self::look).await;
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
