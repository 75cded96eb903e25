//! Serves one SSH connection: runs russh until the client or the gateway ends it.

use std::sync::Arc;
use std::time::Duration;

use russh::server::{Config, run_stream};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tracing::Instrument;

use super::connection::{
    CHANNEL_END_TIMEOUT, CLOSED, CLOSED_BEFORE_LOGIN, Connection, DISCONNECT_TIMEOUT,
    LOGIN_TIMED_OUT,
};
use super::handler::Handler;
use super::kex_limit::KexLimiter;
use crate::net::ssh::QueuedStream;
use crate::op::Fault;
use crate::session::SessionEnd;

/// Bytes that wait to be written. More than the windows of usual clients allow, or russh would not
/// read while it writes.
const WRITE_QUEUE_MAX: usize = 8 * 1024 * 1024;
/// For all channels to end, before the session is closed.
const CHANNELS_END_TIMEOUT: Duration = Duration::from_secs(CHANNEL_END_TIMEOUT.as_secs() + 1);

pub(super) async fn serve(connection: Arc<Connection>, config: Arc<Config>, tcp: TcpStream) {
    let mut queued = QueuedStream::new(tcp, WRITE_QUEUE_MAX);
    let abort_handle = queued.abort_handle();
    connection.attach(&mut queued);
    let limiter = KexLimiter::new(queued, connection.clone());
    let starting = run_stream(config, limiter, Handler::new(connection.clone()));
    let starting = timeout_at(connection.login_deadline(), starting);
    let mut running = tokio::select! {
        started = starting => match started {
            Ok(Ok(running)) => running,
            Ok(Err(error)) => return connection.log_refused(Some(&error), &error.to_string()),
            Err(_) => return connection.log_refused(None, LOGIN_TIMED_OUT),
        },
        () = connection.client_info.live.drain().draining() => return,
        // The limit of key exchanges is exceeded.
        () = connection.ended() => return connection.log_refused(None, CLOSED_BEFORE_LOGIN),
    };
    let finished = tokio::select! {
        ended = &mut running => {
            match ended {
                Ok(()) => connection.client_info.end.set(SessionEnd::done(CLOSED)),
                Err(ref error) => {
                    connection.client_info.end.set(SessionEnd::by(Fault::Client, error.to_string()));
                }
            }
            if connection.session().is_none() {
                let reason = connection.client_info.end.get().map_or(CLOSED, SessionEnd::reason);
                connection.log_refused(ended.as_ref().err(), reason);
            }
            true
        }
        disconnection = connection.watch() => {
            connection.client_info.end.set(disconnection.end.clone());
            if connection.session().is_none() {
                connection.log_refused(None, disconnection.end.reason());
            }
            let disconnected = async {
                disconnection.send(&running.handle()).await;
                (&mut running).await
            };
            timeout(DISCONNECT_TIMEOUT, disconnected).await.is_ok()
        }
    };
    abort_handle.abort();
    connection.closing.cancel();
    connection.channels.close();
    if !finished {
        // A login that finishes later would leave a session that is never closed.
        let _ = timeout(DISCONNECT_TIMEOUT, running).await;
    }
    let _ = timeout(CHANNELS_END_TIMEOUT, connection.channels.wait()).await;
    if let Some(session) = connection.session() {
        // A close that hangs must not keep the session's admission permit.
        let closing = session.close().instrument(session.span().clone());
        let _ = timeout(DISCONNECT_TIMEOUT, closing).await;
    }
}
