//! The login: authentication (RFC 4252, RFC 4256), the SFTP version, and what the server offers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::MethodKind;
use russh::client::{AuthResult, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKeyWithHashAlg};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::{self, ConnectError, Connection, unreachable};
use super::host_key::Unpinned;
use super::requests::{Incoming, Outgoing, Requests};
use super::server::{Extensions, Server};
use super::settings::Settings;
use super::status::Expect;
use crate::auth::{Credentials, LoginKey};
use crate::backend::home::absolute;
use crate::backend::{Home, Presented};
use crate::net::{ConnectEnd, Connector};
use crate::op::{Failure, FailureKind, Outage, RemotePath};
use crate::wire::sftp::{
    Extension, Limits, MAX_PACKET, PacketReader, RequestBody, ResponseBody, Version, encode_init,
};

/// For russh to end when no authentication method is left.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// Rounds of keyboard-interactive prompts that a server may send.
const MAX_PROMPT_ROUNDS: usize = 8;

/// Connects and logs in. `header`: what each connection starts with, if anything; `rooted` as in
/// [`crate::backend::Origin`].
pub(super) async fn login(
    settings: &Arc<Settings>,
    connector: &Connector,
    credentials: &Credentials,
    (header, rooted): (&[u8], bool),
    unpinned: &Unpinned,
) -> Result<Server, Failure> {
    let mut connection = connect(settings, connector, header, unpinned).await?;
    let ready = async {
        authenticate(settings, &mut connection, credentials).await?;
        let (reader, writer) = connection.open_channel().await?;
        let ended = CancellationToken::new();
        let on_failure = ended.clone().drop_guard();
        let peer = connection.peer.clone();
        connection.end_with(ended.clone());
        let server = initialize(settings, reader, writer, ended, rooted).await?.with_peer(peer);
        on_failure.disarm();
        Ok(server)
    };
    let ready = timeout(settings.reply_timeout, ready).await;
    ready.unwrap_or_else(|_| {
        let limit = humantime::format_duration(settings.reply_timeout);
        let detail = format!("the login took longer than {limit} (reply_timeout)");
        Err(unreachable(detail).with_outage(Outage::Timeout))
    })
}

/// Connects up to the key exchange, with the check of the host key, and leaves.
pub(super) async fn greet(
    settings: &Arc<Settings>,
    connector: &Connector,
    header: &[u8],
    unpinned: &Unpinned,
) -> Result<Presented, Failure> {
    let connection = connect(settings, connector, header, unpinned).await?;
    let (peer, host_key) = (connection.peer.clone(), connection.host_key.clone());
    let ended = CancellationToken::new();
    ended.cancel();
    connection.end_with(ended);
    Ok(Presented { peer, host_key, ..Presented::default() })
}

/// A connection to an authenticated server. `connect_timeout` applies to each address, and again to each
/// key exchange.
async fn connect(
    settings: &Arc<Settings>,
    connector: &Connector,
    header: &[u8],
    unpinned: &Unpinned,
) -> Result<Connection, Failure> {
    let connecting = connector.connecting();
    let connection = connect_unmeasured(settings, connector, header, unpinned).await;
    connecting.ended(ConnectEnd::of(&connection));
    connection
}

async fn connect_unmeasured(
    settings: &Arc<Settings>,
    connector: &Connector,
    header: &[u8],
    unpinned: &Unpinned,
) -> Result<Connection, Failure> {
    let connected = connector.connect(settings.connect_timeout).await;
    let (tcp, address) = connected.map_err(|e| unreachable(e).with_outage(Outage::Unreachable))?;
    exchange_keys(settings, connector, tcp, address, header, unpinned).await
}

fn too_slow(settings: &Settings, address: &str) -> Failure {
    let message = "the backend server was reached, but did not finish the SSH handshake in time; try \
                   again later or contact the gateway's operator";
    let limit = humantime::format_duration(settings.connect_timeout);
    let detail = format!("{address}, within {limit} (connect_timeout): is it an SSH server?");
    let failure = Failure::backend(FailureKind::Unavailable, message).with_detail(detail);
    failure.with_outage(Outage::Timeout)
}

/// A server with several keys may first present another than the pinned one; then its other kinds are
/// requested.
async fn exchange_keys(
    settings: &Arc<Settings>,
    connector: &Connector,
    mut tcp: TcpStream,
    address: &str,
    header: &[u8],
    unpinned: &Unpinned,
) -> Result<Connection, Failure> {
    let mut presented = Vec::new();
    let mut refusal = None;
    let server = tcp.peer_addr().map_err(unreachable)?;
    loop {
        tcp.write_all(header).await.map_err(unreachable)?;
        let exchanged = connection::exchange_keys(settings, tcp, address, unpinned);
        let exchanged = timeout(settings.connect_timeout, exchanged).await;
        let last = match exchanged.map_err(|_| too_slow(settings, address))? {
            Ok(connection) => return Ok(connection),
            Err(ConnectError::OtherKey(failure, kind)) if !presented.contains(&kind) => {
                unpinned.add(&kind);
                presented.push(kind);
                refusal.get_or_insert(failure);
                let again = connector.reconnect(address, server, settings.connect_timeout);
                tcp = again.await.map_err(unreachable)?;
                continue;
            }
            Err(ConnectError::OtherKey(failure, _) | ConnectError::Failed(failure)) => failure,
        };
        // Its keys may have changed: the next login requests all kinds again.
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
        return Err(refused(
            "SSH carries only user names and passwords in UTF-8, and these are not",
        ));
    };
    let result = match &credentials.key {
        Some(key) => with_key(settings, connection, user, key).await?,
        None => {
            credentials.sent.set();
            connection.handle.authenticate_password(user, password).await.map_err(broken)?
        }
    };
    let AuthResult::Failure { remaining_methods, partial_success } = result else { return Ok(()) };
    if remaining_methods.is_empty() && !no_method_is_left(connection).await {
        return Err(unreachable("it closed the connection during the login"));
    }
    let offers = |kind| remaining_methods.contains(&kind);
    if partial_success {
        return Err(refused(
            "it requires a second authentication method, which the gateway does not support",
        ));
    }
    match &credentials.key {
        None if offers(MethodKind::KeyboardInteractive) && !offers(MethodKind::Password) => {
            answer_prompts(connection, user, password).await
        }
        None => Err(refused("the user name or the password is wrong")),
        Some(LoginKey { certificate: None, .. }) => {
            Err(refused("it does not accept the gateway's key for this user"))
        }
        Some(LoginKey { certificate: Some(_), .. }) => Err(refused(
            "it does not accept the gateway's certificate for this user: it must trust the authority \
             (TrustedUserCAKeys), and the principal must be one of the user's; its log tells more",
        )),
    }
}

/// Whether the server listed no further method. russh ends then as it does when the connection is lost;
/// only its error distinguishes the two.
async fn no_method_is_left(connection: &mut Connection) -> bool {
    let ended = timeout(END_TIMEOUT, &mut connection.handle).await;
    matches!(ended, Ok(Err(russh::Error::NoAuthMethod)))
}

async fn with_key(
    settings: &Settings,
    connection: &mut Connection,
    user: &str,
    LoginKey { key, certificate }: &LoginKey,
) -> Result<AuthResult, Failure> {
    let handle = &mut connection.handle;
    if let Some(certificate) = certificate {
        let certificate = Certificate::clone(certificate);
        let login = handle.authenticate_openssh_cert(user, key.clone(), certificate);
        return login.await.map_err(broken);
    }
    let with = |hash| PrivateKeyWithHashAlg::new(key.clone(), hash);
    if !key.algorithm().is_rsa() {
        return handle.authenticate_publickey(user, with(None)).await.map_err(broken);
    }
    // Servers that do not list their algorithms support SHA-2 as well, unless they are very old.
    let best = handle.best_supported_rsa_hash().await.map_err(broken)?;
    let best = best.unwrap_or(Some(HashAlg::Sha256));
    let result = handle.authenticate_publickey(user, with(best)).await.map_err(broken)?;
    let may_retry = matches!(
        &result,
        AuthResult::Failure { remaining_methods, partial_success: false }
            if remaining_methods.contains(&MethodKind::PublicKey)
    );
    // Servers from before 2016 know only SHA-1.
    let sha_1 = Algorithm::Rsa { hash: None };
    if best.is_some() && may_retry && settings.algorithms.accepts_signature(&sha_1) {
        return handle.authenticate_publickey(user, with(None)).await.map_err(broken);
    }
    Ok(result)
}

/// Keyboard-interactive (RFC 4256) as a password prompt: one hidden prompt is answered with the password,
/// anything else is refused.
async fn answer_prompts(
    connection: &mut Connection,
    user: &str,
    password: &str,
) -> Result<(), Failure> {
    let handle = &mut connection.handle;
    let mut response =
        handle.authenticate_keyboard_interactive_start(user, None).await.map_err(broken)?;
    let mut sent_password = false;
    for _ in 0..MAX_PROMPT_ROUNDS {
        let prompts = match response {
            KeyboardInteractiveAuthResponse::Success => return Ok(()),
            KeyboardInteractiveAuthResponse::Failure { .. } => {
                return Err(refused("the user name or the password is wrong"));
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let answers = match prompts.as_slice() {
            [] => Vec::new(),
            [prompt] if !prompt.echo && !sent_password => {
                sent_password = true;
                vec![password.to_owned()]
            }
            _ => return Err(refused("it asks for more than a password")),
        };
        response =
            handle.authenticate_keyboard_interactive_respond(answers).await.map_err(broken)?;
    }
    Err(refused("it does not stop asking questions"))
}

/// INIT and VERSION (draft-ietf-secsh-filexfer-02 section 4); then the limits and the login folder, in one
/// flight.
pub(super) async fn initialize(
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
    // A server that supports later versions must use the offered version 3.
    if version.version < 3 {
        let version = version.version;
        return Err(unreachable(format!("it speaks version {version} of SFTP, not 3")));
    }
    let extensions = Extensions::of(&version);
    let requests = Requests::start(incoming, outgoing, packets, settings.reply_timeout, ended);
    let limits = extensions.limits.then(|| requests.send(RequestBody::Extended(Extension::Limits)));
    let home = requests.send(RequestBody::RealPath { path: Bytes::from_static(b".") });
    let limits = match limits {
        None => Limits::default(),
        Some(limits) => limits
            .await?
            .extended("get its limits")
            .ok()
            .and_then(Limits::decode)
            .unwrap_or_default(),
    };
    let limit = (settings.reply_timeout / 2).min(settings.realpath_timeout);
    let reported = match timeout(limit, home).await {
        Ok(response) => login_folder(response?),
        Err(_) => {
            requests.make_pending_optional();
            Err(b"no answer".to_vec())
        }
    };
    let home = Home::decide(settings.login_folder.as_ref(), reported, rooted, "REALPATH");
    Ok(Server::new(settings.clone(), requests, extensions, limits, home))
}

/// The path in the response to REALPATH. `Err`: the text that it has instead of an absolute path.
fn login_folder(response: ResponseBody) -> Result<RemotePath, Vec<u8>> {
    let text = |failure: Failure| failure.message.into_bytes();
    let names = response.names("get the login folder").map_err(text)?.unwrap_or_default();
    let name = names.into_iter().next().map(|name| name.name).unwrap_or_default();
    absolute(&name).ok_or_else(|| name.to_vec())
}

fn refused(why: &str) -> Failure {
    let message = format_args!("the backend server refused the login: {why}");
    Failure::backend(FailureKind::LoginRefused, message)
}

fn broken(error: russh::Error) -> Failure {
    unreachable(format!("the connection failed during the login: {error}"))
}
