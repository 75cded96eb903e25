//! An open session as JSON, with what it does.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::text::{cut, time};
use crate::net::Protection;
use crate::op::Direction;
use crate::session::{LiveAccount, RunningView, SessionView};

pub(super) fn session(view: &SessionView) -> Value {
    let mut client = socket(view.client);
    client.insert("proxy".into(), json!(view.proxy.map(|proxy| proxy.to_string())));
    client.insert("software".into(), json!(view.software.as_ref().map(|it| cut(it.as_bytes()))));
    let mut session = json!({
        "session": view.session,
        "process": std::process::id(),
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
