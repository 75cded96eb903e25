//! One client's session: its state and its loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, Span};
use zeroize::Zeroizing;

use super::command_queue::Line;
use super::control::Control;
use super::data_connection::RequestedConnection;
use super::handshake::other_protocol_words;
use super::reply;
use super::settings::TlsPolicy;
use super::shared::Shared;
use crate::net::Stream;
use crate::net::tls::ControlTls;
use crate::op::{Failure, FailureKind, Fault, PeerReply, RemotePath, Representation};
use crate::session::{ClientInfo, ClientRefusal, Session, SessionEnd};
use crate::wire::first_bytes::{Protocol, protocol};
use crate::wire::ftp::command::{self, Command};
use crate::wire::ftp::listing::FactSet;

/// What cutting a transfer may take after force was used, before the session is simply dropped.
const AFTER_FORCE: Duration = Duration::from_secs(8);

pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) client_info: ClientInfo,
    /// The address that the client connected to.
    pub(super) local: SocketAddr,
    pub(super) control: Control,
    pub(super) tls: Option<ControlTls>,
    pub(super) login: LoginState,
    pub(super) attempts: u32,
    /// PROT P.
    pub(super) private: bool,
    /// PBSZ was said, which PROT wants first.
    pub(super) buffer_size: bool,
    pub(super) transfer: TransferState,
    pub(super) facts: FactSet,
    begun: Instant,
    pub(super) has_tried_login: bool,
    /// Kinds of refusals that are logged once in a connection.
    refused: Option<ClientRefusal>,
}

/// How far the login is.
pub(super) enum LoginState {
    Nobody,
    User(Vec<u8>),
    /// The backend wants ACCT.
    Account(Vec<u8>, Zeroizing<Vec<u8>>),
    In(Box<LoggedIn>),
}

pub(super) struct LoggedIn {
    pub(super) session: Session,
    pub(super) directory: RemotePath,
    pub(super) rename_from: Option<RemotePath>,
}

/// What the next transfer is to be like.
pub(super) struct TransferState {
    pub(super) representation: Representation,
    pub(super) restart: u64,
    pub(super) asked: Option<RequestedConnection>,
    /// EPSV ALL: nothing but EPSV any more.
    pub(super) epsv_only: bool,
}

impl Default for TransferState {
    fn default() -> Self {
        // RFC 959 section 5.1: the default is ASCII.
        Self { representation: Representation::Ascii, restart: 0, asked: None, epsv_only: false }
    }
}

/// Whether the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Close,
}

impl Client {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut client_info: ClientInfo,
        stream: Stream,
        tls: Option<ControlTls>,
    ) -> Self {
        let private = stream.is_tls();
        client_info.protocol = if private { "ftps" } else { "ftp" };
        let proxied = !shared.settings.proxy_protocol.is_empty();
        Self {
            shared,
            local: client_info.local,
            client_info,
            control: Control::new(stream, proxied),
            tls,
            login: LoginState::Nobody,
            attempts: 0,
            private,
            buffer_size: private,
            transfer: TransferState::default(),
            facts: FactSet::default(),
            begun: Instant::now(),
            has_tried_login: false,
            refused: None,
        }
    }

    pub(super) async fn run(mut self) {
        let drain = self.shared.drain.clone();
        let end = self.client_info.end.clone();
        let forced = async {
            drain.forced().await;
            end.set(SessionEnd::shutdown());
            tokio::time::sleep(AFTER_FORCE).await;
        };
        tokio::select! {
            () = self.serve() => {
                self.client_info.end.set(SessionEnd::by(Fault::Client, self.control.why_closed()));
            }
            // REIN may have begun another session meanwhile.
            () = forced => self.client_info.end.set(SessionEnd::shutdown()),
        }
        if !self.has_tried_login && self.refused.is_none() {
            let why = self.client_info.end.get().map_or("", SessionEnd::reason);
            self.shared.gateway.ended_without_login(&self.client_info, why);
        }
        if let LoginState::In(logged_in) = self.login {
            let span = logged_in.session.span().clone();
            let closing = async move {
                // A goodbye that hangs must not keep the session's place.
                let _ = timeout(Duration::from_secs(2), logged_in.session.close()).await;
            };
            closing.instrument(span).await;
        }
        self.control.shutdown().await;
    }

    async fn serve(&mut self) {
        self.answer(220, "lockgate FTP gateway ready").await;
        loop {
            let Some(line) = self.next_line().await else {
                self.note_silence();
                return;
            };
            if let Some(other) = self.other_protocol(&line) {
                self.answer(500, "this is an FTP server; goodbye").await;
                self.refused(ClientRefusal::Speaks(other), other_protocol_words(other));
                return;
            }
            let span = match &self.login {
                LoginState::In(logged_in) => logged_in.session.span().clone(),
                _ => Span::current(),
            };
            if self.obey(line).instrument(span).await == Flow::Close {
                return;
            }
        }
    }

    /// A line, before anybody has said USER, of a client that speaks another protocol.
    fn other_protocol(&self, line: &Line) -> Option<Protocol> {
        match (&self.login, line) {
            (LoginState::Nobody, Ok(line)) => protocol(line),
            _ => None,
        }
    }

    /// The connection has ended, or the time is over.
    fn note_silence(&mut self) {
        if let Some(other) = self.control.other_protocol() {
            self.refused(ClientRefusal::Speaks(other), other_protocol_words(other));
        }
    }

    /// A client that is turned away: told of in the log once for each kind of reason.
    pub(super) fn refused(&mut self, why: ClientRefusal, what: &str) {
        if self.refused.replace(why) != Some(why) {
            self.shared.gateway.client_refused(&self.client_info, why, what);
        }
    }

    /// The next line within the deadlines; `None` at the session's end, the client told why.
    async fn next_line(&mut self) -> Option<Line> {
        let limits = &self.shared.gateway.limits;
        let (deadline, why, limit) = match self.login {
            LoginState::In(_) => (
                Instant::now() + limits.idle_timeout,
                "no command came for too long; goodbye",
                "no command came in time (limits.idle_timeout)",
            ),
            _ => (
                self.login_deadline(),
                "no login came in time; goodbye",
                "no login came in time (limits.login_timeout)",
            ),
        };
        let drain = self.shared.drain.clone();
        tokio::select! {
            biased;
            () = drain.draining() => {
                self.client_info.end.set(SessionEnd::shutdown());
                self.answer(421, "the gateway is shutting down; connect again").await;
                None
            }
            // Somebody who is not logged in cannot put the deadline off by talking on.
            line = self.control.line(), if !self.is_late() => line,
            () = sleep_until(deadline) => {
                self.client_info.end.set(SessionEnd::by(Fault::Client, limit));
                let told = self.refused.is_some() || !self.control.has_heard();
                if !matches!(self.login, LoginState::In(_)) && !told {
                    self.refused(ClientRefusal::LoginTimeout, limit);
                }
                self.answer(421, why).await;
                None
            }
        }
    }

    async fn obey(&mut self, line: Line) -> Flow {
        let Ok(line) = line.map(Zeroizing::new) else {
            self.forget_preparations();
            self.answer(500, "the command line is too long; it was dropped").await;
            return Flow::Continue;
        };
        if let Some(tls) = self.tls.as_ref().filter(|_| self.control.is_tls()) {
            tls.note_command();
        }
        match command::parse(&line) {
            Ok(command) => self.execute(command).await,
            Err(error) => {
                self.forget_preparations();
                let (code, text) = reply::of_command_error(&error);
                self.answer(code, &text).await;
                Flow::Continue
            }
        }
    }

    async fn execute(&mut self, command: Command) -> Flow {
        // REST is for the next transfer; what clients say between the two leaves it alone, everything
        // else forgets it. RNFR is for the very next command.
        use Command as C;
        let keeps_restart = matches!(
            command,
            C::Retr(_)
                | C::Store(..)
                | C::Stou
                | C::Pasv
                | C::Epsv(_)
                | C::Port(_)
                | C::Type(_)
                | C::Mode(_)
                | C::Stru(_)
                | C::Allo
                | C::Noop
                | C::Pbsz
                | C::Prot(_)
                | C::Size(_)
                | C::Mdtm(_)
                | C::Feat
                | C::Opts(_)
                | C::Stat(None)
                | C::Pwd
                | C::Syst
                | C::Help
        );
        if !keeps_restart {
            self.transfer.restart = 0;
        }
        if !matches!(command, Command::Rnto(_))
            && let LoginState::In(logged_in) = &mut self.login
        {
            logged_in.rename_from = None;
        }
        self.dispatch(command).await
    }

    /// REST and RNFR were for the command that was refused, too.
    fn forget_preparations(&mut self) {
        self.transfer.restart = 0;
        if let LoginState::In(logged_in) = &mut self.login {
            logged_in.rename_from = None;
        }
    }

    /// Whether this listener refuses what is not protected.
    pub(super) fn tls_required(&self) -> bool {
        matches!(self.shared.settings.tls, TlsPolicy::Required(_) | TlsPolicy::Implicit(_))
    }

    /// Until when a login must be done.
    pub(super) fn login_deadline(&self) -> Instant {
        self.begun + self.shared.gateway.limits.login_timeout
    }

    fn is_late(&self) -> bool {
        !matches!(self.login, LoginState::In(_)) && Instant::now() >= self.login_deadline()
    }

    /// As after the greeting: the time for the login runs anew.
    pub(super) fn begin_again(&mut self) {
        self.begun = Instant::now();
    }

    pub(super) async fn answer(&mut self, code: u16, text: &str) {
        self.control.reply(code, &[text]).await;
    }

    /// The backend's words for a success where it has some, else ours.
    pub(super) async fn answer_with(&mut self, code: u16, text: &str, words: Option<PeerReply>) {
        match words {
            Some(words) if words.code / 100 == 2 => {
                self.control.reply(words.code, &words.lines).await
            }
            _ => self.answer(code, text).await,
        }
    }

    /// Tells a failure; a session whose backend is lost ends with it.
    pub(super) async fn fail(&mut self, failure: &Failure) -> Flow {
        let words = reply::of_failure(failure);
        self.control.reply(words.code, &words.lines).await;
        if failure.kind != FailureKind::Unavailable {
            return Flow::Continue;
        }
        self.client_info.end.set(SessionEnd::by(failure.fault, failure.message.clone()));
        Flow::Close
    }
}
