//! Who the gateway is to the server (RFC 4252, RFC 4256), and what the server can.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::MethodKind;
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Connection, NotReached, unreachable};
use super::host_key::Unpinned;
use super::requests::{Incoming, Outgoing, Requests};
use super::server::{Extensions, Server};
use super::settings::Settings;
use super::status::Expect;
use crate::auth::Credentials;
use crate::backend::Home;
use crate::backend::home::absolute;
use crate::net::Connector;
use crate::op::{Failure, FailureKind, Outage, RemotePath};
use crate::wire::sftp::{
    Extension, Limits, MAX_PACKET, PacketReader, RequestBody, ResponseBody, Version, encode_init,
};

/// For russh to end once nothing more can be tried.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// For the answer to REALPATH; a server that takes longer tells nothing.
const SILENT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// Rounds of questions that a server may ask instead of taking a password.
const ROUNDS: usize = 8;

/// A server ready to work. What is written first on each connection, `header`, is often nothing;
/// `rooted` as in [`crate::backend::Origin`].
pub(super) async fn login(
    settings: &Arc<Settings>,
    connector: &Connector,
    credentials: &Credentials,
    (header, rooted): (&[u8], bool),
    unpinned: &Unpinned,
) -> Result<Server, Failure> {
    let mut connection = reach(settings, connector, header, unpinned).await?;
    let ready = async {
        authenticate(settings, &mut connection, credentials).await?;
        let (reader, writer) = connection.open_channel().await?;
        let ended = CancellationToken::new();
        let on_failure = ended.clone().drop_guard();
        connection.end_with(ended.clone());
        let server = greet(settings, reader, writer, ended, rooted).await?;
        on_failure.disarm();
        Ok(server)
    };
    let ready = timeout(settings.reply_timeout, ready).await;
    ready.unwrap_or_else(|_| {
        Err(unreachable("it did not let the gateway in in time").with_outage(Outage::Timeout))
    })
}

/// A connection to a server that is believed. Each address has its own time to be connected to; then
/// each key exchange has as much.
async fn reach(
    settings: &Arc<Settings>,
    connector: &Connector,
    header: &[u8],
    unpinned: &Unpinned,
) -> Result<Connection, Failure> {
    let reached = connector.connect(settings.connect_timeout).await;
    let (tcp, address) = reached.map_err(|e| unreachable(e).with_outage(Outage::Unreachable))?;
    believe(settings, connector, tcp, address, header, unpinned).await
}

fn too_slow(settings: &Settings, address: &str) -> Failure {
    let message = "the backend server was reached, but did not end the SSH handshake in time; try \
                   again later or tell the gateway's operator";
    let limit = humantime::format_duration(settings.connect_timeout);
    let detail = format!("{address}, within {limit}: is it an SSH server?");
    let late = Failure::backend(FailureKind::Unavailable, message).with_detail(detail);
    late.with_outage(Outage::Timeout)
}

/// A server with several keys may first show another than the pinned one; it is then asked for its
/// others.
async fn believe(
    settings: &Arc<Settings>,
    connector: &Connector,
    mut tcp: TcpStream,
    address: &str,
    header: &[u8],
    unpinned: &Unpinned,
) -> Result<Connection, Failure> {
    let mut shown = Vec::new();
    let mut refusal = None;
    let server = tcp.peer_addr().map_err(unreachable)?;
    loop {
        tcp.write_all(header).await.map_err(unreachable)?;
        let exchanged = connection::exchange_keys(settings, tcp, address, unpinned);
        let exchanged = timeout(settings.connect_timeout, exchanged).await;
        let last = match exchanged.map_err(|_| too_slow(settings, address))? {
            Ok(connection) => return Ok(connection),
            Err(NotReached::OtherKey(failure, kind)) if !shown.contains(&kind) => {
                unpinned.add(&kind);
                shown.push(kind);
                refusal.get_or_insert(failure);
                let again = connector.reconnect(address, server, settings.connect_timeout);
                tcp = again.await.map_err(unreachable)?;
                continue;
            }
            Err(NotReached::OtherKey(failure, _) | NotReached::Failed(failure)) => failure,
        };
        // Its keys may have changed: the next login asks for all kinds again.
        unpinned.forget();
        return Err(refusal.unwrap_or(last));
    }
}

async fn authenticate(
    settings: &Settings,
    connection: &mut Connection,
    credentials: &Credentials,
) -> Result<(), Failure> {
    let (Ok(user), Ok(password)) =
        (std::str::from_utf8(&credentials.user), std::str::from_utf8(&credentials.password))
    else {
        return Err(refused("SSH carries user names and passwords in UTF-8 only, this is neither"));
    };
    let result = match &credentials.key {
        Some(key) => with_key(settings, connection, user, key).await?,
        None => connection.handle.authenticate_password(user, password).await.map_err(broken)?,
    };
    let AuthResult::Failure { remaining_methods, partial_success } = result else { return Ok(()) };
    if remaining_methods.is_empty() && !nothing_is_left(connection).await {
        return Err(unreachable("it closed the connection during the login"));
    }
    let offers = |kind| remaining_methods.contains(&kind);
    if partial_success {
        return Err(refused("it wants a second proof, which the gateway cannot give"));
    }
    match &credentials.key {
        None if offers(MethodKind::KeyboardInteractive) && !offers(MethodKind::Password) => {
            answer_questions(connection, user, password).await
        }
        None => Err(refused("the user name or the password is wrong")),
        Some(_) => Err(refused("it does not take the gateway's key for this user")),
    }
}

/// Whether the server has said that it takes nothing more. russh ends with that as with a lost
/// connection; only its last words tell the two apart.
async fn nothing_is_left(connection: &mut Connection) -> bool {
    let ended = timeout(LAST_WORDS, &mut connection.handle).await;
    matches!(ended, Ok(Err(russh::Error::NoAuthMethod)))
}

async fn with_key(
    settings: &Settings,
    connection: &mut Connection,
    user: &str,
    key: &Arc<PrivateKey>,
) -> Result<AuthResult, Failure> {
    let handle = &mut connection.handle;
    let with = |hash| PrivateKeyWithHashAlg::new(key.clone(), hash);
    if !key.algorithm().is_rsa() {
        return handle.authenticate_publickey(user, with(None)).await.map_err(broken);
    }
    // A server that does not say what it takes knows SHA-2 since years all the same.
    let best = handle.best_supported_rsa_hash().await.map_err(broken)?;
    let best = best.unwrap_or(Some(HashAlg::Sha256));
    let result = handle.authenticate_publickey(user, with(best)).await.map_err(broken)?;
    let can_go_on = matches!(
        &result,
        AuthResult::Failure { remaining_methods, partial_success: false }
            if remaining_methods.contains(&MethodKind::PublicKey)
    );
    // One of before 2016 knows SHA-1 only.
    let sha_1 = Algorithm::Rsa { hash: None };
    if best.is_some() && can_go_on && settings.algorithms.accepts_signature(&sha_1) {
        return handle.authenticate_publickey(user, with(None)).await.map_err(broken);
    }
    Ok(result)
}

/// Keyboard-interactive as a password prompt: one hidden question is the password, nothing else is
/// answered.
async fn answer_questions(
    connection: &mut Connection,
    user: &str,
    password: &str,
) -> Result<(), Failure> {
    let handle = &mut connection.handle;
    let mut answer =
        handle.authenticate_keyboard_interactive_start(user, None).await.map_err(broken)?;
    let mut given = false;
    for _ in 0..ROUNDS {
        let prompts = match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(()),
            KeyboardInteractiveAuthResponse::Failure { .. } => {
                return Err(refused("the user name or the password is wrong"));
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let answers = match prompts.as_slice() {
            [] => Vec::new(),
            [prompt] if !prompt.echo && !given => {
                given = true;
                vec![password.to_owned()]
            }
            _ => return Err(refused("it asks for more than a password")),
        };
        answer = handle.authenticate_keyboard_interactive_respond(answers).await.map_err(broken)?;
    }
    Err(refused("it asks and asks"))
}

/// INIT and VERSION; then what is to be known of the server, in one flight.
pub(super) async fn greet(
    settings: &Arc<Settings>,
    mut incoming: impl Incoming,
    mut outgoing: impl Outgoing,
    ended: CancellationToken,
    rooted: bool,
) -> Result<Server, Failure> {
    let mut init = BytesMut::new();
    encode_init(&mut init);
    outgoing.send(init.freeze()).await.map_err(unreachable)?;
    let mut packets = PacketReader::new(MAX_PACKET);
    let version = loop {
        if let Some(packet) = packets.next().map_err(unreachable)? {
            break Version::decode(packet).map_err(unreachable)?;
        }
        packets.push(incoming.next().await.map_err(unreachable)?);
    };
    // A later version is offered, version 3 is what both then speak.
    if version.version < 3 {
        let said = version.version;
        return Err(unreachable(format!("it speaks version {said} of SFTP, not 3")));
    }
    let extensions = Extensions::of(&version);
    let requests = Requests::start(incoming, outgoing, packets, settings.reply_timeout, ended);
    let limits = extensions.limits.then(|| requests.ask(RequestBody::Extended(Extension::Limits)));
    let home = requests.ask(RequestBody::RealPath { path: Bytes::from_static(b".") });
    let limits = match limits {
        None => Limits::default(),
        Some(limits) => limits
            .await?
            .extended("ask for its limits")
            .ok()
            .and_then(Limits::decode)
            .unwrap_or_default(),
    };
    let told = match timeout((settings.reply_timeout / 2).min(SILENT), home).await {
        Ok(answer) => login_folder(answer?),
        Err(_) => {
            requests.forgive();
            Err(b"no answer".to_vec())
        }
    };
    let about = (&*settings.name, "REALPATH");
    let home = Home::decide(settings.login_folder.as_ref(), told, rooted, about);
    Ok(Server::new(settings.clone(), requests, extensions, limits, home))
}

/// What the answer to REALPATH says, or its words where that is no absolute path.
fn login_folder(answer: ResponseBody) -> Result<RemotePath, Vec<u8>> {
    let words = |failure: Failure| failure.message.into_bytes();
    let names = answer.names("ask for the login folder").map_err(words)?.unwrap_or_default();
    let name = names.into_iter().next().map(|name| name.name).unwrap_or_default();
    absolute(&name).ok_or_else(|| name.to_vec())
}

fn refused(why: &str) -> Failure {
    let message = format_args!("the backend server refused the login: {why}");
    Failure::backend(FailureKind::LoginRefused, message)
}

fn broken(error: russh::Error) -> Failure {
    unreachable(format!("the login was cut: {error}"))
}
