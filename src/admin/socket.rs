//! The operators' Unix socket (`admin.socket`): HTTP, read only for now.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustix::fs::Mode;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::explain::{Explainer, Question};
use super::http::{self, Page, page, text};
use super::ports;
use crate::data::Pool;
use crate::net::task;

/// The longest response, in bytes.
const RESPONSE_MAX: usize = 256 * 1024 * 1024;
/// For the response's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// For the response's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);
const NO_GATEWAY: &str = "this is not the admin socket of lockgate";

/// The bound socket; dropping it removes the file.
pub struct AdminSocket {
    path: PathBuf,
    socket: UnixListener,
    pools: Vec<Arc<Pool>>,
    explainer: Explainer,
}

impl AdminSocket {
    /// Only the gateway's own user may connect. Replaces the socket of a killed gateway; fails if a gateway
    /// is running.
    pub fn bind(path: &Path, pools: Vec<Arc<Pool>>, explainer: Explainer) -> io::Result<Self> {
        remove_stale(path)?;
        // Restricted from the start; nothing else creates files while the gateway starts.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(umask);
        Ok(Self { path: path.to_owned(), socket: bound?, pools, explainer })
    }

    /// Serves until `stop`.
    pub fn serve(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let socket = this.clone();
        let accept = move || {
            let this = socket.clone();
            // Only one user may connect.
            async move { (this.accept().await, ()) }
        };
        let served = http::serve(accept, move |uri| this.response(uri));
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

    fn response(&self, uri: &Uri) -> Page {
        match uri.path() {
            "/ports" => {
                let views: Vec<_> = self.pools.iter().map(|pool| pool.view()).collect();
                page(ports::json(&views).to_string().into_bytes(), "application/json")
            }
            "/explain" => {
                let question = Question::from_query(uri.query().unwrap_or_default());
                let answer = question.and_then(|question| self.explainer.answer(&question));
                let answer = answer.unwrap_or_else(|error| json!({ "error": error }));
                page(answer.to_string().into_bytes(), "application/json")
            }
            _ => text(StatusCode::NOT_FOUND, "not found; available are /ports and /explain\n"),
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

/// Requests the data ports from a running gateway, for the command line.
pub async fn fetch_ports(socket: &Path) -> anyhow::Result<Value> {
    let fetch = async {
        let ports = fetch(socket, "/ports").await?;
        anyhow::ensure!(ports["pools"].is_array(), NO_GATEWAY);
        Ok(ports)
    };
    fetch.await.with_context(|| format!("fetching the ports from {}", socket.display()))
}

/// Asks a running gateway, for the command line.
pub async fn fetch_explanation(socket: &Path, question: &Question) -> anyhow::Result<Value> {
    let answer = fetch(socket, &question.to_url()).await;
    let answer = answer.with_context(|| format!("asking the gateway at {}", socket.display()))?;
    match answer["error"].as_str() {
        Some(error) => anyhow::bail!("{error}"),
        None => Ok(answer),
    }
}

async fn fetch(socket: &Path, path: &str) -> anyhow::Result<Value> {
    let mut response = timeout(HEADER_TIMEOUT, request(socket, path)).await.map_err(|_| {
        let waited = humantime::format_duration(HEADER_TIMEOUT);
        anyhow::anyhow!("no response within {waited}: {NO_GATEWAY}, or the gateway hangs")
    })??;
    let status = response.status();
    anyhow::ensure!(status == StatusCode::OK, "the response is {status}: {NO_GATEWAY}");
    let body = Limited::new(response.body_mut(), RESPONSE_MAX).collect();
    let body = timeout(BODY_TIMEOUT, body).await.context("the response timed out")?;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    serde_json::from_slice(&body).context(NO_GATEWAY)
}

/// Sends the request; returns when the response's header has arrived.
async fn request(socket: &Path, path: &str) -> anyhow::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        let shown = socket.display();
        format!("cannot connect to the gateway at {shown} (is it running, and may you write to the socket?)")
    })?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    task::spawn(connection);
    let request = Request::get(path).header("host", "lockgate").body(Empty::<&[u8]>::new())?;
    sender.send_request(request).await.context(NO_GATEWAY)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The error for a socket with this response, or none.
    async fn fetch_error(response: Option<&'static str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if let Some(response) = response {
                let _ = stream.read(&mut [0; 1000]).await.unwrap();
                stream.write_all(response.as_bytes()).await.unwrap();
            } else {
                std::future::pending::<()>().await;
            }
        });
        let fetched = timeout(HEADER_TIMEOUT * 2, fetch_ports(&path)).await.expect("timed out");
        served.abort();
        format!("{:#}", fetched.unwrap_err())
    }

    #[tokio::test(start_paused = true)]
    async fn other_programs_sockets_are_recognized() {
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"ports\": {}}";
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        for response in [Some(page), Some(text), Some(nothing), Some("SSH-2.0-x\r\n"), None] {
            let error = fetch_error(response).await;
            assert!(error.contains(NO_GATEWAY), "{response:?}: {error}");
        }
    }
}
