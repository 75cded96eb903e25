//! One request to a login hook: HTTP/1.1 on a connection of its own, over TLS or a Unix socket.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::Builder;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use super::error::{HookError, HookFault};
use crate::net::prepare;
use crate::net::tls::{ClientTls, DistrustedCertificate};
use crate::task;

/// The longest body of an answer, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// The longest header of an answer, in bytes.
const HEADER_MAX: usize = 16 * 1024;
/// The most lines of an answer's header.
const HEADER_LINES_MAX: usize = 64;
const JSON: &str = "application/json";

/// Where a hook is asked.
pub struct Endpoint {
    /// The server.
    pub server: Server,
    /// The path with the query, from the first `/` on.
    pub path: String,
}

/// A hook's server.
pub enum Server {
    /// `url`.
    Tcp {
        /// `host:port`; all addresses of a name are tried in order.
        address: String,
        /// As in the URL, for the Host field.
        authority: String,
        /// `None`: in clear (`danger_clear_text`).
        tls: Option<Arc<ClientTls>>,
    },
    /// `socket`: a Unix socket.
    Socket(PathBuf),
}

/// The secret that the gateway shows to a hook (`token_file`), as a value of the Authorization field.
pub struct Token(HeaderValue);

/// A token that cannot be sent. Fault: the operator's.
#[derive(Debug, thiserror::Error)]
#[error(
    "the token may have only visible ASCII characters and no spaces (RFC 6750 section 2.1), on one line"
)]
pub struct BadToken;

impl Token {
    /// The token without the word `Bearer`.
    pub fn new(token: &str) -> Result<Self, BadToken> {
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(BadToken);
        }
        let text = Zeroizing::new(format!("Bearer {token}"));
        let mut value = HeaderValue::from_str(&text).map_err(|_| BadToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Endpoint {
    /// Sends the question; returns the body of an answer with status 200. Takes as long as the server does;
    /// the connection ends when the future is dropped.
    pub(super) async fn ask(
        &self,
        token: Option<&Token>,
        question: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, HookError> {
        let request = self.request(token, question)?;
        match &self.server {
            Server::Socket(path) => {
                let connected = UnixStream::connect(path).await;
                let stream = connected.map_err(|error| {
                    unreachable(format!("cannot connect to the socket {}: {error}", path.display()))
                })?;
                exchange(stream, request).await
            }
            Server::Tcp { address, tls, .. } => {
                let connected = TcpStream::connect(address.as_str()).await;
                let tcp = connected.map_err(|error| {
                    unreachable(format!("cannot connect to {address}: {error}"))
                })?;
                prepare(&tcp);
                let Some(tls) = tls else { return exchange(tcp, request).await };
                let stream = tls.connect(tcp).await.map_err(|error| no_tls(&error))?;
                exchange(stream, request).await
            }
        }
    }

    fn request(
        &self,
        token: Option<&Token>,
        question: Zeroizing<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, HookError> {
        let host = match &self.server {
            Server::Tcp { authority, .. } => authority,
            Server::Socket(_) => "localhost",
        };
        // Wiped when it has been sent.
        let body = Full::new(Bytes::from_owner(question));
        let request = Request::post(self.path.as_str())
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, JSON)
            .header(header::ACCEPT, JSON)
            .header(header::CONNECTION, "close");
        let request = match token {
            Some(token) => request.header(header::AUTHORIZATION, token.0.clone()),
            None => request,
        };
        request
            .body(body)
            .map_err(|error| unreachable(format!("its address is not valid: {error}")))
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Zeroizing<Vec<u8>>, HookError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_buf_size(HEADER_MAX).max_headers(HEADER_LINES_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _connection = AbortOnDropHandle::new(task::spawn(connection));
    let response = sender.send_request(request).await.map_err(broken)?;
    check_header(&response)?;
    body(response.into_body()).await
}

fn check_header(response: &Response<Incoming>) -> Result<(), HookError> {
    let status = response.status();
    if status != StatusCode::OK {
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; check `token_file`",
            StatusCode::NOT_FOUND => "; check the path of `url`",
            _ if status.is_redirection() => {
                "; redirects are not followed: set `url` to the last one"
            }
            _ => "",
        };
        let text = format!("it answered with status {} instead of 200{advice}", status.as_u16());
        return Err(HookError::new(HookFault::Status, text));
    }
    if !is_json(response.headers()) {
        let text = "its answer does not have the Content-Type application/json";
        return Err(HookError::malformed(text));
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(JSON)
}

async fn body(mut incoming: Incoming) -> Result<Zeroizing<Vec<u8>>, HookError> {
    // It may have a password: no copy is left where the buffer has grown.
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_MAX));
    while let Some(frame) = incoming.frame().await {
        let Ok(bytes) = frame.map_err(broken)?.into_data() else { continue };
        if body.len() + bytes.len() > ANSWER_MAX {
            let text = format!("its answer is longer than {} KiB", ANSWER_MAX / 1024);
            return Err(HookError::malformed(text));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

fn unreachable(text: String) -> HookError {
    HookError::new(HookFault::Unreachable, text)
}

fn no_tls(error: &std::io::Error) -> HookError {
    let text = match DistrustedCertificate::of(error) {
        // The settings have other names than those of backends.
        Some(distrusted) => distrusted
            .to_string()
            .replace("`tls.server_name`", "the host of the hook's `url`")
            .replace("`tls.ca`", "the hook's `ca`"),
        None => format!("the TLS handshake failed: {error}"),
    };
    unreachable(text)
}

fn broken(error: hyper::Error) -> HookError {
    if error.is_parse() {
        return HookError::malformed(format!("its answer is no HTTP/1.1, or too long: {error}"));
    }
    unreachable(format!("the connection ended before the answer was complete: {error}"))
}
