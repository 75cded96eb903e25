//! The operators' Unix socket (`admin.socket`): HTTP, read only for now.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::fs::Mode;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::http::{self, Page, page, text};
use super::ports;
use crate::data::Pool;

/// The most that an answer may be, in bytes, and how long it may take.
const LONGEST: usize = 256 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// The socket, bound; its file goes with it.
pub struct AdminSocket {
    path: PathBuf,
    socket: UnixListener,
    pools: Vec<Arc<Pool>>,
}

impl AdminSocket {
    /// Only the gateway's own user may connect. What a gateway that was killed has left there is
    /// replaced; one that runs is an error.
    pub fn bind(path: &Path, pools: Vec<Arc<Pool>>) -> io::Result<Self> {
        remove_stale(path)?;
        // From its first moment on; nothing else makes files while the gateway starts.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        Ok(Self { path: path.to_owned(), socket: bound?, pools })
    }

    /// Serves until `stop`.
    pub fn serve(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let socket = this.clone();
        let accept = move || {
            let this = socket.clone();
            async move { this.accept().await }
        };
        let served = http::serve(accept, move |path| this.answer(path));
        tokio::spawn(stop.run_until_cancelled_owned(served));
    }

    async fn accept(&self) -> UnixStream {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::error!(%error, "the admin socket cannot accept; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn answer(&self, path: &str) -> Page {
        match path {
            "/ports" => {
                let views: Vec<_> = self.pools.iter().map(|pool| pool.view()).collect();
                page(ports::json(&views).to_string().into_bytes(), "application/json")
            }
            _ => text(StatusCode::NOT_FOUND, "there is /ports\n"),
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
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket")),
        Err(_) => return Ok(()),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "a gateway serves there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

/// Asks a running gateway's socket for a page, for the command line.
pub async fn fetch(socket: &Path, page: &str) -> anyhow::Result<serde_json::Value> {
    use anyhow::Context;
    let shown = socket.display();
    let asked = async {
        let stream = UnixStream::connect(socket).await.with_context(|| {
            format!(
                "no gateway answers at {shown} (is it running, and may you write to the socket?)"
            )
        })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await?;
        tokio::spawn(connection);
        let request = Request::get(page).header("host", "lockgate").body(Empty::<&[u8]>::new())?;
        let response = sender.send_request(request).await?;
        anyhow::ensure!(response.status() == StatusCode::OK, "it answered {}", response.status());
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    };
    let answer = timeout(PATIENCE, asked).await.context("no answer in time")?;
    answer.with_context(|| format!("asking the gateway at {shown}"))
}
