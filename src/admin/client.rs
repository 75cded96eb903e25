//! Asks the admin socket of a running gateway, for the command line.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::explain::Question;
use crate::op::escape::printable;
use crate::task;

/// The longest response, in bytes.
const RESPONSE_MAX: usize = 256 * 1024 * 1024;
/// For the response's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// For the response's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// For the response's header where the gateway reads its configuration first.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The same where another process checks the configuration, and takes over.
pub(super) const RESTART_TIMEOUT: Duration = Duration::from_secs(180);
pub(super) const NO_GATEWAY: &str = "this is not the admin socket of lockgate";

/// Instead of an answer.
const ENDED: &str = "no answer: the gateway has ended meanwhile (`lockgate status` tells whether another process \
                     serves), or this is not its admin socket";

/// Requests the data ports from a running gateway, for the command line.
pub async fn fetch_ports(socket: &Path) -> anyhow::Result<Value> {
    let fetch = async {
        let ports = fetch(socket, Method::GET, "/ports").await?;
        anyhow::ensure!(ports["pools"].is_array(), NO_GATEWAY);
        Ok(ports)
    };
    fetch.await.with_context(|| format!("fetching the ports from {}", socket.display()))
}

/// Asks a running gateway, for the command line.
pub async fn fetch_explanation(socket: &Path, question: &Question) -> anyhow::Result<Value> {
    let answer = fetch(socket, Method::GET, &question.to_url()).await;
    answer.with_context(|| format!("asking the gateway at {}", socket.display()))
}

/// Has a running gateway read its configuration again, for the command line. `Ok`: warnings; `Err`: what is
/// wrong with the configuration.
pub async fn reload(socket: &Path) -> anyhow::Result<Result<Vec<String>, String>> {
    let answer = match change_configuration(socket, "/reload", RELOAD_TIMEOUT).await? {
        Ok(answer) => answer,
        Err(problems) => return Ok(Err(problems)),
    };
    let warnings = answer["warnings"].as_array().context(NO_GATEWAY)?.iter();
    Ok(Ok(warnings.filter_map(Value::as_str).map(str::to_owned).collect()))
}

/// Has a running gateway start another process that takes over, for the command line. `Ok`: its id, and the
/// sessions of the one before; `Err`: what is wrong with the configuration.
pub async fn restart(socket: &Path) -> anyhow::Result<Result<(u64, u64), String>> {
    let answer = match change_configuration(socket, "/restart", RESTART_TIMEOUT).await? {
        Ok(answer) => answer,
        Err(problems) => return Ok(Err(problems)),
    };
    let process = answer["process"].as_u64().context(NO_GATEWAY)?;
    Ok(Ok((process, answer["sessions_before"].as_u64().unwrap_or(0))))
}

/// The answer; `Err`: what is wrong with the configuration.
async fn change_configuration(
    socket: &Path,
    path: &str,
    limit: Duration,
) -> anyhow::Result<Result<Value, String>> {
    let asked = async {
        let (status, answer) = exchange(limit, socket, Method::POST, path).await?;
        match answer["problems"].as_str() {
            Some(problems) => Ok(Err(problems.to_owned())),
            None => successful(status, answer).map(Ok),
        }
    };
    asked.await.with_context(|| format!("asking the gateway at {}", socket.display()))
}

pub(super) async fn fetch(socket: &Path, method: Method, path: &str) -> anyhow::Result<Value> {
    let (status, answer) = exchange(HEADER_TIMEOUT, socket, method, path).await?;
    successful(status, answer)
}

/// The answer, unless it is an error.
fn successful(status: StatusCode, answer: Value) -> anyhow::Result<Value> {
    match answer["error"].as_str() {
        Some(error) => anyhow::bail!("{}", printable(error.as_bytes())),
        None if status.is_success() => Ok(answer),
        None => anyhow::bail!("the response is {status}: {NO_GATEWAY}"),
    }
}

/// One request, and its answer.
async fn exchange(
    limit: Duration,
    socket: &Path,
    method: Method,
    path: &str,
) -> anyhow::Result<(StatusCode, Value)> {
    let mut response = timeout(limit, request(socket, method, path)).await.map_err(|_| {
        let waited = humantime::format_duration(limit);
        anyhow::anyhow!("no response within {waited}: {NO_GATEWAY}, or the gateway hangs")
    })??;
    let status = response.status();
    let body = Limited::new(response.body_mut(), RESPONSE_MAX).collect();
    let body = timeout(BODY_TIMEOUT, body).await.context("the response timed out")?;
    let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let answer = serde_json::from_slice(&body);
    let answer = answer.with_context(|| format!("the response is {status}: {NO_GATEWAY}"))?;
    Ok((status, answer))
}

/// Sends the request; returns when the response's header has arrived.
async fn request(socket: &Path, method: Method, path: &str) -> anyhow::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        let shown = socket.display();
        format!("cannot connect to the gateway at {shown} (is it running, and may you write to the socket?)")
    })?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    task::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "lockgate");
    let request = request.body(Empty::<&[u8]>::new())?;
    sender.send_request(request).await.map_err(|error| {
        if error.is_incomplete_message() || error.is_canceled() {
            anyhow::anyhow!(ENDED)
        } else {
            anyhow::Error::new(error).context(NO_GATEWAY)
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

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
        let error = fetch_error(Some("")).await;
        assert!(error.contains("the gateway has ended meanwhile"), "{error}");
        for response in [Some(page), Some(text), Some(nothing), Some("SSH-2.0-x\r\n"), None] {
            let error = fetch_error(response).await;
            assert!(error.contains(NO_GATEWAY), "{response:?}: {error}");
        }
    }
}
