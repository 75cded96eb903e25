//! The operators' address (`admin.address`): what the socket has, over HTTP or HTTPS, for those who show the
//! token; and the status page, which browsers log in to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use hyper::header::{
    AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use prometheus::{IntCounterVec, Registry};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{Access, Shown};
use super::api::{Api, json_page};
use super::client::RESTART_TIMEOUT;
use super::cookie::{self, Cookies};
use super::error::ApiError;
use super::guesses::Guesses;
use super::http::{self, Page};
use crate::metrics;
use crate::net::{self, Acceptor, SocketOwner, Sockets, Stream};
use crate::op::escape::printable;
use crate::task;

/// The bound address.
pub struct AdminEndpoint {
    socket: Arc<Acceptor>,
    address: SocketAddr,
    refused: IntCounterVec,
}

struct Service {
    endpoint: AdminEndpoint,
    api: Api,
    guesses: Guesses,
    cookies: Cookies,
}

impl AdminEndpoint {
    /// Opens `admin.address`. Connections wait in the kernel's queue until it is served.
    pub fn bind(address: SocketAddr, sockets: &Sockets, registry: &Registry) -> io::Result<Self> {
        let socket = sockets.open(address, &SocketOwner::Admin, ("admin", 0))?;
        let refused = metrics::counters(
            registry,
            "lockgate_admin_requests_refused_total",
            "Requests at the admin address that were refused",
            &["reason"],
        );
        let refused = refused.map_err(io::Error::other)?;
        for reason in ["host", "missing", "not-configured", "origin", "token", "url"] {
            refused.with_label_values(&[reason]);
        }
        Ok(Self { address: socket.local_addr()?, socket, refused })
    }

    /// With the actual port where 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    pub(super) fn serve(self, api: Api, stop: CancellationToken) {
        let (guesses, cookies) = (Guesses::new(), Cookies::default());
        let this = Arc::new(Service { endpoint: self, api, guesses, cookies });
        let socket = this.clone();
        let accept = move || {
            let this = socket.clone();
            async move {
                let (tcp, client) = net::accept(&this.endpoint.socket).await;
                (opened(tcp, this.access()), client.ip())
            }
        };
        let respond = move |request, client| {
            let this = this.clone();
            async move { this.respond(&request, client).await }
        };
        task::spawn(stop.run_until_cancelled_owned(async move {
            http::serve((RESTART_TIMEOUT, &TaskTracker::new()), accept, respond).await;
        }));
    }
}

/// `None`: the handshake failed.
async fn opened(tcp: TcpStream, access: Option<Arc<Access>>) -> Option<Stream> {
    match &access?.tls {
        None => Some(Stream::Plain(tcp)),
        Some(tls) => tls.control_session().accept_control(tcp).await.ok().flatten(),
    }
}

impl Service {
    /// Of the configuration in force: another certificate and token need no restart.
    fn access(&self) -> Option<Arc<Access>> {
        self.api.control.in_force().access.clone()
    }

    async fn respond(&self, request: &Parts, client: IpAddr) -> Page {
        let access = self.access();
        let admitted = access.ok_or_else(|| {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the configuration has no admin.address")
        });
        let admitted = admitted.and_then(|access| {
            access.check(request, self.endpoint.address)?;
            Ok((self.admit(&access, request, client)?, access))
        });
        let (admitted, access) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return self.refused(&request.headers, error),
        };
        // Who logs out has shown nothing.
        if request.method == Method::POST && admitted != Admitted::LogsOut {
            let path = printable(request.uri.path().as_bytes()).to_string();
            tracing::info!(%client, path, "a change was asked for at the admin address");
        }
        let cookie = match admitted {
            Admitted::Asks => return self.api.respond(&request.method, &request.uri).await,
            Admitted::LogsIn => self.cookies.issue(&access.token, now()),
            Admitted::LogsOut => {
                access.cookie_values(&request.headers).for_each(|value| self.cookies.end(value));
                String::new()
            }
        };
        let mut response = json_page(Ok(Value::Null));
        if let Ok(field) = HeaderValue::from_str(&set_cookie(&access, request, &cookie)) {
            response.headers_mut().insert(SET_COOKIE, field);
        }
        response
    }

    fn admit(
        &self,
        access: &Access,
        request: &Parts,
        client: IpAddr,
    ) -> Result<Admitted, ApiError> {
        let is_change = request.method == Method::POST;
        let shown = access.shown(&request.headers, &self.cookies, now());
        match (is_change, request.uri.path(), shown) {
            // The page, which asks for the token.
            (false, "/", _) => Ok(Admitted::Asks),
            (true, "/logout", _) => Ok(Admitted::LogsOut),
            (true, "/login", Shown::Token) => Ok(Admitted::LogsIn),
            (_, _, Shown::WrongToken) => Err(self.wrong_token(client)),
            (true, "/login", _) | (_, _, Shown::Nothing) => {
                let message =
                    "the token is missing: send it in the Authorization field (Bearer), or log in";
                Err(ApiError::new(StatusCode::UNAUTHORIZED, message))
            }
            (_, _, Shown::Token | Shown::Cookie) => Ok(Admitted::Asks),
        }
    }

    fn wrong_token(&self, client: IpAddr) -> ApiError {
        if !self.guesses.is_answered() {
            let message = "too many wrong tokens were shown; try again later";
            return ApiError::new(StatusCode::TOO_MANY_REQUESTS, message);
        }
        tracing::warn!(%client, "a wrong token was shown at the admin address");
        ApiError::new(StatusCode::UNAUTHORIZED, "this is not the token of admin.token_file")
    }

    fn refused(&self, headers: &HeaderMap, error: ApiError) -> Page {
        let (reason, field) = match error.status {
            StatusCode::MISDIRECTED_REQUEST => ("host", None),
            StatusCode::FORBIDDEN => ("origin", None),
            StatusCode::BAD_REQUEST => ("url", None),
            StatusCode::SERVICE_UNAVAILABLE => ("not-configured", None),
            StatusCode::TOO_MANY_REQUESTS => ("token", Some((RETRY_AFTER, "1"))),
            _ => {
                // The page's first request has none yet.
                let reason = if headers.contains_key(AUTHORIZATION) { "token" } else { "missing" };
                (reason, Some((WWW_AUTHENTICATE, "Bearer realm=\"lockgate\"")))
            }
        };
        self.endpoint.refused.with_label_values(&[reason]).inc();
        let mut response = json_page(Err(error));
        if let Some((name, value)) = field {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// What an admitted request does.
#[derive(PartialEq, Eq)]
enum Admitted {
    /// It reads or changes something.
    Asks,
    /// It gets a cookie for the token.
    LogsIn,
    /// It gives the cookie up.
    LogsOut,
}

/// The field that keeps a value in the browser, or removes an empty one.
fn set_cookie(access: &Access, request: &Parts, value: &str) -> String {
    let name = access.cookie_name(&request.headers);
    let seconds = if value.is_empty() { 0 } else { cookie::LIFETIME.as_secs() };
    let secure = if access.tls.is_some() { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
