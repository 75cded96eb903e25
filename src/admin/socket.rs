//! The operators' Unix socket (`admin.socket`): HTTP, read only for now.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::fs::Mode;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::http::{self, Page, page, text};
use super::ports;
use crate::data::Pool;

/// The most that an answer may be, in bytes, and how long it and its beginning may take.
const LONGEST: usize = 256 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_WORD: Duration = Duration::from_secs(3);
const NO_GATEWAY: &str = "this is no lockgate admin socket";

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
            // One user only may connect.
            async move { (this.accept().await, ()) }
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

/// Asks a running gateway's socket for its data ports, for the command line.
pub async fn fetch_ports(socket: &Path) -> anyhow::Result<Value> {
    let asked = async {
        let mut begun = timeout(FIRST_WORD, begin(socket)).await.map_err(|_| {
            let waited = humantime::format_duration(FIRST_WORD);
            anyhow::anyhow!("no answer within {waited}: {NO_GATEWAY}, or the gateway hangs")
        })??;
        let status = begun.status();
        anyhow::ensure!(status == StatusCode::OK, "it answered {status}: {NO_GATEWAY}");
        let body = Limited::new(begun.body_mut(), LONGEST).collect();
        let body = timeout(PATIENCE, body).await.context("its answer did not end in time")?;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        let answer: Value = serde_json::from_slice(&body).context(NO_GATEWAY)?;
        anyhow::ensure!(answer["pools"].is_array(), NO_GATEWAY);
        Ok(answer)
    };
    asked.await.with_context(|| format!("asking the gateway at {}", socket.display()))
}

/// The answer's beginning.
async fn begin(socket: &Path) -> anyhow::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        let shown = socket.display();
        format!("no gateway answers at {shown} (is it running, and may you write to the socket?)")
    })?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    tokio::spawn(connection);
    let request = Request::get("/ports").header("host", "lockgate").body(Empty::<&[u8]>::new())?;
    sender.send_request(request).await.context(NO_GATEWAY)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What is told of a socket that answers so, or never.
    async fn told(answer: Option<&'static str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if let Some(answer) = answer {
                let _ = stream.read(&mut [0; 1000]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            } else {
                std::future::pending::<()>().await;
            }
        });
        let asked = timeout(FIRST_WORD * 2, fetch_ports(&path)).await.expect("given up");
        served.abort();
        format!("{:#}", asked.unwrap_err())
    }

    #[tokio::test(start_paused = true)]
    async fn other_sockets_are_told_from_a_gateways() {
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"ports\": {}}";
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        for answer in [Some(page), Some(text), Some(nothing), Some("SSH-2.0-x\r\n"), None] {
            let told = told(answer).await;
            assert!(told.contains("this is no lockgate admin socket"), "{answer:?}: {told}");
        }
    }
}
