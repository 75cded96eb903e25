//! One SSH connection from its first byte to its last: russh runs, and what ends it is waited for.

use std::sync::Arc;
use std::time::Duration;

use russh::server::{Config, run_stream};
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};
use tracing::Instrument;

use super::connection::{
    CHANNEL_END_TIMEOUT, Connection, GONE, GONE_BEFORE, GOODBYE_TIMEOUT, NO_LOGIN,
};
use super::gate::Gate;
use super::handler::Handler;
use crate::net::ssh::QueuedStream;
use crate::op::Fault;
use crate::session::SessionEnd;

/// What waits to be written, in bytes. More than usual clients' windows let be under way, or russh
/// would not read while it writes.
const QUEUE_MAX: usize = 8 * 1024 * 1024;
/// For the channels to end, before the session is closed.
const AFTER_END_TIMEOUT: Duration = Duration::from_secs(CHANNEL_END_TIMEOUT.as_secs() + 1);

pub(super) async fn serve(connection: Arc<Connection>, config: Arc<Config>, tcp: TcpStream) {
    let mut queued = QueuedStream::new(tcp, QUEUE_MAX);
    let abort_handle = queued.abort_handle();
    connection.attach(&mut queued);
    let gate = Gate::new(queued, connection.clone());
    let greeting = run_stream(config, gate, Handler::new(connection.clone()));
    let greeting = timeout_at(connection.login_deadline(), greeting);
    let mut running = tokio::select! {
        greeted = greeting => match greeted {
            Ok(Ok(running)) => running,
            Ok(Err(error)) => return connection.refused(Some(&error), &error.to_string()),
            Err(_) => return connection.refused(None, NO_LOGIN),
        },
        () = connection.shared.drain.draining() => return,
        // The gate has refused it.
        () = connection.ended() => return connection.refused(None, GONE_BEFORE),
    };
    let over = tokio::select! {
        ended = &mut running => {
            match ended {
                Ok(()) => connection.client_info.end.set(SessionEnd::done(GONE)),
                Err(ref error) => {
                    connection.client_info.end.set(SessionEnd::by(Fault::Client, error.to_string()));
                }
            }
            if connection.session().is_none() {
                let why = connection.client_info.end.get().map_or(GONE, SessionEnd::reason);
                connection.refused(ended.as_ref().err(), why);
            }
            true
        }
        ending = connection.watch() => {
            connection.client_info.end.set(ending.end.clone());
            if connection.session().is_none() {
                connection.refused(None, ending.end.reason());
            }
            let told = async {
                ending.tell(&running.handle()).await;
                (&mut running).await
            };
            timeout(GOODBYE_TIMEOUT, told).await.is_ok()
        }
    };
    abort_handle.abort();
    connection.closing.cancel();
    connection.channels.close();
    if !over {
        // A login under way must not bring a session that nobody would close.
        let _ = timeout(GOODBYE_TIMEOUT, running).await;
    }
    let _ = timeout(AFTER_END_TIMEOUT, connection.channels.wait()).await;
    if let Some(session) = connection.session() {
        // A goodbye that hangs must not keep the session's place.
        let closing = session.close().instrument(session.span().clone());
        let _ = timeout(GOODBYE_TIMEOUT, closing).await;
    }
}
