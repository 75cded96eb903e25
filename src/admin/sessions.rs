//! The open sessions as JSON; which of them a request means; ending them.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::{NO_GATEWAY, fetch};
use super::error::{Answer, ApiError};
use super::text::{cut, time};
use crate::net::Protection;
use crate::op::Direction;
use crate::session::{
    LiveAccount, LiveSession, LiveSessions, RunningView, SessionEnd, SessionView,
};

/// The sessions that an operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The one with this number in the log.
    Session(u64),
    /// Those that are logged in, or being logged in, as this user.
    User(String),
    /// Those of clients at this address.
    Address(IpAddr),
    /// Those whose user's route leads to this backend, once a login has begun.
    Backend(String),
}

impl Selection {
    /// For the query of a request.
    fn pair(&self) -> (&'static str, String) {
        match self {
            Self::Session(number) => ("id", number.to_string()),
            Self::User(user) => ("user", user.clone()),
            Self::Address(address) => ("address", address.to_string()),
            Self::Backend(backend) => ("backend", backend.clone()),
        }
    }

    fn includes(&self, session: &LiveSession) -> bool {
        match self {
            Self::Session(number) => session.number() == *number,
            Self::Address(address) => session.client().ip() == *address,
            Self::User(user) => of_account(session, |it| it.user == user.as_bytes()),
            Self::Backend(backend) => of_account(session, |it| it.backend == *backend),
        }
    }
}

fn of_account(session: &LiveSession, is_meant: impl FnOnce(&LiveAccount) -> bool) -> bool {
    session.account().is_some_and(|account| is_meant(&account))
}

/// A request's query.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    selection: Option<Selection>,
    after_transfers: bool,
}

impl Query {
    fn parse(query: &str) -> Result<Self, String> {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let selection = match &*key {
                "id" => Selection::Session(value.parse().map_err(|_| "`id` is not a number")?),
                "user" => Selection::User(value.into_owned()),
                "backend" => Selection::Backend(value.into_owned()),
                "address" => {
                    let address: IpAddr =
                        value.parse().map_err(|_| "`address` is not an IP address")?;
                    Selection::Address(address.to_canonical())
                }
                "after_transfers" => {
                    parsed.after_transfers =
                        value.parse().map_err(|_| "`after_transfers` is neither true nor false")?;
                    continue;
                }
                other => return Err(format!("unknown parameter `{}`", cut(other.as_bytes()))),
            };
            if parsed.selection.replace(selection).is_some() {
                return Err("give only one of `id`, `user`, `address` and `backend`".to_owned());
            }
        }
        Ok(parsed)
    }
}

/// The answer to a request for the sessions; `query`: which, by default all. `limit`: `limits.sessions`.
pub(super) fn json(sessions: &LiveSessions, limit: usize, query: &str) -> Answer {
    let Query { selection, after_transfers } =
        Query::parse(query).map_err(ApiError::bad_request)?;
    if after_transfers {
        return Err(ApiError::bad_request("unknown parameter `after_transfers`"));
    }
    let shown = selected(sessions, selection.as_ref());
    if let (Some(Selection::Session(number)), []) = (&selection, &shown[..]) {
        return Err(unknown(*number));
    }
    let views: Vec<_> = shown.iter().map(|it| it.view()).collect();
    Ok(listed(&views, sessions.len(), limit))
}

/// These, of all that are `open`. `limit`: `limits.sessions`.
pub(super) fn listed(views: &[SessionView], open: usize, limit: usize) -> Value {
    let views: Vec<_> = views.iter().map(session).collect();
    json!({ "sessions": views, "open": open, "sessions_max": limit })
}

/// The answer to a request to end sessions; `query`: exactly one selection, and maybe `after_transfers=true`.
pub(super) fn kick(sessions: &LiveSessions, query: &str) -> Answer {
    let Query { selection, after_transfers } =
        Query::parse(query).map_err(ApiError::bad_request)?;
    let selection = selection.ok_or_else(|| {
        ApiError::bad_request("one of `id`, `user`, `address` and `backend` is missing")
    })?;
    let meant = selected(sessions, Some(&selection));
    if let (Selection::Session(number), []) = (&selection, &meant[..]) {
        return Err(unknown(*number));
    }
    for session in &meant {
        tracing::info!(
            session = session.number(),
            peer = %session.client(),
            after_transfers,
            "an operator ends a session"
        );
        if after_transfers {
            session.end_after_transfers(SessionEnd::by_operator());
        } else {
            session.end_now(SessionEnd::by_operator());
        }
    }
    let numbers: Vec<_> = meant.iter().map(|session| session.number()).collect();
    Ok(json!({ "ended": numbers.len(), "sessions": numbers }))
}

fn selected(sessions: &LiveSessions, selection: Option<&Selection>) -> Vec<Arc<LiveSession>> {
    let mut all = sessions.all();
    all.retain(|session| selection.is_none_or(|selection| selection.includes(session)));
    all
}

fn unknown(number: u64) -> ApiError {
    ApiError::not_found(format!(
        "there is no open session {number}; `lockgate sessions` lists them"
    ))
}

pub(super) fn session(view: &SessionView) -> Value {
    let mut client = socket(view.client);
    client.insert("proxy".into(), json!(view.proxy.map(|proxy| proxy.to_string())));
    client.insert("software".into(), json!(view.software.as_ref().map(|it| cut(it.as_bytes()))));
    let mut session = json!({
        "session": view.session,
        "listener": view.listener,
        "protocol": view.protocol,
        "client": client,
        "gateway": socket(view.local),
        "encryption": view.encryption.as_ref().map(encryption),
        "server_name": view.server_name.as_ref().map(|name| cut(name.as_bytes())),
        "since": time(view.since),
        "seconds": view.duration.as_secs(),
        "state": view.state.as_str(),
        "logged_in": view.logged_in,
        "idle_seconds": view.idle.map(|idle| idle.as_secs()),
        "ending": view.ending,
        "operations": view.operations.iter().map(running).collect::<Vec<_>>(),
        "operations_running": view.operations_running,
        "transfers": view.transfers.iter().map(transfer).collect::<Vec<_>>(),
        "transfers_running": view.transfers_running,
        "uploaded_bytes": view.uploaded,
        "downloaded_bytes": view.downloaded,
        "upload_rate": view.upload_rate,
        "download_rate": view.download_rate,
    });
    let account = view.account.as_ref().map(account);
    if let (Some(session), Some(account)) = (session.as_object_mut(), account) {
        session.extend(account);
    }
    session
}

fn account(account: &LiveAccount) -> Map<String, Value> {
    let server = account.server.as_ref();
    let mut backend = server.map_or_else(Map::new, |server| socket(server.address));
    backend.insert("name".into(), json!(account.backend));
    let protection = server.and_then(|server| server.protection.as_ref());
    backend.insert("encryption".into(), json!(protection.map(encryption)));
    let fields = [
        ("user", json!(cut(&account.user))),
        ("login_name", json!(account.login_name.as_ref().map(|name| cut(name)))),
        ("groups", json!(account.groups)),
        ("method", json!(account.method)),
        ("route", json!(account.route)),
        ("backend", json!((!account.backend.is_empty()).then_some(backend))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn running(running: &RunningView) -> Value {
    json!({
        "operation": running.operation,
        "path": cut(&running.path),
        "to": running.to.as_ref().map(|to| cut(to)),
        "since": time(running.since),
        "seconds": running.duration.as_secs(),
    })
}

pub(super) fn transfer(view: &RunningView) -> Value {
    let mut transfer = running(view);
    transfer["direction"] = json!(view.direction.map(Direction::as_str));
    transfer["size"] = json!(view.size);
    transfer["bytes"] = json!(view.bytes);
    transfer["bytes_read"] = json!(view.bytes_read);
    transfer["rate"] = json!(view.rate);
    transfer
}

fn socket(address: SocketAddr) -> Map<String, Value> {
    let fields = [("address", json!(address.ip().to_string())), ("port", json!(address.port()))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn encryption(protection: &Protection) -> Value {
    json!({
        "protocol": protection.protocol.as_str(),
        "version": protection.version,
        "cipher": protection.cipher,
        "key_exchange": protection.key_exchange,
    })
}

/// Requests the open sessions from a running gateway, for the command line: all, or those selected.
pub async fn fetch_sessions(socket: &Path, selection: Option<&Selection>) -> anyhow::Result<Value> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(selection.map(Selection::pair));
    let fetch = async {
        let sessions = fetch(socket, Method::GET, &format!("/sessions?{}", query.finish())).await?;
        anyhow::ensure!(sessions["sessions"].is_array(), NO_GATEWAY);
        Ok(sessions)
    };
    fetch.await.with_context(|| format!("fetching the sessions from {}", socket.display()))
}

/// Ends sessions of a running gateway; returns how many.
pub async fn kick_sessions(
    socket: &Path,
    selection: &Selection,
    after_transfers: bool,
) -> anyhow::Result<u64> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([selection.pair(), ("after_transfers", after_transfers.to_string())]);
    let path = format!("/sessions/kick?{}", query.finish());
    let kick = async {
        let answer = fetch(socket, Method::POST, &path).await?;
        answer["ended"].as_u64().context(NO_GATEWAY)
    };
    kick.await.with_context(|| format!("asking the gateway at {}", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_selects_exactly_what_it_names() {
        let parsed = |query: &str| Query::parse(query).map(|it| it.selection);
        assert_eq!(parsed(""), Ok(None));
        assert_eq!(parsed("id=7"), Ok(Some(Selection::Session(7))));
        assert_eq!(parsed("user=a%26b+c"), Ok(Some(Selection::User("a&b c".into()))));
        let mapped = Selection::Address("192.0.2.1".parse().unwrap());
        assert_eq!(parsed("address=%3A%3Affff%3A192.0.2.1"), Ok(Some(mapped)));
        for wrong in [
            "id=x",
            "id=-1",
            "id=1&id=2",
            "id=1&user=a",
            "address=a",
            "address=192.0.2.0/24",
            "users=a",
            "after_transfers=yes",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        for selection in [
            Selection::Session(1),
            Selection::User("ä&=\u{1b}".into()),
            Selection::Address("::1".parse().unwrap()),
            Selection::Backend("b".into()),
        ] {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.extend_pairs([selection.pair()]);
            assert_eq!(parsed(&query.finish()), Ok(Some(selection)));
        }
    }

    #[test]
    fn sessions_that_do_not_exist_and_requests_for_none_are_errors() {
        let sessions = LiveSessions::new();
        let error = |answer: Answer| answer.unwrap_err().message;
        assert!(error(kick(&sessions, "id=7")).contains("no open session 7"));
        assert!(error(json(&sessions, 9, "id=7")).contains("no open session 7"));
        for wrong in ["", "after_transfers=true", "user=a&backend=b"] {
            assert!(error(kick(&sessions, wrong)).contains("`id`"), "{wrong}");
        }
        assert!(error(json(&sessions, 9, "after_transfers=true")).contains("after_transfers"));
        assert_eq!(kick(&sessions, "user=a"), Ok(json!({ "ended": 0, "sessions": [] })));
        let none = json!({ "sessions": [], "open": 0, "sessions_max": 9 });
        assert_eq!(json(&sessions, 9, ""), Ok(none));
    }
}
