//! The operators' Unix socket (`admin.socket`): HTTP.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode, Uri};
use rustix::fs::Mode;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::explain::{Explainer, Question};
use super::http::{self, Page, page, text};
use super::status::{self, Started};
use super::{backends, bans, ports, sessions};
use crate::backend::group::Servers;
use crate::data::Pool;
use crate::net::{Drain, task};
use crate::session::LiveSessions;

/// The bound socket; dropping it removes the file.
pub struct AdminSocket {
    path: PathBuf,
    socket: UnixListener,
    parts: Parts,
}

/// What operators see and change.
pub struct Parts {
    /// The pools of `data_ports`.
    pub pools: Vec<Arc<Pool>>,
    /// The servers of all backends.
    pub servers: Servers,
    /// The open sessions.
    pub live: Arc<LiveSessions>,
    /// The routes and the policy, the guard and the limits.
    pub explainer: Explainer,
    /// The gateway's.
    pub drain: Drain,
}

impl AdminSocket {
    /// Only the gateway's own user may connect. Replaces the socket of a killed gateway; fails if a gateway
    /// is running.
    pub fn bind(path: &Path, parts: Parts) -> io::Result<Self> {
        remove_stale(path)?;
        // Restricted from the start; nothing else creates files while the gateway starts.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(umask);
        Ok(Self { path: path.to_owned(), socket: bound?, parts })
    }

    /// Serves until `stop`.
    pub fn serve(self, stop: CancellationToken, started: Started) {
        let rates = self.parts.live.clone().keep_rates();
        task::spawn(stop.clone().run_until_cancelled_owned(rates));
        let this = Arc::new(self);
        let socket = this.clone();
        let accept = move || {
            let this = socket.clone();
            // Only one user may connect.
            async move { (this.accept().await, ()) }
        };
        let served = http::serve(accept, move |method, uri| match *method {
            Method::POST => this.change(uri),
            _ => this.response(uri, &started),
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

    fn response(&self, uri: &Uri, started: &Started) -> Page {
        let Parts { pools, servers, live, explainer, .. } = &self.parts;
        let query = uri.query().unwrap_or_default();
        match uri.path() {
            "/ports" => {
                let views: Vec<_> = pools.iter().map(|pool| pool.view()).collect();
                json_page(&ports::json(&views))
            }
            "/backends" => json_page(&backends::json(&servers.view())),
            "/bans" => json_page(&bans::json(&explainer.gateway.guard.bans())),
            "/sessions" => {
                let sessions_max = explainer.gateway.limits.sessions;
                json_page(&sessions::json(live, sessions_max, query))
            }
            "/status" => json_page(&self.status(started)),
            "/explain" => {
                let question = Question::from_query(query);
                let answer = question.and_then(|question| explainer.answer(&question));
                let answer = answer.unwrap_or_else(|error| json!({ "error": error }));
                json_page(&answer)
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "not found; available are /status, /sessions, /ports, /backends, /bans and /explain\n",
            ),
        }
    }

    fn status(&self, started: &Started) -> Value {
        let Parts { pools, servers, live, explainer, drain } = &self.parts;
        status::json(&status::Snapshot {
            started,
            is_draining: drain.is_draining(),
            listeners: &explainer.listeners,
            sessions: &live.all().iter().map(|session| session.view()).collect::<Vec<_>>(),
            sessions_max: explainer.gateway.limits.sessions,
            pools: &pools.iter().map(|pool| pool.view()).collect::<Vec<_>>(),
            servers: &servers.view(),
            bans: explainer.gateway.guard.bans().len(),
        })
    }

    fn change(&self, uri: &Uri) -> Page {
        let Parts { servers, live, explainer, .. } = &self.parts;
        let query = uri.query().unwrap_or_default();
        match uri.path() {
            "/backends/drain" => json_page(&backends::set_drained(servers, query, true)),
            "/backends/undrain" => json_page(&backends::set_drained(servers, query, false)),
            "/bans/lift" => json_page(&bans::lift(&explainer.gateway.guard, query)),
            "/sessions/kick" => json_page(&sessions::kick(live, query)),
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
