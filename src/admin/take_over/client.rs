//! Asks a running gateway for its sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::Empty;
use hyper::header::{CONNECTION, UPGRADE};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::link::Link;
use super::message::Message;
use super::{PROTOCOL_VERSION, VERSION_HEADER};
use crate::op::escape::printable;
use crate::task;

/// For the answer to the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a gateway was not asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens there.
    #[error(
        "no gateway runs with the admin socket {} ({reason}): start without --take-over", .path.display()
    )]
    NoGateway {
        /// The value of `admin.socket`.
        path: PathBuf,
        /// The error of the operating system.
        reason: std::io::Error,
    },
    /// It runs as another user.
    #[error(
        "the gateway at {} runs as user {theirs}, this process as {ours}: both must be the same user", .path.display()
    )]
    OtherUser {
        /// The value of `admin.socket`.
        path: PathBuf,
        /// Its user id.
        theirs: u32,
        /// The own one.
        ours: u32,
    },
    /// An older release, or one that speaks another version.
    #[error(
        "the gateway at {} is of a release that cannot hand over to this one ({answer}): restart it", .path.display()
    )]
    OtherRelease {
        /// The value of `admin.socket`.
        path: PathBuf,
        /// What it answered.
        answer: String,
    },
    /// It does not answer, or not as a gateway does.
    #[error("asking the gateway at {} to hand over: {reason}", .path.display())]
    Failed {
        /// The value of `admin.socket`.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
}

/// Asks the gateway at this socket to hand over. Returns when it has agreed to try.
///
/// # Errors
/// When there is none, or it runs as another user, or is of another release.
pub async fn ask_to_take_over(path: &Path) -> Result<Link, AskError> {
    let failed = |reason: String| AskError::Failed { path: path.to_owned(), reason };
    let stream = UnixStream::connect(path).await;
    let stream = stream.map_err(|reason| AskError::NoGateway { path: path.to_owned(), reason })?;
    let peer = stream.peer_cred().map_err(|error| failed(error.to_string()))?;
    let (theirs, ours) = (peer.uid(), rustix::process::geteuid().as_raw());
    // The service manager, or the first of several gateways, has begun to listen there.
    if theirs != ours && theirs != 0 {
        return Err(AskError::OtherUser { path: path.to_owned(), theirs, ours });
    }
    match timeout(ANSWER_TIMEOUT, upgrade(stream)).await {
        Ok(Ok(Ok(stream))) => {
            let mut link = Link::new(stream, 0);
            let sent = link.send(&Message::Upgraded).await;
            sent.map_err(|error| failed(error.to_string()))?;
            Ok(link)
        }
        Ok(Ok(Err(answer))) => Err(AskError::OtherRelease { path: path.to_owned(), answer }),
        Ok(Err(error)) => Err(failed(format!("{error:#}"))),
        Err(_) => Err(failed(format!("no answer within {ANSWER_TIMEOUT:?}"))),
    }
}

/// `Ok(Err)`: it answered otherwise.
async fn upgrade(stream: UnixStream) -> anyhow::Result<Result<UnixStream, String>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    task::spawn(connection.with_upgrades());
    let request = Request::builder()
        .method(Method::POST)
        .uri("/take-over")
        .header("host", "lockgate")
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, super::UPGRADE)
        .header(VERSION_HEADER, PROTOCOL_VERSION)
        .body(Empty::<&[u8]>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let theirs = response.headers().get(VERSION_HEADER).and_then(|it| it.to_str().ok());
        return Ok(Err(match theirs {
            Some(theirs) => format!(
                "its protocol version is {}, this one's {PROTOCOL_VERSION}",
                printable(theirs.as_bytes())
            ),
            None => format!("the response is {}", response.status()),
        }));
    }
    let upgraded = hyper::upgrade::on(response).await?;
    match upgraded.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => Ok(Ok(parts.io.into_inner())),
        _ => anyhow::bail!("it sent something before its first message"),
    }
}
