//! russh's SSH server with russh-sftp, which handles one request at a time and decodes names as
//! lossy UTF-8. It runs in this process, with its own threads.

mod attributes;
mod files;
mod refusal;
mod requests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::keys::load_secret_key;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, run_stream};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use self::files::Files;
use super::{Server, ServerFolder, ServerPorts};
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, ports};

const THREADS: usize = 2;
/// While a channel's queue is full, russh neither reads nor sends, not even the replies that would
/// empty it: the queue must hold all requests that a client has in flight.
const CHANNEL_MESSAGES: usize = 2000;

/// Its root is the user's home.
pub fn start() -> Server {
    let server_folder = ServerFolder::new("russh-sftp");
    let port = ports::one();
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("starting a server's threads");
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port)));
    let listener = listener.unwrap_or_else(|error| panic!("listening on {port}: {error}"));
    runtime.spawn(serve(listener, server_folder.home.clone()));
    server_folder.with_tasks(runtime, ServerPorts { ssh: Some(port), ..ServerPorts::default() })
}

async fn serve(listener: TcpListener, home: PathBuf) {
    let config = Arc::new(config());
    loop {
        let (tcp, _) = listener.accept().await.expect("accepting a connection");
        let login = Login { home: home.clone(), channels: HashMap::new() };
        let config = config.clone();
        tokio::spawn(async move {
            // A client may disconnect at any time.
            if tcp.set_nodelay(true).is_ok()
                && let Ok(session) = run_stream(config, tcp, login).await
            {
                let _ = session.await;
            }
        });
    }
}

fn config() -> Config {
    let key: &Path = &keys().host[0];
    Config {
        keys: vec![load_secret_key(key, None).expect("reading a host key")],
        methods: methods(),
        auth_rejection_time: Duration::from_millis(10),
        channel_buffer_size: CHANNEL_MESSAGES,
        ..Config::default()
    }
}

fn methods() -> MethodSet {
    MethodSet::from(&[MethodKind::Password][..])
}

/// One connection.
struct Login {
    home: PathBuf,
    /// Open channels without a subsystem.
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Handler for Login {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(match (user, password) {
            (USER, PASSWORD) => Auth::Accept,
            // By default, russh allows no second attempt.
            _ => Auth::Reject { proceed_with_methods: Some(methods()), partial_success: false },
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let channel = self.channels.remove(&id).filter(|_| name == "sftp");
        let Some(channel) = channel else { return session.channel_failure(id) };
        session.channel_success(id)?;
        russh_sftp::server::run(channel.into_stream(), Files::new(self.home.clone())).await;
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.exit_status_request(id, 0)?;
        session.close(id)
    }
}
