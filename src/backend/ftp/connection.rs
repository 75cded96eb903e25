use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cache::FRESH;
use super::control::Control;
use super::data_ports::DataPorts;
use super::features::Features;
use super::prepared::Prepared;
use super::refusals::Optional;
use super::servers::Server;
use super::settings::Settings;
use super::{failures, reply};
use crate::backend::{Home, Origin, SendProxyProtocol};
use crate::data::ActiveGuard;
use crate::net::tls::ClientTls;
use crate::op::escape::printable;
use crate::op::{Failure, FailureKind, PeerReply, RemotePath, Representation};

/// A success that is not theirs would do harm.
const CHANGING: [&str; 7] = ["CWD", "DELE", "MFMT", "MKD", "RMD", "RNFR", "SITE"];

/// A logged-in control connection and what is known of the server's state.
pub(super) struct Connection {
    pub(super) control: Control,
    pub(super) settings: Arc<Settings>,
    /// What its connections share.
    pub(super) server: Arc<Server>,
    origin: Origin,
    pub(super) features: Features,
    /// Where the session's first login put the user: how paths are told to the server.
    pub(super) home: Arc<Home>,
    /// The TLS of data connections, where they are protected.
    pub(super) tls: Option<ClientTls>,
    /// What shows that both sides are in step again.
    pub(super) marker: Marker,
    /// REST was said and no transfer has used it up.
    pub(super) restart_pending: bool,
    /// The server wants the data connection to be there before the command that uses it.
    pub(super) connect_first: bool,
    /// A data connection for the next transfer.
    pub(super) prepared: Option<Prepared>,
    /// The shortest time that the server took to name a port.
    pub(super) port_took: Option<Duration>,
    /// Where the server connects to, in active mode.
    pub(super) data_ports: Option<DataPorts>,
    /// Its active data connection, until the server has said how the transfer ended.
    pub(super) active: Option<ActiveGuard>,
    /// When an operation was last done with it.
    pub(super) used: Instant,
    /// RNFR has named it, and nothing was asked since.
    pub(super) renaming: Option<RemotePath>,
    representation: Option<Representation>,
    directory: Option<Directory>,
    /// Some CWD was said: the server need not be where the login put it.
    left_home: bool,
    pub(super) session: Arc<SessionState>,
    /// The login is done.
    pub(super) let_in: bool,
    lost: bool,
    /// The gateway lost step itself, without a word of the server's: a new login does as well.
    replaceable: bool,
}

/// A question whose answer no transfer and no ABOR is answered by.
#[derive(Clone, Copy)]
pub(super) struct Marker {
    pub(super) verb: &'static str,
    pub(super) argument: Option<&'static [u8]>,
    /// Of the answer.
    pub(super) code: u16,
}

impl Marker {
    pub(super) const FEAT: Self = Self { verb: "FEAT", argument: None, code: 211 };
    pub(super) const TYPE: Self = Self { verb: "TYPE", argument: Some(b"I"), code: 200 };
}

impl Default for Marker {
    fn default() -> Self {
        Self { verb: "PWD", argument: None, code: 257 }
    }
}

/// Where the server is.
struct Directory {
    path: RemotePath,
    /// As of which of the moves.
    moves: u64,
    /// Somebody else may rename it, and the server stays in it.
    since: Instant,
}

/// What all connections of a session share.
#[derive(Default)]
pub(super) struct SessionState {
    /// Several operations may run at once, each over a connection of its own.
    concurrent: AtomicBool,
    /// Counts the operations that may have moved directories.
    moves: AtomicU64,
}

impl SessionState {
    /// Returns whether this is the first call.
    pub(super) fn allow_concurrency(&self) -> bool {
        !self.concurrent.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_concurrent(&self) -> bool {
        self.concurrent.load(Ordering::Acquire)
    }

    /// With several connections, the loss of one ends its operation, not the session.
    fn scoped(&self, failure: Failure) -> Failure {
        match failure.kind {
            FailureKind::Unavailable if self.is_concurrent() => Failure {
                kind: FailureKind::TransferCut,
                message:
                    "the connection to the backend server was lost during the operation; try again"
                        .into(),
                ..failure
            },
            _ => failure,
        }
    }
}

/// Held until it is done, or given up half-way.
pub(super) struct Moving(Arc<SessionState>);

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.moves.fetch_add(1, Ordering::AcqRel);
    }
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
            port_took: None,
            data_ports: None,
            active: None,
            used: Instant::now(),
            renaming: None,
            representation: None,
            directory: None,
            left_home: false,
            session: Arc::default(),
            let_in: false,
            lost: false,
            replaceable: false,
        }
    }

    /// Whether the server has said so, and has not refused it since.
    pub(super) fn has(&self, command: Optional) -> bool {
        let said = match command {
            Optional::Mlsd | Optional::Mlst => self.features.mlst,
            Optional::Size => self.features.size,
            Optional::Mdtm => self.features.mdtm,
            Optional::ListAll | Optional::StatPath => true,
        };
        said && !self.server.refusals.holds(command)
    }

    /// What a passive data connection begins with, before its TLS; often nothing.
    pub(super) fn data_header(&self) -> Vec<u8> {
        match self.settings.send_proxy_protocol {
            SendProxyProtocol::All => self.origin.header(),
            SendProxyProtocol::None | SendProxyProtocol::Control => Vec::new(),
        }
    }

    /// An error when the two sides are out of step or the server is gone.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.lost { Err(self.unavailable("it was lost before")) } else { Ok(()) }
    }

    /// From here on nothing is asked of the server any more.
    pub(super) fn give_up(&mut self) {
        self.lost = true;
    }

    /// As [`Connection::give_up`]; the session goes on with a new login.
    pub(super) fn replace(&mut self) {
        (self.lost, self.replaceable) = (true, true);
    }

    /// Whether something more can be asked of it.
    pub(super) fn is_usable(&self) -> bool {
        !self.lost && self.control.is_settled()
    }

    pub(super) fn is_replaceable(&self) -> bool {
        self.replaceable
    }

    /// As far as it can be seen without asking: a server says 421 when it was idle for too long.
    pub(super) fn is_in_step(&mut self) -> bool {
        self.is_usable() && self.control.in_step().is_ok()
    }

    /// Notes what an error means for the connection.
    pub(super) fn noted<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|failure| {
            self.lost |= failure.kind == FailureKind::Unavailable;
            self.session.scoped(failure)
        })
    }

    /// That the server's session is lost. `detail` is for the log only.
    pub(super) fn unavailable(&self, detail: impl std::fmt::Display) -> Failure {
        self.session.scoped(reply::unavailable(detail))
    }

    /// What a 4xx or 5xx reply to `what` means.
    pub(super) fn failure(&self, what: impl std::fmt::Display, words: PeerReply) -> Failure {
        self.session.scoped(reply::failure(what, words))
    }

    /// Sends a command and takes its reply, whatever that is.
    pub(super) async fn ask(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        // Nothing is asked before the last transfer has ended.
        (self.active, self.renaming) = (None, None);
        if self.server.surplus_replies.is_known() && CHANGING.contains(&verb) {
            self.synchronize().await?;
        }
        let asked = self.control.command(verb, argument).await;
        self.note_surplus();
        let words = self.noted(asked)?;
        if words.code == 421 {
            self.lost = true;
            return Err(self.failure(verb, words));
        }
        Ok(words)
    }

    /// As [`Connection::ask`], with each of the arguments, in one flight; each answer is a refusal or has
    /// this code. An error where it cannot be told which answer is whose; the session then goes on with
    /// a new login. So it does where this is dropped before its end.
    pub(super) async fn ask_each(
        &mut self,
        verb: &str,
        arguments: &[&[u8]],
        code: u16,
    ) -> Result<Vec<PeerReply>, Failure> {
        (self.active, self.renaming) = (None, None);
        self.replaceable = true;
        let marker = self.marker;
        let mut lines: Vec<Vec<u8>> =
            arguments.iter().map(|argument| [verb.as_bytes(), b" ", argument].concat()).collect();
        // Behind it nothing is left over, and before it is nothing that nobody asked for.
        lines.push(match self.marker_argument() {
            Some(argument) => [marker.verb.as_bytes(), b" ", argument].concat(),
            None => marker.verb.as_bytes().to_vec(),
        });
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let sent = self.control.send_all(&lines).await;
        self.noted(sent)?;
        let mut answers = Vec::with_capacity(lines.len());
        while answers.len() < lines.len() {
            let answer = self.control.reply().await;
            let words = self.noted(answer)?;
            let fits = if answers.len() == arguments.len() {
                words.code == marker.code
            } else {
                words.code == code || (words.code >= 400 && words.code != 421)
            };
            if !fits {
                self.lost = true;
                let what = format!("{verb}, several at once, was answered with {words}");
                return Err(self.unavailable(what));
            }
            answers.push(words);
        }
        answers.truncate(arguments.len());
        self.replaceable = false;
        Ok(answers)
    }

    /// Sends a command that is to be answered by a reply of `class`.
    pub(super) async fn expect(
        &mut self,
        class: u16,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        let words = self.ask(verb, argument).await?;
        self.judged(class, verb, argument, words)
    }

    /// As [`Connection::expect`], of a command about a path.
    pub(super) async fn expect_at(
        &mut self,
        class: u16,
        verb: &str,
        path: &RemotePath,
    ) -> Result<PeerReply, Failure> {
        let name = self.name(path)?;
        self.expect(class, verb, Some(&name)).await
    }

    /// The path as the server is told it.
    pub(super) fn name(&self, path: &RemotePath) -> Result<Vec<u8>, Failure> {
        let name = self.home.wire_path(path).map(Cow::into_owned);
        name.ok_or_else(|| failures::unknown_home("that folder itself cannot be named"))
    }

    /// What the reply to a command is, where one of `class` was wanted.
    pub(super) fn judged(
        &mut self,
        class: u16,
        verb: &str,
        argument: Option<&[u8]>,
        words: PeerReply,
    ) -> Result<PeerReply, Failure> {
        let what = match argument {
            Some(argument) => format!("{verb} {}", printable(argument)),
            None => verb.to_owned(),
        };
        let answered = reply::expect(class, what, words);
        self.noted(answered)
    }

    pub(super) async fn set_type(&mut self, wanted: Representation) -> Result<(), Failure> {
        if self.representation != Some(wanted) {
            let argument = match wanted {
                Representation::Ascii => b"A",
                Representation::Image => b"I",
            };
            self.expect(2, "TYPE", Some(argument)).await?;
            self.representation = Some(wanted);
        }
        Ok(())
    }

    /// Of the marker where no transfer is cut. TYPE: what it is stays as it is.
    pub(super) fn marker_argument(&self) -> Option<&'static [u8]> {
        self.marker.argument.map(|_| self.type_argument())
    }

    /// What TYPE the server has been told.
    fn type_argument(&self) -> &'static [u8] {
        match self.representation {
            Some(Representation::Ascii) => b"A",
            Some(Representation::Image) | None => b"I",
        }
    }

    pub(super) fn is_in_image(&self) -> bool {
        self.representation == Some(Representation::Image)
    }

    /// What TYPE the server was told with the login.
    pub(super) fn note_type(&mut self, representation: Representation) {
        self.representation = Some(representation);
    }

    /// Makes `path` the server's working directory; the server's words where it was asked.
    pub(super) async fn enter(&mut self, path: &RemotePath) -> Result<PeerReply, Failure> {
        // Until it is known where the server is, nowhere is assumed.
        self.directory = None;
        let (moves, since) = (self.session.moves.load(Ordering::Acquire), Instant::now());
        if !self.home.is_known() {
            return Err(failures::unknown_home("a folder cannot be entered"));
        }
        let words = self.expect(2, "CWD", Some(path.as_bytes())).await?;
        self.left_home = true;
        self.directory = Some(Directory { path: path.clone(), moves, since });
        Ok(words)
    }

    /// As [`Connection::enter`], without asking when the server came there a moment ago.
    pub(super) async fn be_in(&mut self, path: &RemotePath) -> Result<(), Failure> {
        let moves = self.session.moves.load(Ordering::Acquire);
        let there = self.directory.as_ref().is_some_and(|there| {
            there.path == *path && there.moves == moves && there.since.elapsed() < FRESH
        });
        if !there {
            self.enter(path).await?;
        }
        Ok(())
    }

    /// Whether it is where the login put it, and that is `path`.
    pub(super) fn is_at_home(&self, path: &RemotePath) -> bool {
        !self.left_home && self.home.is_known() && self.home.path() == *path
    }

    /// Something is being removed or renamed: where a connection is may have another name then.
    pub(super) fn moving(&self) -> Moving {
        Moving(self.session.clone())
    }

    pub(super) async fn quit(&mut self) {
        if self.lost {
            return;
        }
        self.lost = true;
        // Politeness only: nobody waits for the goodbye.
        let _ = self.control.send("QUIT", None).await;
        self.control.shutdown().await;
    }
}
