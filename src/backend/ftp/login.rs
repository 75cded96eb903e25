//! Connecting and logging in: RFC 959 section 5.4, RFC 4217.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Shared;
use super::connection::{Connection, Marker};
use super::control::Control;
use super::features::Features;
use super::settings::{Settings, TlsMode};
use super::{pwd, reply, shapes};
use crate::auth::Credentials;
use crate::backend::{Origin, SendProxyProtocol};
use crate::net::Stream;
use crate::net::tls::{ClientTls, Distrust, DistrustedCertificate};
use crate::op::{Failure, FailureKind, Outage, PeerReply, RemotePath, Representation};

/// Between two replies to commands that were sent in one flight; a server that takes longer has
/// dropped the second one.
const DROPPED: Duration = Duration::from_secs(3);

/// Where the login put the user, or what the server says instead.
pub(super) type Told = Result<RemotePath, Vec<u8>>;

/// A session ready to work.
pub(super) async fn login(
    settings: &Arc<Settings>,
    shared: &Arc<Shared>,
    credentials: &Credentials,
    origin: Origin,
) -> Result<(Connection, Told), Failure> {
    let (mut one_by_one, mut without_pwd) = (false, false);
    loop {
        let mut connection = entered(settings, shared, credentials, origin).await?;
        let server = connection.server.clone();
        one_by_one |= server.no_flights.is_known();
        let answered = if one_by_one {
            ask_one_by_one(&mut connection, without_pwd).await?
        } else {
            ask_at_once(&mut connection).await?
        };
        let why = match answered {
            Ok(answers) => {
                let told = learn(&mut connection, answers)?;
                return Ok((connection, told));
            }
            Err(why) => why,
        };
        // It counts against the user's limit at some servers.
        connection.quit().await;
        without_pwd = one_by_one;
        one_by_one = true;
        if !without_pwd && server.no_flights.note() {
            tracing::info!(
                backend = %settings.name,
                server = %server.address,
                reason = why,
                "the backend server does not answer commands that are sent in one flight one by one; \
                 each is sent by itself now"
            );
        }
    }
}

/// Connected, protected as configured, and let in.
async fn entered(
    settings: &Arc<Settings>,
    shared: &Arc<Shared>,
    credentials: &Credentials,
    origin: Origin,
) -> Result<Connection, Failure> {
    let (control, tls) = open(settings, shared, origin).await?;
    let server = shared.servers.at(control.peer()?);
    let mut connection = Connection::new(control, settings.clone(), server, origin, tls);
    authenticate(&mut connection, credentials).await?;
    connection.let_in = true;
    Ok(connection)
}

/// A greeted control connection, protected as configured. A server that does not know the preferred
/// TLS versions is asked again with the others.
async fn open(
    settings: &Arc<Settings>,
    shared: &Shared,
    origin: Origin,
) -> Result<(Control, Option<ClientTls>), Failure> {
    let (implicit, tls) = match &settings.tls {
        TlsMode::None => (false, None),
        TlsMode::Explicit(tls) => (false, Some(tls)),
        TlsMode::Implicit(tls) => (true, Some(tls)),
    };
    let Some(tls) = tls else {
        let control =
            greeted(settings, Stream::Plain(connect(settings, shared, origin).await?)).await?;
        return Ok((control, None));
    };
    match protected(settings, shared, origin, implicit, tls.session(false)).await {
        Err(OpenError::Versions(_)) if tls.has_fallback() => {
            protected(settings, shared, origin, implicit, tls.session(true))
                .await
                .map_err(Failure::from)
        }
        opened => opened.map_err(Failure::from),
    }
}

enum OpenError {
    /// The server knows none of the TLS versions that were offered.
    Versions(Failure),
    Other(Failure),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Versions(failure) | OpenError::Other(failure) => failure,
        }
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        OpenError::Other(failure)
    }
}

async fn protected(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
    implicit: bool,
    tls: ClientTls,
) -> Result<(Control, Option<ClientTls>), OpenError> {
    let tcp = connect(settings, shared, origin).await?;
    let control = if implicit {
        let stream = handshake(settings, &tls, tcp).await?;
        greeted(settings, stream).await?
    } else {
        let mut control = greeted(settings, Stream::Plain(tcp)).await?;
        let words = control.command("AUTH", Some(b"TLS")).await?;
        reply::expect(2, "AUTH TLS", words).map_err(refused("does not accept AUTH TLS"))?;
        let Stream::Plain(tcp) = control.into_stream() else {
            return Err(unreachable("AUTH TLS on a connection that is TLS already").into());
        };
        Control::new(handshake(settings, &tls, tcp).await?, settings)
    };
    Ok((control, Some(tls)))
}

async fn connect(
    settings: &Settings,
    shared: &Shared,
    origin: Origin,
) -> Result<TcpStream, Failure> {
    let reached = shared.connector.connect(settings.connect_timeout).await;
    let lost = |failure: Failure| failure.with_outage(Outage::Unreachable);
    let (mut tcp, _) = reached.map_err(|e| lost(unreachable(e)))?;
    if settings.send_proxy_protocol != SendProxyProtocol::None {
        // A socket that was just opened has room for it.
        tcp.write_all(&origin.header()).await.map_err(|e| lost(unreachable(e)))?;
    }
    Ok(tcp)
}

async fn handshake(
    settings: &Settings,
    tls: &ClientTls,
    tcp: TcpStream,
) -> Result<Stream, OpenError> {
    let server = tcp.peer_addr().map(|server| server.to_string()).unwrap_or_default();
    match timeout(settings.connect_timeout, tls.connect(tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => {
            let failure = Failure::backend(
                FailureKind::Unavailable,
                "the backend server's TLS could not be trusted or did not come about",
            )
            .with_outage(outage(&e));
            let failure = match DistrustedCertificate::of(&e) {
                Some(distrusted) => failure.with_detail(format_args!("{server}: {distrusted}")),
                None => failure.with_detail(format_args!("{server}: {e}")),
            };
            Err(if is_about_versions(&e) {
                OpenError::Versions(failure)
            } else {
                OpenError::Other(failure)
            })
        }
        Err(_) => {
            let late = unreachable(format!("{server}: the TLS handshake was not complete in time"));
            Err(late.with_outage(Outage::Timeout).into())
        }
    }
}

fn outage(error: &io::Error) -> Outage {
    match DistrustedCertificate::of(error).map(|distrusted| distrusted.reason) {
        None => Outage::Tls,
        Some(Distrust::Expired) => Outage::CertificateExpired,
        Some(Distrust::NotYetValid) => Outage::CertificateNotYetValid,
        Some(Distrust::UnknownAuthority) => Outage::CertificateAuthority,
        Some(Distrust::OtherName) => Outage::CertificateName,
        Some(Distrust::Invalid) => Outage::CertificateInvalid,
    }
}

fn is_about_versions(error: &io::Error) -> bool {
    use rustls::{AlertDescription, Error};
    matches!(
        error.get_ref().and_then(|e| e.downcast_ref::<Error>()),
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_))
    )
}

/// 220, or 120 first: "ready in some minutes" is waited for within the deadline of a reply.
async fn greeted(settings: &Settings, stream: Stream) -> Result<Control, Failure> {
    let mut control = Control::new(stream, settings);
    loop {
        let words = control.reply().await.map_err(|failure| {
            let message = "the backend server was reached, but does not greet as an FTP server \
                           does; tell the gateway's operator";
            let heard = failure.detail.unwrap_or(failure.message);
            let outage = failure.outage.unwrap_or(Outage::UnexpectedAnswer);
            Failure::backend(FailureKind::Unavailable, message)
                .with_detail(heard)
                .with_outage(outage)
        })?;
        match words.code {
            120 => {}
            220 => return Ok(control),
            _ => return Err(unreachable(format!("it greeted with {words}"))),
        }
    }
}

async fn authenticate(
    connection: &mut Connection,
    credentials: &Credentials,
) -> Result<(), Failure> {
    let mut words = connection.ask("USER", Some(&credentials.user)).await?;
    if words.code == 331 {
        words = connection.ask("PASS", Some(&credentials.password)).await?;
    }
    if words.code == 332 {
        let Some(account) = &credentials.account else {
            return Err(Failure::backend(
                FailureKind::AccountNeeded,
                "the backend server wants an account (ACCT)",
            )
            .with_peer(words));
        };
        words = connection.ask("ACCT", Some(account)).await?;
    }
    match words.code {
        200..=299 => Ok(()),
        _ => {
            let shown = without_secrets(&words, credentials);
            let message = format!("the backend server refused the login: {shown}");
            Err(Failure::backend(FailureKind::LoginRefused, message).with_peer(words))
        }
    }
}

/// What may go to a log: some servers repeat the command that they refuse.
fn without_secrets(words: &PeerReply, credentials: &Credentials) -> String {
    let secrets = [Some(&credentials.password), credentials.account.as_ref()];
    let told = secrets.into_iter().flatten().any(|secret| {
        let holds = |line: &Vec<u8>| line.windows(secret.len()).any(|w| w == secret.as_slice());
        !secret.is_empty() && words.lines.iter().any(holds)
    });
    if told {
        format!("{} (the words are not shown, they hold a password)", words.code)
    } else {
        words.to_string()
    }
}

const PWD: &str = "PWD";

/// A command and its answer.
type Answered = (&'static str, PeerReply);

/// What is asked of every server once the user is in. PBSZ and PROT (RFC 4217) come then, since some
/// servers refuse them before. UTF-8 is asked for without knowing whether the server has it: one
/// that has not says so, and nothing changes.
fn after_login(settings: &Settings) -> &'static [&'static str] {
    match settings.tls {
        TlsMode::None => &["FEAT", "OPTS UTF8 ON", PWD, "TYPE I"],
        _ => &["PBSZ 0", "PROT P", "FEAT", "OPTS UTF8 ON", PWD, "TYPE I"],
    }
}

/// The answers to all commands, or why there are none.
type AllAnswered = Result<Vec<Answered>, String>;

/// All in one flight. Where the server answers the first of them and not the rest, or with what cannot be
/// the answer, there are no answers.
async fn ask_at_once(connection: &mut Connection) -> Result<AllAnswered, Failure> {
    let commands = after_login(&connection.settings);
    let lines: Vec<&[u8]> = commands.iter().map(|command| command.as_bytes()).collect();
    connection.control.send_all(&lines).await?;
    let mut answers: Vec<Answered> = Vec::new();
    for &command in commands {
        let words = if answers.is_empty() {
            connection.control.reply().await?
        } else {
            match timeout(DROPPED, connection.control.reply()).await {
                Ok(Ok(words)) => words,
                Ok(Err(_)) | Err(_) => return Ok(Err(format!("no answer to {command}"))),
            }
        };
        let verb = command.split(' ').next().unwrap_or(command);
        if !shapes::fits(verb, &words) {
            let why = format!("{command} was answered with {words}");
            connection.control.drop_surplus(words);
            connection.note_surplus();
            return Ok(Err(why));
        }
        answers.push((command, words));
    }
    Ok(Ok(answers))
}

/// The same, each behind the answer to the one before. None when the server does not answer PWD: it is
/// out of step then. `without_pwd`: it is not asked that.
async fn ask_one_by_one(
    connection: &mut Connection,
    without_pwd: bool,
) -> Result<AllAnswered, Failure> {
    let mut answers = Vec::new();
    for &command in after_login(&connection.settings) {
        if command == PWD && without_pwd {
            continue;
        }
        let (verb, argument) = command.split_once(' ').unwrap_or((command, ""));
        let argument = Some(argument.as_bytes()).filter(|argument| !argument.is_empty());
        let pwd_timeout = connection.settings.timing.pwd_timeout;
        let asked = connection.ask(verb, argument);
        let mut answer = match command {
            PWD => match timeout(pwd_timeout, asked).await {
                Ok(Err(failure)) if failure.peer.is_some() => return Err(failure),
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => return Ok(Err("no answer to PWD".to_owned())),
            },
            _ => asked.await?,
        };
        if command == PWD && answer.code >= 400 && connection.server.surplus_replies.is_known() {
            // A second refusal of what was asked before says nothing about this.
            answer = connection.ask(verb, argument).await?;
        }
        answers.push((command, answer));
    }
    Ok(Ok(answers))
}

/// What the answers to [`after_login`] say; and where the login put the user.
fn learn(connection: &mut Connection, answers: Vec<Answered>) -> Result<Told, Failure> {
    let mut told = Err(b"no answer".to_vec());
    // Implicit servers protect data connections anyway, and some do not know the verbs.
    let implicit = matches!(connection.settings.tls, TlsMode::Implicit(_));
    let answered = |command: &str, code| {
        answers.iter().any(|(asked, words)| *asked == command && words.code == code)
    };
    connection.marker = match answered(PWD, Marker::default().code) {
        true => Marker::default(),
        false if answered("FEAT", Marker::FEAT.code) => Marker::FEAT,
        false => Marker::TYPE,
    };
    for (command, words) in answers {
        if words.code == 421 {
            return Err(reply::failure(command, words));
        }
        match command {
            "PBSZ 0" | "PROT P" if implicit && matches!(words.code, 500 | 502..=504) => {}
            "PBSZ 0" | "PROT P" => {
                let answered = reply::expect(2, command, words);
                answered.map_err(refused("does not protect data connections"))?;
            }
            "FEAT" if words.code == 211 => connection.features = Features::parse(&words),
            PWD => told = pwd::directory(&words).ok_or_else(|| words.to_string().into_bytes()),
            "TYPE I" if words.code / 100 == 2 => connection.note_type(Representation::Image),
            _ => {}
        }
    }
    Ok(told)
}

/// A server that was reached but does not do what is configured: an operator has to look.
fn refused(what: &str) -> impl FnOnce(Failure) -> Failure {
    let message =
        format!("the backend server {what}, which the gateway requires; tell its operator");
    move |failure| {
        Failure::backend(FailureKind::Unavailable, message)
            .with_detail(failure.message)
            .with_outage(Outage::Tls)
    }
}

fn unreachable(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::Unavailable,
        "the backend server cannot be reached; try again later or tell the gateway's operator",
    )
    .with_detail(detail)
}
