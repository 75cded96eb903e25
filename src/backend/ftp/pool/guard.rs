//! A control connection of the pool, held by one operation.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use super::Pool;
use crate::backend::ftp::connection::Connection;
use crate::op::Failure;
use crate::task;

/// A control connection, held by one operation. Dropped between a command and its last reply, the
/// connection is given up.
pub(in crate::backend::ftp) struct ConnectionGuard {
    pub(super) connection: OwnedMutexGuard<Connection>,
    pub(super) pool: Arc<Pool>,
    /// Released after the connection.
    pub(super) _permit: OwnedSemaphorePermit,
}

impl ConnectionGuard {
    pub(in crate::backend::ftp) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Replaces a lost connection by a new login, for cleaning up after the failed operation.
    pub(in crate::backend::ftp) async fn renew(&mut self) -> Result<(), Failure> {
        let another = self.pool.log_in_another().await?;
        let lost = std::mem::replace(&mut self.connection, another);
        self.pool.remove(&lost);
        Ok(())
    }
}

impl Deref for ConnectionGuard {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for ConnectionGuard {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.connection.last_used = Instant::now();
        if !self.connection.is_usable() {
            self.pool.remove(&self.connection);
        } else if self.pool.lock().closed {
            let own = OwnedMutexGuard::mutex(&self.connection).clone();
            // Only a runtime that is shutting down has no handle.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                task::spawn_on(&runtime, async move { own.lock().await.quit().await });
            }
        }
    }
}
