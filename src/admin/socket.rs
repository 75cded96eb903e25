//! The operators' Unix socket (`admin.socket`): HTTP.

use std::future::ready;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::Api;
use super::client::RESTART_TIMEOUT;
use super::control::Control;
use super::http::{self, Page, text};
use super::take_over::{self, Link, Message, PROTOCOL_VERSION, VERSION_HEADER};
use crate::net::Gate;
use crate::task;

/// Connections that wait to be accepted, as many as tokio has.
const BACKLOG: i32 = 1024;
/// For the first message of a process that takes over.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound socket; dropping it removes the file, unless another process accepts from it.
pub struct AdminSocket {
    path: PathBuf,
    socket: UnixListener,
    gate: Gate,
    /// The service manager has made the file, and removes it.
    keeps_file: bool,
    /// The connections.
    tasks: TaskTracker,
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
        Ok(Self::new(path, bound?, Gate::open(), false))
    }

    /// Goes on with the socket of another process, which accepts from it until [`Self::resume`]. `keeps_file`: as
    /// [`Self::keeps_file`] says there.
    pub fn adopt(path: &Path, socket: OwnedFd, keeps_file: bool) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixListener::from(socket);
        // Both processes share the flag: it must never be cleared.
        socket.set_nonblocking(true)?;
        Ok(Self::new(path, UnixListener::from_std(socket)?, Gate::closed(), keeps_file))
    }

    /// Goes on with the socket that the service manager has opened.
    pub fn inherit(path: &Path, socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self::new(path, UnixListener::from_std(socket)?, Gate::open(), true))
    }

    fn new(path: &Path, socket: UnixListener, gate: Gate, keeps_file: bool) -> Self {
        let (path, tasks) = (path.to_owned(), TaskTracker::new());
        Self { path, socket, gate, keeps_file, tasks }
    }

    /// Whether the service manager has made the file, and removes it.
    pub fn keeps_file(&self) -> bool {
        self.keeps_file
    }

    /// When it returns, this process takes no further connection.
    pub fn pause(&self) {
        self.gate.close();
    }

    /// Accepts again. No other process may.
    pub fn resume(&self) {
        self.name_this_process();
        self.gate.set_open();
    }

    /// Clients ask the kernel who listens (SO_PEERCRED): that is the process which has called listen(2) last, and
    /// was another one before a take-over, or the service manager.
    fn name_this_process(&self) {
        if let Err(error) = rustix::net::listen(&self.socket, BACKLOG) {
            tracing::debug!(%error, "the admin socket names another process to its clients");
        }
    }

    /// Resolves when all requests are answered; to be called after [`Self::pause`].
    pub async fn answered(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Serves until `stop`.
    pub(super) fn serve(self: &Arc<Self>, api: Api, stop: CancellationToken) {
        self.name_this_process();
        let (socket, tasks) = (self.clone(), self.tasks.clone());
        let accept = move || {
            let socket = socket.clone();
            // Only one user may connect.
            async move { (ready(Some(socket.accept().await)), ()) }
        };
        let respond = move |request: Parts, ()| {
            let api = api.clone();
            async move {
                match request.method {
                    Method::POST if request.uri.path() == "/take-over" => {
                        hand_over(api.control, request)
                    }
                    _ => api.respond(&request.method, &request.uri).await,
                }
            }
        };
        // As long as the command line waits for an answer.
        task::spawn(stop.run_until_cancelled_owned(async move {
            http::serve((RESTART_TIMEOUT, &tasks), accept, respond).await;
        }));
    }

    async fn accept(&self) -> UnixStream {
        loop {
            match self.gate.pass(self.socket.accept()).await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::error!(%error, "the admin socket cannot accept a connection; retrying");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Hands the sockets over to the process that asks, after the response.
fn hand_over(control: Arc<dyn Control>, request: Parts) -> Page {
    let header = |name: &str| request.headers.get(name)?.to_str().ok();
    let is_known = header(VERSION_HEADER) == Some(PROTOCOL_VERSION)
        && header(UPGRADE.as_str()) == Some(take_over::UPGRADE);
    if !is_known {
        let mut refusal = text(StatusCode::UPGRADE_REQUIRED, "another protocol version\n");
        let own = HeaderValue::from_static(PROTOCOL_VERSION);
        refusal.headers_mut().insert(VERSION_HEADER, own);
        return refusal;
    }
    task::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(Request::from_parts(request, ())).await else {
            return;
        };
        if let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>()
            && parts.read_buf.is_empty()
        {
            accept_successor(control, parts.io.into_inner()).await;
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(take_over::UPGRADE));
    response
}

/// Only a process of the gateway's own user gets its sockets and keys.
async fn accept_successor(control: Arc<dyn Control>, stream: UnixStream) {
    let Ok(peer) = stream.peer_cred() else { return };
    let process = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
    let own = rustix::process::geteuid().as_raw();
    if peer.uid() != own {
        tracing::warn!(
            process,
            user = peer.uid(),
            "a process of another user asked for the sockets (--take-over): refused"
        );
        return;
    }
    let mut link = Link::new(stream, process);
    let Ok(Ok(Some(Message::Upgraded))) = timeout(UPGRADE_TIMEOUT, link.next()).await else {
        return;
    };
    control.hand_over(link);
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if self.gate.is_open() && !self.keeps_file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AsFd for AdminSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
