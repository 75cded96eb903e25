//! A logged-in control connection (RFC 959) and the known state of the session at the server.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::ENTRY_TTL;
use super::control::Control;
use super::data_ports::DataPorts;
use super::features::Features;
use super::prepared::Prepared;
use super::refusals::OptionalCommand;
use super::servers::Server;
use super::session_state::SessionState;
use super::settings::Settings;
use super::{failures, reply};
use crate::backend::{Home, Origin, SendProxyProtocol};
use crate::data::ActiveGuard;
use crate::net::tls::ClientTls;
use crate::op::escape::printable;
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation};

/// Verbs for which a success reply of another command would do harm.
const STATE_CHANGING_VERBS: [&str; 7] = ["CWD", "DELE", "MFMT", "MKD", "RMD", "RNFR", "SITE"];

/// A control connection.
pub(super) struct Connection {
    pub(super) control: Control,
    pub(super) settings: Arc<Settings>,
    /// Shared by all connections to this server.
    pub(super) server: Arc<Server>,
    origin: Origin,
    pub(super) features: Features,
    /// The login directory of the session's first connection; it decides how paths are sent.
    pub(super) home: Arc<Home>,
    /// TLS for data connections, if they are protected.
    pub(super) tls: Option<ClientTls>,
    /// The command that marks where commands and replies are in sync.
    pub(super) marker: Marker,
    /// REST was sent, and no transfer has consumed it.
    pub(super) restart_pending: bool,
    /// The server requires the data connection before the command that uses it.
    pub(super) connect_first: bool,
    /// A data connection made ahead of the next transfer.
    pub(super) prepared: Option<Prepared>,
    /// The shortest time in which the server opened a passive port.
    pub(super) port_latency: Option<Duration>,
    /// The ports that the server connects to in active mode.
    pub(super) data_ports: Option<DataPorts>,
    /// The active data connection, until the server has ended the transfer.
    pub(super) active: Option<ActiveGuard>,
    /// When an operation last used it.
    pub(super) last_used: Instant,
    /// The path of an RNFR that was the last command.
    pub(super) pending_rename: Option<RemotePath>,
    representation: Option<Representation>,
    directory: Option<Directory>,
    /// CWD was sent: the server may have left the login directory.
    changed_directory: bool,
    pub(super) session: Arc<SessionState>,
    /// The login has succeeded.
    pub(super) logged_in: bool,
    lost: bool,
    /// The gateway has lost sync, not the server: a new login can replace the connection.
    replaceable: bool,
}

/// A command whose reply code is used by neither transfers nor ABOR.
#[derive(Clone, Copy)]
pub(super) struct Marker {
    pub(super) verb: &'static str,
    pub(super) argument: Option<&'static [u8]>,
    /// The code of its reply.
    pub(super) code: u16,
}

impl Marker {
    pub(super) const FEAT: Self = Self { verb: "FEAT", argument: None, code: 211 };
    pub(super) const TYPE: Self = Self { verb: "TYPE", argument: Some(b"I"), code: 200 };
    /// For servers whose TYPE is the client's.
    pub(super) const NOOP: Self = Self { verb: "NOOP", argument: None, code: 200 };
}

impl Default for Marker {
    fn default() -> Self {
        Self { verb: "PWD", argument: None, code: 257 }
    }
}

/// The working directory.
struct Directory {
    path: RemotePath,
    /// The value of [`SessionState::moves`] at that time.
    moves: u64,
    /// Other clients may rename it; the server then stays in the renamed one.
    since: Instant,
}

impl Connection {
    pub(super) fn new(
        control: Control,
        settings: Arc<Settings>,
        server: Arc<Server>,
        origin: Origin,
        tls: Option<ClientTls>,
    ) -> Self {
        Self {
            control,
            settings,
            server,
            origin,
            features: Features::unknown(),
            home: Arc::new(Home::At(RemotePath::root())),
            tls,
            marker: Marker::default(),
            restart_pending: false,
            connect_first: false,
            prepared: None,
            port_latency: None,
            data_ports: None,
            active: None,
            last_used: Instant::now(),
            pending_rename: None,
            representation: None,
            directory: None,
            changed_directory: false,
            session: Arc::default(),
            logged_in: false,
            lost: false,
            replaceable: false,
        }
    }

    /// Whether the server announces the command and has not refused it recently.
    pub(super) fn supports(&self, command: OptionalCommand) -> bool {
        let announced = match command {
            OptionalCommand::Mlsd | OptionalCommand::Mlst => self.features.mlst,
            OptionalCommand::Size => self.features.size,
            OptionalCommand::Mdtm => self.features.mdtm,
            OptionalCommand::ListAll | OptionalCommand::StatPath => true,
        };
        announced && !self.server.refusals.is_refused(command)
    }

    /// The PROXY protocol header of passive data connections; empty unless configured.
    pub(super) fn proxy_header(&self) -> Vec<u8> {
        match self.settings.send_proxy_protocol {
            SendProxyProtocol::All => self.origin.header(),
            SendProxyProtocol::None | SendProxyProtocol::Control => Vec::new(),
        }
    }

    /// Fails if the connection is out of sync or lost.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.lost { Err(self.unavailable("it was lost before")) } else { Ok(()) }
    }

    /// No more commands are sent.
    pub(super) fn give_up(&mut self) {
        self.lost = true;
    }

    /// As [`Connection::give_up`]; a new login replaces it.
    pub(super) fn give_up_replaceable(&mut self) {
        (self.lost, self.replaceable) = (true, true);
    }

    /// Whether more commands can be sent.
    pub(super) fn is_usable(&self) -> bool {
        !self.lost && self.control.is_settled()
    }

    pub(super) fn is_replaceable(&self) -> bool {
        self.replaceable
    }

    /// As far as it shows without a command: servers send 421 when a connection was idle for too
    /// long.
    pub(super) fn is_in_sync(&mut self) -> bool {
        self.is_usable() && self.control.drop_unsolicited().is_ok()
    }

    /// Marks the connection as lost if the failure is a lost connection.
    pub(super) fn note_loss<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|failure| {
            self.lost |= failure.kind == FailureKind::Unavailable;
            self.session.scoped(failure)
        })
    }

    /// The failure of a lost connection. `detail` is for the log only.
    pub(super) fn unavailable(&self, detail: impl std::fmt::Display) -> Failure {
        self.session.scoped(reply::unavailable(detail))
    }

    /// The failure that a 4xx or 5xx reply to `what` means.
    pub(super) fn failure(&self, what: impl std::fmt::Display, reply: PeerReply) -> Failure {
        self.session.scoped(reply::failure(what, reply))
    }

    /// Sends a command and receives its reply, whatever its code.
    pub(super) async fn command(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        // No command is sent before the last transfer has ended.
        (self.active, self.pending_rename) = (None, None);
        if self.server.surplus_replies.is_known() && STATE_CHANGING_VERBS.contains(&verb) {
            self.synchronize().await?;
        }
        let result = self.control.command(verb, argument).await;
        self.note_surplus();
        let reply = self.note_loss(result)?;
        if reply.code == 421 {
            self.lost = true;
            return Err(self.failure(verb, reply));
        }
        Ok(reply)
    }

    /// Pipelines the command with each of the arguments. Each reply is an error reply or has this
    /// code. Fails if replies cannot be matched to commands; a new login then replaces the
    /// connection, as it does if this is cancelled.
    pub(super) async fn pipeline(
        &mut self,
        verb: &str,
        arguments: &[&[u8]],
        code: u16,
    ) -> Result<Vec<PeerReply>, Failure> {
        (self.active, self.pending_rename) = (None, None);
        self.replaceable = true;
        let marker = self.marker;
        let mut lines: Vec<Vec<u8>> =
            arguments.iter().map(|argument| [verb.as_bytes(), b" ", argument].concat()).collect();
        // The reply to the marker shows that the replies before it are complete and belong to these
        // commands.
        lines.push(match self.marker_argument() {
            Some(argument) => [marker.verb.as_bytes(), b" ", argument].concat(),
            None => marker.verb.as_bytes().to_vec(),
        });
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let sent = self.control.send_all(&lines).await;
        self.note_loss(sent)?;
        let mut replies = Vec::with_capacity(lines.len());
        while replies.len() < lines.len() {
            let received = self.control.reply().await;
            let reply = self.note_loss(received)?;
            let fits = if replies.len() == arguments.len() {
                reply.code == marker.code
            } else {
                reply.code == code || (reply.code >= 400 && reply.code != 421)
            };
            if !fits {
                self.lost = true;
                let what = format!("pipelined {verb} was answered with {reply}");
                return Err(self.unavailable(what));
            }
            replies.push(reply);
        }
        replies.truncate(arguments.len());
        self.replaceable = false;
        Ok(replies)
    }

    /// Sends a command and expects a reply of `class`.
    pub(super) async fn expect(
        &mut self,
        class: u16,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        let reply = self.command(verb, argument).await?;
        self.check_reply(class, verb, argument, reply)
    }

    /// As [`Connection::expect`], for a command with a path.
    pub(super) async fn expect_at(
        &mut self,
        class: u16,
        verb: &str,
        path: &RemotePath,
    ) -> Result<PeerReply, Failure> {
        let name = self.name(path)?;
        self.expect(class, verb, Some(&name)).await
    }

    /// The path as it is sent to the server.
    pub(super) fn name(&self, path: &RemotePath) -> Result<Vec<u8>, Failure> {
        let name = self.home.wire_path(path).map(Cow::into_owned);
        name.ok_or_else(|| failures::unknown_home("the login folder itself cannot be named"))
    }

    /// Returns a reply of `class`; any other is a failure.
    pub(super) fn check_reply(
        &mut self,
        class: u16,
        verb: &str,
        argument: Option<&[u8]>,
        reply: PeerReply,
    ) -> Result<PeerReply, Failure> {
        let what = match argument {
            Some(argument) => format!("{verb} {}", printable(argument)),
            None => verb.to_owned(),
        };
        let checked = reply::expect_about(class, what, argument, reply);
        self.note_loss(checked)
    }

    pub(super) async fn set_type(&mut self, representation: Representation) -> Result<(), Failure> {
        if self.representation != Some(representation) {
            let argument = match representation {
                Representation::Ascii => b"A",
                Representation::Image => b"I",
            };
            self.expect(2, "TYPE", Some(argument)).await?;
            self.representation = Some(representation);
        }
        Ok(())
    }

    /// The argument of the marker between transfers. For TYPE, the current type.
    pub(super) fn marker_argument(&self) -> Option<&'static [u8]> {
        self.marker.argument.map(|_| self.type_argument())
    }

    /// The type that was set last.
    fn type_argument(&self) -> &'static [u8] {
        match self.representation {
            Some(Representation::Ascii) => b"A",
            Some(Representation::Image) | None => b"I",
        }
    }

    pub(super) fn is_in_image(&self) -> bool {
        self.representation == Some(Representation::Image)
    }

    /// Notes the TYPE that was set during login.
    pub(super) fn note_type(&mut self, representation: Representation) {
        self.representation = Some(representation);
    }

    /// CWD to `path`; returns the server's reply.
    pub(super) async fn change_directory(
        &mut self,
        path: &RemotePath,
    ) -> Result<PeerReply, Failure> {
        // The directory is unknown until the reply is here.
        self.directory = None;
        let (moves, since) = (self.session.moves(), Instant::now());
        if !self.home.is_known() {
            return Err(failures::unknown_home("a folder cannot be entered"));
        }
        let reply = self.expect(2, "CWD", Some(path.as_bytes())).await?;
        self.changed_directory = true;
        self.directory = Some(Directory { path: path.clone(), moves, since });
        Ok(reply)
    }

    /// As [`Connection::change_directory`]; no command is sent if the server entered it recently.
    pub(super) async fn ensure_directory(&mut self, path: &RemotePath) -> Result<(), Failure> {
        let moves = self.session.moves();
        let is_there = self.directory.as_ref().is_some_and(|current| {
            current.path == *path && current.moves == moves && current.since.elapsed() < ENTRY_TTL
        });
        if !is_there {
            self.change_directory(path).await?;
        }
        Ok(())
    }

    /// Whether the server is still in the login directory, and that is `path`.
    pub(super) fn is_at_home(&self, path: &RemotePath) -> bool {
        !self.changed_directory && self.home.is_known() && self.home.path() == *path
    }

    pub(super) async fn quit(&mut self) {
        if self.lost {
            return;
        }
        self.lost = true;
        // Best effort: the reply is not awaited.
        let _ = self.control.send("QUIT", None).await;
        self.control.shutdown().await;
    }
}
