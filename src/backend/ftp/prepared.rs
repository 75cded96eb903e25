//! Passive data connections established ahead of the command that uses them (RFC 959 section 3.2,
//! RFC 2428).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::data_commands::DataCommand;
use super::failures;
use crate::op::Failure;
use crate::task;

/// An unused connection is closed after this time.
const PREPARED_TTL: Duration = Duration::from_secs(10);

/// A data connection that no command uses yet. Dropped, it is reset.
pub(super) struct Prepared {
    command: DataCommand,
    connecting: Arc<Mutex<Option<Connecting>>>,
    _expiry: AbortOnDropHandle<()>,
}

type Connecting = AbortOnDropHandle<Result<TcpStream, Failure>>;

impl Prepared {
    pub(super) fn start(
        command: DataCommand,
        connecting: impl Future<Output = Result<TcpStream, Failure>> + Send + 'static,
    ) -> Self {
        let connecting = task::spawn(connecting);
        let connecting = Arc::new(Mutex::new(Some(AbortOnDropHandle::new(connecting))));
        let expiring = connecting.clone();
        let expiry = task::spawn(async move {
            tokio::time::sleep(PREPARED_TTL).await;
            drop(expiring.lock().unwrap_or_else(PoisonError::into_inner).take());
        });
        Self { command, connecting, _expiry: AbortOnDropHandle::new(expiry) }
    }

    /// The command that returned its port.
    pub(super) fn command(&self) -> DataCommand {
        self.command
    }

    /// The connection, established or in progress; `None` if it failed or the server closed it.
    pub(super) fn take(self) -> Option<BoxFuture<'static, Result<TcpStream, Failure>>> {
        let connecting = self.connecting.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        if !connecting.is_finished() {
            let made =
                async { connecting.await.unwrap_or_else(|e| Err(failures::no_data_connection(e))) };
            return Some(made.boxed());
        }
        let tcp = connecting.now_or_never()?.ok()?.ok()?;
        is_silent(&tcp).then(|| std::future::ready(Ok(tcp)).boxed())
    }
}

/// Asks the kernel: the runtime may not have noticed a close yet.
fn is_silent(tcp: &TcpStream) -> bool {
    let mut polled = [PollFd::new(tcp, PollFlags::IN | PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::event::poll(&mut polled, Some(&at_once)), Ok(0))
}
