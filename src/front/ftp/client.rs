//! One client's session: its state, its command loop and its end.

mod line;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, Span};

use super::client_state::{Flow, LoginState, TransferState};
use super::command_queue::Line;
use super::control::Control;
use super::handshake::other_protocol_reason;
use super::reply::{self, Reply};
use super::settings::TlsPolicy;
use super::shared::Shared;
use crate::net::Stream;
use crate::net::tls::ControlTls;
use crate::op::{Failure, FailureKind, Fault, PeerReply};
use crate::session::{ClientInfo, ClientRefusal, SessionEnd};
use crate::wire::first_bytes::{Protocol, protocol};
use crate::wire::ftp::listing::FactSet;

/// For a transfer to be aborted, or for an upload to be opened, when the session must end at once; then the
/// session is dropped.
const FORCED_ABORT_TIMEOUT: Duration = Duration::from_secs(8);
/// For the backend's session to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) client_info: ClientInfo,
    /// The address that the client connected to.
    pub(super) local: SocketAddr,
    pub(super) control: Control,
    pub(super) tls: Option<ControlTls>,
    pub(super) login: LoginState,
    pub(super) failed_logins: u32,
    /// PROT P.
    pub(super) private: bool,
    /// PROT requires PBSZ first.
    pub(super) pbsz_received: bool,
    pub(super) transfer: TransferState,
    pub(super) facts: FactSet,
    started: Instant,
    /// The connection has a record, of a login or of a refusal, or was counted as one without a login.
    pub(super) is_recorded: bool,
    /// The last refusal that was logged; each kind is logged once in a row.
    logged_refusal: Option<ClientRefusal>,
    /// Held during what may not just be dropped when the session must end at once.
    transferring: Arc<Mutex<()>>,
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
            login: LoginState::Initial,
            failed_logins: 0,
            private,
            pbsz_received: private,
            transfer: TransferState::default(),
            facts: FactSet::default(),
            started: Instant::now(),
            is_recorded: false,
            logged_refusal: None,
            transferring: Arc::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let (live, end) = (self.client_info.live.clone(), self.client_info.end.clone());
        let transferring = self.transferring.clone();
        let forced = async {
            let reason = live.forced().await;
            end.set(reason.clone());
            let _ = timeout(FORCED_ABORT_TIMEOUT, transferring.lock()).await;
            // A client that only does not read a reply loses nothing.
            if live.is_at_work() {
                live.note_cut();
            }
            reason
        };
        tokio::select! {
            biased;
            // First: what it interrupts is recorded with this reason.
            reason = forced => {
                // REIN may have started another session meanwhile.
                let _ = timeout(CLOSE_TIMEOUT, self.end_early(reason)).await;
            }
            () = self.serve() => {
                self.client_info.end.set(SessionEnd::by(Fault::Client, self.control.close_reason()));
            }
        }
        if !self.is_recorded {
            let reason = self.client_info.end.get().map_or("", SessionEnd::reason);
            self.shared.gateway.ended_without_login(&self.client_info, reason);
        }
        if let LoginState::LoggedIn(logged_in) = self.login {
            let span = logged_in.session.span().clone();
            let closing = async move {
                // A close that hangs must not keep the session's admission permit.
                let _ = timeout(CLOSE_TIMEOUT, logged_in.session.close()).await;
            };
            closing.instrument(span).await;
        }
        self.control.shutdown().await;
    }

    async fn serve(&mut self) {
        match &self.shared.settings.greeting {
            Some(greeting) => self.control.reply_lines(Reply::READY.code, greeting.lines()).await,
            None => self.reply(Reply::READY).await,
        }
        loop {
            let Some(line) = self.next_line().await else {
                if let Some(other) = self.control.other_protocol() {
                    self.log_other_protocol(other);
                }
                return;
            };
            if let Some(other) = self.other_protocol(&line) {
                self.reply(Reply::NOT_FTP).await;
                self.log_other_protocol(other);
                return;
            }
            let span = match &self.login {
                LoginState::LoggedIn(logged_in) => logged_in.session.span().clone(),
                _ => Span::current(),
            };
            if self.handle_line(line).instrument(span).await == Flow::Close {
                return;
            }
        }
    }

    /// The protocol of a line that is not FTP; checked until USER.
    fn other_protocol(&self, line: &Line) -> Option<Protocol> {
        match (&self.login, line) {
            (LoginState::Initial, Ok(line)) => protocol(line),
            _ => None,
        }
    }

    fn log_other_protocol(&mut self, other: Protocol) {
        self.log_refused(ClientRefusal::Speaks(other), other_protocol_reason(other));
    }

    /// Logs a client that is refused, unless the last line had the same kind.
    pub(super) fn log_refused(&mut self, kind: ClientRefusal, reason: &str) {
        self.is_recorded = true;
        if self.logged_refusal.replace(kind) != Some(kind) {
            self.shared.gateway.client_refused(&self.client_info, kind, reason);
        }
    }

    /// The next line within the timeouts; `None` at the end of the session, after a reply with the
    /// reason.
    async fn next_line(&mut self) -> Option<Line> {
        let limits = &self.shared.gateway.limits;
        let (deadline, reply, reason) = match self.login {
            LoginState::LoggedIn(_) => (
                Instant::now() + limits.idle_timeout,
                Reply::IDLE_TIMEOUT,
                "no command came in time (limits.idle_timeout)",
            ),
            _ => (
                self.login_deadline(),
                Reply::LOGIN_TIMEOUT,
                "no login came in time (limits.login_timeout)",
            ),
        };
        let live = self.client_info.live.clone();
        // The client has a port, or has named one, and sends its transfer command next.
        let requested = self.transfer.requested.as_ref();
        let transfer_until =
            requested.map(|it| Instant::from_std(it.since()) + limits.data_connect_timeout);
        let drained = async {
            live.drain().draining().await;
            if let Some(until) = transfer_until {
                tokio::select! {
                    () = sleep_until(until) => {}
                    _ = live.forced() => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = drained => {
                self.await_delivery().await;
                self.end_early(live.end()).await;
                None
            }
            // Commands do not extend the deadline of the login.
            line = self.control.line(), if !self.is_login_overdue() => line,
            () = sleep_until(deadline) => {
                self.client_info.end.set(SessionEnd::by(Fault::Client, reason));
                let is_logged_in = matches!(self.login, LoginState::LoggedIn(_));
                let is_logged = self.logged_refusal.is_some();
                if !is_logged_in && !is_logged && self.control.has_received() {
                    self.log_refused(ClientRefusal::LoginTimeout, reason);
                }
                self.reply(reply).await;
                None
            }
        }
    }

    /// Returns when the client has received the last download: some clients give it up when the control
    /// connection ends before. A client that goes on with a command, or leaves, has received it.
    async fn await_delivery(&mut self) {
        let Some(mut data) = self.transfer.sent.take() else { return };
        let limit = self.shared.gateway.limits.stall_timeout;
        let live = self.client_info.live.clone();
        let mut rest = [0; 1024];
        let delivered = async { while data.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        tokio::select! {
            _ = timeout(limit, delivered) => {}
            _ = self.control.line() => {}
            _ = live.forced() => {}
        }
    }

    /// Ends a session that may start nothing new. For a request of another data connection: with one after the
    /// other, the client would put off the end.
    pub(super) async fn end_drained(&mut self) -> Flow {
        let end = self.client_info.live.end();
        self.end_early(end).await;
        Flow::Close
    }

    /// Until this is dropped, the end of the session waits for a while, so that a transfer is aborted in order.
    pub(super) async fn transferring(&self) -> OwnedMutexGuard<()> {
        self.transferring.clone().lock_owned().await
    }

    /// Tells the client why the session ends before it wants to. The connection must then be closed.
    pub(super) async fn end_early(&mut self, end: SessionEnd) {
        let reply = Reply::closing(&end);
        self.client_info.end.set(end);
        self.reply(reply).await;
    }

    /// Whether commands are relayed (`dialect: opaque`).
    pub(super) fn is_opaque(&self) -> bool {
        matches!(&self.login, LoginState::LoggedIn(logged_in) if logged_in.session.is_opaque())
    }

    /// Whether this listener refuses logins and transfers without TLS.
    pub(super) fn tls_required(&self) -> bool {
        matches!(self.shared.settings.tls, TlsPolicy::Required(_) | TlsPolicy::Implicit(_))
    }

    pub(super) fn login_deadline(&self) -> Instant {
        self.started + self.shared.gateway.limits.login_timeout
    }

    fn is_login_overdue(&self) -> bool {
        !matches!(self.login, LoginState::LoggedIn(_)) && Instant::now() >= self.login_deadline()
    }

    pub(super) fn restart_login_timeout(&mut self) {
        self.started = Instant::now();
    }

    pub(super) async fn reply(&mut self, reply: Reply) {
        self.control.reply(reply).await;
    }

    /// Replies to a command that succeeded: with the backend's reply, where there is one, or `own`.
    pub(super) async fn reply_done(&mut self, own: Reply, backend: Option<PeerReply>) {
        match backend {
            Some(reply) if reply.code / 100 == 2 => self.reply_of_server(&reply).await,
            _ => self.reply(own).await,
        }
    }

    /// Sends a server's reply, of an opaque one as it is.
    pub(super) async fn reply_of_server(&mut self, reply: &PeerReply) {
        if self.is_opaque() {
            self.control.relay_reply(reply).await;
        } else {
            self.control.reply_lines(reply.code, &reply.lines).await;
        }
    }

    /// Replies to a failed command. The session ends where its backend is lost.
    pub(super) async fn fail(&mut self, failure: &Failure) -> Flow {
        self.reply_of_server(&reply::of_failure(failure)).await;
        if failure.kind != FailureKind::Unavailable {
            return Flow::Continue;
        }
        self.client_info.end.set(SessionEnd::by(failure.fault, failure.message.clone()));
        Flow::Close
    }
}
