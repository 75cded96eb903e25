//! The operators' Unix socket (`admin.socket`): HTTP.

use std::future::ready;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::client::RELOAD_TIMEOUT;
use super::http;
use crate::net::task;

/// The bound socket; dropping it removes the file.
pub struct AdminSocket {
    path: PathBuf,
    socket: UnixListener,
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

    /// Serves until `stop`. Who may connect may do everything.
    pub(super) fn serve(self, api: Api, stop: CancellationToken) {
        let this = Arc::new(self);
        let accept = move || {
            let this = this.clone();
            // Only one user may connect.
            async move { (ready(Some(this.accept().await)), ()) }
        };
        let respond = move |request: Parts, ()| {
            let api = api.clone();
            async move { api.respond(&request.method, &request.uri).await }
        };
        // As long as the command line waits for it.
        let served = http::serve(RELOAD_TIMEOUT, accept, respond);
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
