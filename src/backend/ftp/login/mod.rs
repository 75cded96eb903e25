//! Connecting and logging in: RFC 959 section 5.4, RFC 4217.

mod connect;
mod tls_alert;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use connect::Opened;

use super::Shared;
use super::connection::{Connection, Marker};
use super::features::Features;
use super::settings::{Dialect, Settings, TlsMode};
use super::{pwd, reply, reply_codes};
use crate::auth::Credentials;
use crate::backend::{Origin, Presented};
use crate::net::Peer;
use crate::net::tls::CertificateSummary;
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation};

/// The most time between the replies to two pipelined commands. A server that takes longer has
/// dropped the second one.
const PIPELINE_TIMEOUT: Duration = Duration::from_secs(3);

/// The directory in which the login put the user, or what the server sent instead.
pub(super) type LoginFolder = Result<RemotePath, Vec<u8>>;

/// Logs in and sets the session up.
pub(super) async fn login(
    settings: &Arc<Settings>,
    shared: &Arc<Shared>,
    credentials: &Credentials,
    origin: Origin,
) -> Result<(Connection, LoginFolder), Failure> {
    let (mut is_sequential, mut skip_pwd) = (settings.dialect == Dialect::Opaque, false);
    loop {
        let mut connection =
            connect_and_authenticate(settings, shared, credentials, origin).await?;
        let server = connection.server.clone();
        is_sequential |= server.no_pipelining.is_known();
        let result = if is_sequential {
            send_sequentially(&mut connection, skip_pwd).await?
        } else {
            send_pipelined(&mut connection).await?
        };
        let reason = match result {
            Ok(replies) => {
                let login_folder = apply_replies(&mut connection, replies)?;
                return Ok((connection, login_folder));
            }
            Err(reason) => reason,
        };
        // An open session counts against the user's limit at some servers.
        connection.quit().await;
        skip_pwd = is_sequential;
        is_sequential = true;
        if !skip_pwd && server.no_pipelining.note() {
            tracing::info!(
                server = %server.address,
                reason,
                "the backend server does not answer pipelined commands one by one; commands are now \
                 sent one at a time"
            );
        }
    }
}

/// Connects up to the greeting, with TLS as configured, and leaves.
pub(super) async fn greet(settings: &Settings, shared: &Shared) -> Result<Presented, Failure> {
    let Opened { mut control, greeting, .. } =
        connect::open(settings, shared, Origin::CHECK).await?;
    let protection = control.stream().protection();
    let presented = Presented {
        peer: control.peer().ok().map(|address| Peer { address, protection }),
        greeting: Some(greeting.to_string()),
        certificate: CertificateSummary::of_peer(control.stream()),
        host_key: None,
    };
    // Best effort: the reply is not awaited.
    let _ = control.send("QUIT", None).await;
    control.shutdown().await;
    Ok(presented)
}

/// Connects with TLS as configured, and authenticates.
async fn connect_and_authenticate(
    settings: &Arc<Settings>,
    shared: &Arc<Shared>,
    credentials: &Credentials,
    origin: Origin,
) -> Result<Connection, Failure> {
    let Opened { control, tls, .. } = connect::open(settings, shared, origin).await?;
    let server = shared.servers.at(control.peer()?);
    let mut connection = Connection::new(control, settings.clone(), server, origin, tls);
    authenticate(&mut connection, credentials).await?;
    connection.logged_in = true;
    Ok(connection)
}

async fn authenticate(
    connection: &mut Connection,
    credentials: &Credentials,
) -> Result<(), Failure> {
    let mut reply = connection.command("USER", Some(&credentials.user)).await?;
    if reply.code == 331 {
        credentials.sent.set();
        reply = connection.command("PASS", Some(&credentials.password)).await?;
    }
    if reply.code == 332 {
        let Some(account) = &credentials.account else {
            return Err(Failure::backend(
                FailureKind::AccountNeeded,
                "the backend server requires an account (ACCT)",
            )
            .with_peer(reply));
        };
        reply = connection.command("ACCT", Some(account)).await?;
    }
    match reply.code {
        200..=299 => Ok(()),
        _ => {
            let shown = without_secrets(&reply, credentials);
            let message = format!("the backend server refused the login: {shown}");
            Err(Failure::backend(FailureKind::LoginRefused, message).with_peer(reply))
        }
    }
}

/// The reply without passwords, for the log: some servers repeat the command that they refuse.
fn without_secrets(reply: &PeerReply, credentials: &Credentials) -> String {
    let secrets = [Some(&credentials.password), credentials.account.as_ref()];
    let shows_secret = secrets.into_iter().flatten().any(|secret| {
        let contains_secret =
            |line: &Vec<u8>| line.windows(secret.len()).any(|w| w == secret.as_slice());
        !secret.is_empty() && reply.lines.iter().any(contains_secret)
    });
    if shows_secret {
        format!("{} (the text is not shown: it contains a password)", reply.code)
    } else {
        reply.to_string()
    }
}

const PWD: &str = "PWD";

/// A command and its reply.
type CommandReply = (&'static str, PeerReply);

/// The commands that follow every login. PBSZ and PROT (RFC 4217) are sent after it, since some servers
/// refuse them before. UTF-8 is requested without looking at FEAT: a server without it refuses, and
/// nothing changes. An opaque server's settings are the client's.
fn setup_commands(settings: &Settings) -> &'static [&'static str] {
    if settings.dialect == Dialect::Opaque {
        return match &settings.tls {
            TlsMode::None => &[PWD],
            _ => &["PBSZ 0", "PROT P", PWD],
        };
    }
    match (&settings.tls, settings.minds_names_of_windows()) {
        (TlsMode::None, false) => &["FEAT", "OPTS UTF8 ON", PWD, "TYPE I"],
        (TlsMode::None, true) => &["SYST", "FEAT", "OPTS UTF8 ON", PWD, "TYPE I"],
        (_, false) => &["PBSZ 0", "PROT P", "FEAT", "OPTS UTF8 ON", PWD, "TYPE I"],
        (_, true) => &["PBSZ 0", "PROT P", "SYST", "FEAT", "OPTS UTF8 ON", PWD, "TYPE I"],
    }
}

/// The replies to all commands, or why there are none.
type PipelineResult = Result<Vec<CommandReply>, String>;

/// Pipelines the commands. Fails if the server replies to the first of them but not to the others,
/// or with codes that cannot be replies to them.
async fn send_pipelined(connection: &mut Connection) -> Result<PipelineResult, Failure> {
    let commands = setup_commands(&connection.settings);
    let lines: Vec<&[u8]> = commands.iter().map(|command| command.as_bytes()).collect();
    connection.control.send_all(&lines).await?;
    let mut replies: Vec<CommandReply> = Vec::new();
    for &command in commands {
        let reply = if replies.is_empty() {
            connection.control.reply().await?
        } else {
            match timeout(PIPELINE_TIMEOUT, connection.control.reply()).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(_)) | Err(_) => return Ok(Err(format!("no reply to {command}"))),
            }
        };
        let verb = command.split(' ').next().unwrap_or(command);
        if !reply_codes::can_answer(verb, &reply) {
            let reason = format!("{command} was answered with {reply}");
            connection.control.drop_surplus(reply);
            connection.note_surplus();
            return Ok(Err(reason));
        }
        replies.push((command, reply));
    }
    Ok(Ok(replies))
}

/// Sends each command after the reply to the previous one. Fails if the server does not reply to
/// PWD: the connection is out of sync then. `skip_pwd`: PWD is not sent.
async fn send_sequentially(
    connection: &mut Connection,
    skip_pwd: bool,
) -> Result<PipelineResult, Failure> {
    let mut replies = Vec::new();
    for &command in setup_commands(&connection.settings) {
        if command == PWD && skip_pwd {
            continue;
        }
        let (verb, argument) = command.split_once(' ').unwrap_or((command, ""));
        let argument = Some(argument.as_bytes()).filter(|argument| !argument.is_empty());
        let pwd_timeout = connection.settings.timing.pwd_timeout;
        let sent = connection.command(verb, argument);
        let mut reply = match command {
            PWD => match timeout(pwd_timeout, sent).await {
                Ok(Err(failure)) if failure.peer.is_some() => return Err(failure),
                Ok(Ok(reply)) => reply,
                Ok(Err(_)) | Err(_) => return Ok(Err("no reply to PWD".to_owned())),
            },
            _ => sent.await?,
        };
        if command == PWD && reply.code >= 400 && connection.server.surplus_replies.is_known() {
            // A surplus refusal of an earlier command does not apply to this one.
            reply = connection.command(verb, argument).await?;
        }
        replies.push((command, reply));
    }
    Ok(Ok(replies))
}

/// Applies the replies to [`setup_commands`]; returns the login directory.
fn apply_replies(
    connection: &mut Connection,
    replies: Vec<CommandReply>,
) -> Result<LoginFolder, Failure> {
    let mut login_folder = Err(b"no reply".to_vec());
    // Servers with implicit TLS protect data connections anyway; some do not know the commands.
    let implicit = matches!(connection.settings.tls, TlsMode::Implicit(_));
    let has_reply = |command: &str, code| {
        replies.iter().any(|(sent, reply)| *sent == command && reply.code == code)
    };
    let candidates = [(PWD, Marker::default()), ("FEAT", Marker::FEAT)];
    let answered = candidates.into_iter().find(|(command, marker)| has_reply(command, marker.code));
    let otherwise = match connection.settings.dialect {
        Dialect::Unix => Marker::TYPE,
        Dialect::Opaque => Marker::NOOP,
    };
    connection.marker = answered.map_or(otherwise, |(_, marker)| marker);
    for (command, reply) in replies {
        if reply.code == 421 {
            return Err(reply::failure(command, reply));
        }
        match command {
            "PBSZ 0" | "PROT P" if implicit && matches!(reply.code, 500 | 502..=504) => {}
            "PBSZ 0" | "PROT P" => {
                reply::expect(2, command, reply)
                    .map_err(connect::unmet_requirement("does not protect data connections"))?;
            }
            "SYST" if reply.lines.iter().any(|line| line.starts_with(b"Windows")) => {
                connection.server.note_windows_names(&connection.settings, "215 Windows_NT");
            }
            "FEAT" if reply.code == 211 => connection.features = Features::parse(&reply),
            PWD => {
                login_folder = pwd::directory(&reply).ok_or_else(|| reply.to_string().into_bytes());
            }
            "TYPE I" if reply.code / 100 == 2 => connection.note_type(Representation::Image),
            _ => {}
        }
    }
    Ok(login_folder)
}
