//! The state of one SSH connection: its session, its deadlines and its end.

use std::io;
use std::string::FromUtf8Error;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::server::Handle;
use russh::{AlgorithmKind, Disconnect};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::directory::OpenDirectories;
use super::shared::Shared;
use crate::net::ssh::{EXCHANGE_INTERVAL, EXCHANGES_MAX, FirstBytes, PeerClosed, QueuedStream};
use crate::op::Fault;
use crate::session::{ClientInfo, ClientRefusal, Session, SessionEnd};
use crate::wire;
use crate::wire::first_bytes::{Protocol, protocol};

pub(super) const CLOSED: &str = "the client closed the connection";
pub(super) const CLOSED_BEFORE_LOGIN: &str = "the client closed the connection before a login";
const NOT_SSH: &str = "the client's first bytes are not SSH version 2";
pub(super) const LOGIN_TIMED_OUT: &str = "no login came in time (limits.login_timeout)";
/// Algorithms of a client that are named in the log.
const LOGGED_ALGORITHMS_MAX: usize = 40;
/// For a client to receive the disconnect message and close the connection.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For all of a channel's end: its last messages, the end of its requests, and the abort of open
/// files. The rest is dropped. The end of the connection and the drain wait longer.
pub(super) const CHANNEL_END_TIMEOUT: Duration = Duration::from_secs(8);

/// What russh's handler, the channels and the connection's task share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) client_info: ClientInfo,
    started: Instant,
    session: OnceLock<Arc<Session>>,
    hang_up: OnceLock<PeerClosed>,
    first_bytes: OnceLock<FirstBytes>,
    /// The log has a line about a login, or about a key that was refused.
    login_logged: AtomicBool,
    /// The client's address has used up its key exchanges.
    exchanges_exceeded: AtomicBool,
    disconnection: OnceLock<Disconnection>,
    /// `disconnection` is set.
    end: CancellationToken,
    /// The channels' tasks.
    pub(super) channels: TaskTracker,
    pub(super) directories: Arc<OpenDirectories>,
    /// The connection is closed; open files are aborted.
    pub(super) closing: CancellationToken,
    /// Channels with unfinished requests.
    active_channels: AtomicUsize,
    /// Milliseconds from `started` to the last request.
    last_request: AtomicU64,
}

/// Why the gateway ends a connection, as sent to the client.
#[derive(Debug, Clone)]
pub(super) struct Disconnection {
    code: u32,
    pub(super) end: SessionEnd,
}

/// While it exists, its connection is not idle.
pub(super) struct ActivityGuard(Arc<Connection>);

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, client_info: ClientInfo) -> Arc<Self> {
        Arc::new(Self {
            shared,
            client_info,
            started: Instant::now(),
            session: OnceLock::new(),
            hang_up: OnceLock::new(),
            first_bytes: OnceLock::new(),
            login_logged: AtomicBool::new(false),
            exchanges_exceeded: AtomicBool::new(false),
            disconnection: OnceLock::new(),
            end: CancellationToken::new(),
            channels: TaskTracker::new(),
            directories: OpenDirectories::new(),
            closing: CancellationToken::new(),
            active_channels: AtomicUsize::new(0),
            last_request: AtomicU64::new(0),
        })
    }

    /// Sets the stream that russh reads and writes.
    pub(super) fn attach(&self, queued: &mut QueuedStream) {
        let _ = self.first_bytes.set(queued.first_bytes());
        let _ = self.hang_up.set(queued.peer_closed());
    }

    /// Returns when [`Connection::end`] was called.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }

    pub(super) async fn set_session(&self, session: Session) {
        self.note_request();
        if let Err(second) = self.session.set(Arc::new(session)) {
            let _ = timeout(DISCONNECT_TIMEOUT, second.close()).await;
        }
    }

    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.session.get()
    }

    /// Ends the connection; the first reason counts. Pending messages are sent first.
    pub(super) fn end(&self, code: Disconnect, end: SessionEnd) {
        // Before the channels see the end.
        self.client_info.end.set(end.clone());
        let _ = self.disconnection.set(Disconnection::new(code, end));
        self.end.cancel();
    }

    /// Whether the connection ends: nothing new is started.
    pub(super) fn is_ending(&self) -> bool {
        self.end.is_cancelled() || self.closing.is_cancelled()
    }

    /// Returns when the client has closed the connection: russh does not read while it waits for a
    /// login.
    pub(super) async fn closed_by_client(&self) {
        match self.hang_up.get() {
            Some(hang_up) => hang_up.wait().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn login_deadline(&self) -> Instant {
        self.started + self.shared.gateway.limits.login_timeout
    }

    pub(super) fn note_request(&self) {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(since, Ordering::Relaxed);
    }

    pub(super) fn active(self: &Arc<Self>) -> ActivityGuard {
        self.active_channels.fetch_add(1, Ordering::Relaxed);
        ActivityGuard(self.clone())
    }

    /// Returns when the gateway must end the connection.
    pub(super) async fn watch(&self) -> Disconnection {
        let live = &self.client_info.live;
        let drained = async {
            live.drain().draining().await;
            let is_used = !self.channels.is_empty();
            self.channels.close();
            self.channels.wait().await;
            // OpenSSH's client drops what it has not yet handed on when a disconnect message arrives: the
            // reply to the last CLOSE, too. It ends by itself when its channel is closed.
            if is_used {
                let _ = timeout(DISCONNECT_TIMEOUT, self.closed_by_client()).await;
            }
        };
        let early = |end| Disconnection::new(Disconnect::ByApplication, end);
        let by_client =
            |code, reason| Disconnection::new(code, SessionEnd::by(Fault::Client, reason));
        tokio::select! {
            biased;
            () = self.end.cancelled() => match self.disconnection.get() {
                Some(disconnection) => disconnection.clone(),
                None => Disconnection::new(Disconnect::ByApplication, SessionEnd::done(CLOSED)),
            },
            end = live.forced() => early(end),
            () = drained => early(live.end()),
            () = self.login_timed_out() => {
                by_client(Disconnect::ByApplication, LOGIN_TIMED_OUT)
            }
            () = self.closed_unread() => {
                by_client(Disconnect::ConnectionLost, "the client closed the connection while a channel did not read")
            }
            () = self.idle() => {
                by_client(Disconnect::ByApplication, "no request came in time (limits.idle_timeout)")
            }
        }
    }

    async fn login_timed_out(&self) {
        sleep_until(self.login_deadline()).await;
        if self.session.get().is_some() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the client has closed the connection and its data was not read in the time that
    /// an end may take: russh sees the end only after the data, and waits for a channel that does
    /// not read.
    async fn closed_unread(&self) {
        self.closed_by_client().await;
        sleep(CHANNEL_END_TIMEOUT).await;
    }

    async fn idle(&self) {
        let limit = self.shared.gateway.limits.idle_timeout;
        loop {
            let last = Duration::from_millis(self.last_request.load(Ordering::Relaxed));
            let active =
                self.active_channels.load(Ordering::Relaxed) > 0 || self.session.get().is_none();
            let until = if active { Instant::now() + limit } else { self.started + last + limit };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Sets the client program and the algorithms, for the records.
    pub(super) fn note_client(&self) {
        let first = self.first_bytes.get().map(FirstBytes::take).unwrap_or_default();
        if let Some(offer) = wire::ssh::client_offer(&first) {
            let protection = self.shared.settings.algorithms.protection(&offer);
            if self.client_info.encryption.set(protection.clone()).is_ok() {
                self.shared.gateway.ssh_established(&self.client_info, &protection);
            }
            let client = String::from_utf8(offer.identification);
            let escaped = |error: FromUtf8Error| error.as_bytes().escape_ascii().to_string();
            let _ = self.client_info.client.set(client.unwrap_or_else(escaped));
        }
    }

    pub(super) fn note_login_logged(&self) {
        self.login_logged.store(true, Ordering::Relaxed);
    }

    /// Counts one expensive key exchange; returns whether the client's address had one left.
    pub(super) fn take_exchange(&self) -> bool {
        let is_left = self.shared.exchanges.take(self.client_info.peer.ip());
        if !is_left {
            self.exchanges_exceeded.store(true, Ordering::Relaxed);
        }
        is_left
    }

    /// Logs one line a minute for all such clients.
    fn log_exchanges_exceeded(&self) {
        let (gateway, kind) = (&self.shared.gateway, ClientRefusal::KeyExchanges);
        let Some(suppressed) = self.shared.exchanges.next_log_line() else {
            return gateway.count_refused(&self.client_info, kind);
        };
        let reason = format!(
            "the client's address requested more than {EXCHANGES_MAX} finite field key exchanges \
             before a login, and more than one in {}; {suppressed} such clients since the last line",
            humantime::format_duration(EXCHANGE_INTERVAL)
        );
        gateway.client_refused(&self.client_info, kind, reason);
    }

    /// Logs a connection that ends before a login. A client that has sent nothing is a health
    /// check; a client that leaves after a refused login has a line for that.
    pub(super) fn log_refused(&self, error: Option<&russh::Error>, reason: &str) {
        use ClientRefusal as R;
        if self.exchanges_exceeded.load(Ordering::Relaxed) {
            return self.log_exchanges_exceeded();
        }
        let first = self.first_bytes.get().map(FirstBytes::take).unwrap_or_default();
        let is_ssh_client = self.client_info.client.get().is_some();
        let login_logged = self.login_logged.load(Ordering::Relaxed);
        let has_closed = error.map_or(reason == CLOSED, is_closed);
        let (kind, reason) = match (protocol(&first), error) {
            // The record of the login has the reason.
            _ if has_closed && login_logged => {
                return tracing::debug!(reason, "the connection ended after a refused login");
            }
            _ if first.is_empty() && !is_ssh_client => {
                return self.shared.gateway.ended_without_login(&self.client_info, reason);
            }
            (Some(Protocol::Http), _) => {
                (R::Speaks(Protocol::Http), "the client speaks HTTP on an SFTP port".to_owned())
            }
            (Some(Protocol::Tls), _) => (
                R::Speaks(Protocol::Tls),
                "the client speaks TLS on an SFTP port; FTPS needs a listener with `protocol: ftp`"
                    .to_owned(),
            ),
            (_, Some(russh::Error::NoCommonAlgo { kind, ours, theirs })) => {
                let theirs = &theirs[..theirs.len().min(LOGGED_ALGORITHMS_MAX)];
                let algorithms = &self.shared.settings.algorithms;
                let suggestion = algorithms
                    .suggestion(theirs)
                    .map(|it| format!(", or write {it} on the listener"));
                let suggestion = suggestion.unwrap_or_default();
                let (ours, theirs) = (ours.join(", "), theirs.join(", "));
                let also = match kind {
                    AlgorithmKind::Key => ", or add a key of such a kind to `host_keys`",
                    _ => "",
                };
                let reason = format!(
                    "no {} in common: the client offers {theirs}; the gateway has {ours}; update the \
                     client{also}{suggestion}",
                    kind_name(kind)
                );
                (R::SshAlgorithms, reason)
            }
            (_, Some(russh::Error::Version)) => (R::NotSsh, NOT_SSH.to_owned()),
            _ if !is_ssh_client && !is_ssh(&first) => (R::NotSsh, NOT_SSH.to_owned()),
            _ if reason == LOGIN_TIMED_OUT => (R::LoginTimeout, reason.to_owned()),
            _ if has_closed => (R::SshHandshake, CLOSED_BEFORE_LOGIN.to_owned()),
            _ => (R::SshHandshake, format!("the SSH connection ended before a login: {reason}")),
        };
        self.shared.gateway.client_refused(&self.client_info, kind, reason);
    }
}

/// Whether these bytes are SSH, or the start of it.
fn is_ssh(first: &[u8]) -> bool {
    const START: &[u8] = b"SSH-";
    first.starts_with(START) || START.starts_with(first)
}

fn is_closed(error: &russh::Error) -> bool {
    use io::ErrorKind as K;
    match error {
        russh::Error::Disconnect | russh::Error::HUP => true,
        russh::Error::IO(error) => {
            matches!(error.kind(), K::UnexpectedEof | K::ConnectionReset | K::BrokenPipe)
        }
        _ => false,
    }
}

fn kind_name(kind: &AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "kind of host key",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Compression => "compression",
        AlgorithmKind::Mac => "MAC",
    }
}

impl Disconnection {
    fn new(code: Disconnect, end: SessionEnd) -> Self {
        Self { code: code as u32, end }
    }

    pub(super) async fn send(&self, client: &Handle) {
        let code = Disconnect::try_from(self.code).unwrap_or(Disconnect::ByApplication);
        // Fails where the connection is closed already.
        let _ = client.disconnect(code, self.end.reason().to_owned(), "en".to_owned()).await;
    }
}

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.0.note_request();
        self.0.active_channels.fetch_sub(1, Ordering::Relaxed);
    }
}
