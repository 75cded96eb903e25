//! The operators' Unix socket (`admin.socket`): HTTP.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode, Uri};
use jiff::Timestamp;
use rustix::fs::Mode;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::client::RELOAD_TIMEOUT;
use super::control::{Control, InForce, ReloadOutcome};
use super::explain::Question;
use super::http::{self, Page, page, text};
use super::status::{self, Snapshot};
use super::{backends, bans, drain, expected, ports, sessions};
use crate::net::task;

/// The bound socket; dropping it removes the file.
pub struct AdminSocket {
    path: PathBuf,
    socket: UnixListener,
}

/// Answers requests.
struct Service {
    socket: AdminSocket,
    control: Arc<dyn Control>,
}

impl AdminSocket {
    /// Only the gateway's own user may connect. Replaces the socket of a killed gateway; fails if a gateway
    /// is running.
    pub fn bind(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        // Restricted from the start; nothing else creates files while the gateway starts.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(umask);
        Ok(Self { path: path.to_owned(), socket: bound? })
    }

    /// Serves until `stop`.
    pub fn serve(self, control: Arc<dyn Control>, stop: CancellationToken) {
        let rates = control.lasting().live.keep_rates();
        task::spawn(stop.clone().run_until_cancelled_owned(rates));
        let this = Arc::new(Service { socket: self, control });
        let socket = this.clone();
        let accept = move || {
            let this = socket.clone();
            // Only one user may connect.
            async move { (this.socket.accept().await, ()) }
        };
        // As long as the command line waits for it.
        let served = http::serve(RELOAD_TIMEOUT, accept, move |method, uri| {
            let this = this.clone();
            async move {
                match method {
                    Method::POST => this.change(&uri).await,
                    _ => this.response(&uri),
                }
            }
        });
        task::spawn(stop.run_until_cancelled_owned(served));
    }

    async fn accept(&self) -> UnixStream {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::error!(%error, "the admin socket cannot accept a connection; retrying");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Service {
    fn response(&self, uri: &Uri) -> Page {
        let InForce { pools, servers, explainer, .. } = &*self.control.in_force();
        let query = uri.query().unwrap_or_default();
        match uri.path() {
            "/ports" => {
                let views: Vec<_> = pools.iter().map(|pool| pool.view()).collect();
                json_page(&ports::json(&views))
            }
            "/backends" => json_page(&backends::json(&servers.view())),
            "/drain" => json_page(&drain::json(&self.control.lasting().drain)),
            "/bans" => json_page(&bans::json(&explainer.gateway.guard.bans())),
            "/expected" => {
                json_page(&expected::json(&self.control.lasting().expected.views(Timestamp::now())))
            }
            "/sessions" => {
                let sessions_max = explainer.gateway.limits.sessions;
                json_page(&sessions::json(&self.control.lasting().live, sessions_max, query))
            }
            "/status" => json_page(&self.status()),
            "/explain" => {
                let question = Question::from_query(query);
                let answer = question.and_then(|question| explainer.answer(&question));
                let answer = answer.unwrap_or_else(|error| json!({ "error": error }));
                json_page(&answer)
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "not found; available are /status, /sessions, /ports, /backends, /bans, /expected, /drain and /explain\n",
            ),
        }
    }

    fn status(&self) -> Value {
        let (in_force, lasting) = (self.control.in_force(), self.control.lasting());
        let InForce { pools, servers, explainer, .. } = &*in_force;
        status::json(&Snapshot {
            started: lasting.started,
            file: lasting.file.as_deref(),
            in_force_since: in_force.since,
            drain: &lasting.drain,
            listeners: &explainer.listeners,
            addresses: &in_force.addresses,
            sessions_max: explainer.gateway.limits.sessions,
            sessions: &lasting.live.all().iter().map(|it| it.view()).collect::<Vec<_>>(),
            pools: &pools.iter().map(|pool| pool.view()).collect::<Vec<_>>(),
            servers: &servers.view(),
            bans: explainer.gateway.guard.bans().len(),
            expected: &lasting.expected.views(Timestamp::now()),
        })
    }

    async fn change(&self, uri: &Uri) -> Page {
        let query = uri.query().unwrap_or_default();
        let InForce { servers, explainer, .. } = &*self.control.in_force();
        match uri.path() {
            "/backends/drain" => json_page(&backends::set_drained(servers, query, true)),
            "/backends/undrain" => json_page(&backends::set_drained(servers, query, false)),
            "/drain" => {
                let drain = self.control.lasting().drain;
                drain.announce();
                json_page(&drain::json(&drain))
            }
            "/bans/lift" => json_page(&bans::lift(&explainer.gateway.guard, query)),
            "/sessions/kick" => json_page(&sessions::kick(&self.control.lasting().live, query)),
            "/reload" => {
                let control = self.control.clone();
                let outcome = task::spawn_blocking(move || control.reload()).await;
                let stopping = || ReloadOutcome::Failed("the gateway is stopping".into());
                json_page(&outcome.unwrap_or_else(|_| stopping()).json())
            }
            _ => http::read_only(),
        }
    }
}

fn json_page(answer: &Value) -> Page {
    page(answer.to_string().into_bytes(), "application/json")
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it exists and is not a socket",
            ));
        }
        Err(_) => return Ok(()),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "a gateway is running there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}
