//! Connecting and logging in: RFC 959 section 5.4, RFC 4217.

mod connect;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Shared;
use super::connection::{Connection, Marker};
use super::features::Features;
use super::settings::{Settings, TlsMode};
use super::{pwd, reply, shapes};
use crate::auth::Credentials;
use crate::backend::Origin;
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation};

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
    let (control, tls) = connect::open(settings, shared, origin).await?;
    let server = shared.servers.at(control.peer()?);
    let mut connection = Connection::new(control, settings.clone(), server, origin, tls);
    authenticate(&mut connection, credentials).await?;
    connection.let_in = true;
    Ok(connection)
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
                answered.map_err(connect::refused("does not protect data connections"))?;
            }
            "FEAT" if words.code == 211 => connection.features = Features::parse(&words),
            PWD => told = pwd::directory(&words).ok_or_else(|| words.to_string().into_bytes()),
            "TYPE I" if words.code / 100 == 2 => connection.note_type(Representation::Image),
            _ => {}
        }
    }
    Ok(told)
}
