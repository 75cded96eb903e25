//! One SSH connection: who is logged in, when it must end, and its end.

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

use super::folder::Folders;
use super::shared::Shared;
use crate::net::ssh::{EXCHANGE_INTERVAL, EXCHANGES_MAX, FirstBytes, PeerClosed, QueuedStream};
use crate::op::Fault;
use crate::session::{ClientInfo, ClientRefusal, Session, SessionEnd};
use crate::wire;
use crate::wire::first_bytes::{Protocol, protocol};

pub(super) const GONE: &str = "the client has gone";
pub(super) const GONE_BEFORE: &str = "the client closed the connection before a login";
const NO_SSH: &str = "its first bytes are not SSH version 2";
pub(super) const NO_LOGIN: &str = "no login came in time (limits.login_timeout)";
/// Algorithms of a client that are named in the log.
const OFFERED_MAX: usize = 40;
/// For a client to take the last words and go.
pub(super) const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// All that a channel's end may take: the last words, the end of what was asked, and the cutting of
/// what is open. Then the rest is dropped. The connection's end and the drain wait longer than that.
pub(super) const CHANNEL_END_TIMEOUT: Duration = Duration::from_secs(8);

/// What the watching task, russh's handler and the channels share.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) client_info: ClientInfo,
    begun: Instant,
    session: OnceLock<Arc<Session>>,
    hang_up: OnceLock<PeerClosed>,
    first_bytes: OnceLock<FirstBytes>,
    /// The log has a line of a login, or of a key that was refused.
    has_login_line: AtomicBool,
    /// Its address has used up its key exchanges.
    is_over_exchanges: AtomicBool,
    ending: OnceLock<Ending>,
    /// `ending` is set.
    end: CancellationToken,
    /// The channels' tasks.
    pub(super) channels: TaskTracker,
    pub(super) folders: Arc<Folders>,
    /// The connection is gone; what is open is cut.
    pub(super) closing: CancellationToken,
    /// Channels with requests under way.
    busy: AtomicUsize,
    /// Milliseconds from `begun` to the last request.
    last_request: AtomicU64,
}

/// Why the gateway ends a connection; told to the client.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    code: u32,
    pub(super) end: SessionEnd,
}

/// As long as it lives, its connection is not idle.
pub(super) struct Busy(Arc<Connection>);

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, client_info: ClientInfo) -> Arc<Self> {
        Arc::new(Self {
            shared,
            client_info,
            begun: Instant::now(),
            session: OnceLock::new(),
            hang_up: OnceLock::new(),
            first_bytes: OnceLock::new(),
            has_login_line: AtomicBool::new(false),
            is_over_exchanges: AtomicBool::new(false),
            ending: OnceLock::new(),
            end: CancellationToken::new(),
            channels: TaskTracker::new(),
            folders: Folders::new(),
            closing: CancellationToken::new(),
            busy: AtomicUsize::new(0),
            last_request: AtomicU64::new(0),
        })
    }

    /// What russh reads and writes through, whose begin and end count here.
    pub(super) fn attach(&self, queued: &mut QueuedStream) {
        let _ = self.first_bytes.set(queued.first_bytes());
        let _ = self.hang_up.set(queued.peer_closed());
    }

    /// Returns when [`Connection::end`] was called.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }

    /// Somebody has logged in.
    pub(super) async fn admit(&self, session: Session) {
        self.note_request();
        if let Err(second) = self.session.set(Arc::new(session)) {
            let _ = timeout(GOODBYE_TIMEOUT, second.close()).await;
        }
    }

    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.session.get()
    }

    /// Ends the connection; the first reason counts. What was sent before is sent.
    pub(super) fn end(&self, code: Disconnect, end: SessionEnd) {
        // Before the channels hear of it.
        self.client_info.end.set(end.clone());
        let _ = self.ending.set(Ending::new(code, end));
        self.end.cancel();
    }

    /// It is to end: nothing new begins.
    pub(super) fn is_ending(&self) -> bool {
        self.end.is_cancelled() || self.closing.is_cancelled()
    }

    /// Returns when the client has gone: russh reads nothing while it waits for a login.
    pub(super) async fn gone(&self) {
        match self.hang_up.get() {
            Some(hang_up) => hang_up.wait().await,
            None => std::future::pending().await,
        }
    }

    /// Until when a login must be done.
    pub(super) fn login_deadline(&self) -> Instant {
        self.begun + self.shared.gateway.limits.login_timeout
    }

    pub(super) fn note_request(&self) {
        let since = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(since, Ordering::Relaxed);
    }

    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Returns when the gateway must end the connection.
    pub(super) async fn watch(&self) -> Ending {
        let drain = &self.shared.drain;
        let drained = async {
            drain.draining().await;
            self.channels.close();
            self.channels.wait().await;
        };
        let shutting_down = || Ending::new(Disconnect::ByApplication, SessionEnd::shutdown());
        let by_client = |code, why| Ending::new(code, SessionEnd::by(Fault::Client, why));
        tokio::select! {
            biased;
            () = self.end.cancelled() => match self.ending.get() {
                Some(ending) => ending.clone(),
                None => Ending::new(Disconnect::ByApplication, SessionEnd::done("goodbye")),
            },
            () = drain.forced() => shutting_down(),
            () = drained => shutting_down(),
            () = self.no_login() => {
                by_client(Disconnect::ByApplication, NO_LOGIN)
            }
            () = self.left() => {
                by_client(Disconnect::ConnectionLost, "the client went while it was not read")
            }
            () = self.idle() => {
                by_client(Disconnect::ByApplication, "no request came in time (limits.idle_timeout)")
            }
        }
    }

    async fn no_login(&self) {
        sleep_until(self.login_deadline()).await;
        if self.session.get().is_some() {
            std::future::pending().await
        }
    }

    /// Returns when the client has gone and what it sent before was not all read in the time that an
    /// end may take: russh sees the end only behind it, and waits for a channel that takes no more.
    async fn left(&self) {
        self.gone().await;
        sleep(CHANNEL_END_TIMEOUT).await;
    }

    async fn idle(&self) {
        let limit = self.shared.gateway.limits.idle_timeout;
        loop {
            let last = Duration::from_millis(self.last_request.load(Ordering::Relaxed));
            let busy = self.busy.load(Ordering::Relaxed) > 0 || self.session.get().is_none();
            let until = if busy { Instant::now() + limit } else { self.begun + last + limit };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Notes what the client says of itself, for the records.
    pub(super) fn note_client(&self) {
        let first = self.first_bytes.get().map(FirstBytes::take).unwrap_or_default();
        if let Some(offer) = wire::ssh::client_offer(&first) {
            let _ =
                self.client_info.encryption.set(self.shared.settings.algorithms.describe(&offer));
            let client = String::from_utf8(offer.identification);
            let escaped = |error: FromUtf8Error| error.as_bytes().escape_ascii().to_string();
            let _ = self.client_info.client.set(client.unwrap_or_else(escaped));
        }
    }

    pub(super) fn note_login_line(&self) {
        self.has_login_line.store(true, Ordering::Relaxed);
    }

    /// Takes one costly key exchange from what the client's address has left; whether there was one.
    pub(super) fn take_exchange(&self) -> bool {
        let is_left = self.shared.exchanges.take(self.client_info.peer.ip());
        if !is_left {
            self.is_over_exchanges.store(true, Ordering::Relaxed);
        }
        is_left
    }

    /// One line a minute for all of them: there may be many.
    fn refused_exchange(&self) {
        let (gateway, why) = (&self.shared.gateway, ClientRefusal::KeyExchanges);
        let Some(suppressed) = self.shared.exchanges.next_log_line() else {
            return gateway.count_refused(&self.client_info, why);
        };
        let what = format!(
            "its address asked for more than {EXCHANGES_MAX} key exchanges by finite field before a \
             login, and more than one in {}; {suppressed} such clients since the last line",
            humantime::format_duration(EXCHANGE_INTERVAL)
        );
        gateway.client_refused(&self.client_info, why, what);
    }

    /// It ends before a login. Whoever has sent nothing only looked whether somebody is here; whoever
    /// goes after a login that was refused has the line of that.
    pub(super) fn refused(&self, error: Option<&russh::Error>, why: &str) {
        use ClientRefusal as R;
        if self.is_over_exchanges.load(Ordering::Relaxed) {
            return self.refused_exchange();
        }
        let first = self.first_bytes.get().map(FirstBytes::take).unwrap_or_default();
        let tried = self.client_info.client.get().is_some();
        let has_login_line = self.has_login_line.load(Ordering::Relaxed);
        let has_gone = error.map_or(why == GONE, is_gone);
        let (refusal, what) = match (protocol(&first), error) {
            // A record of the login tells it.
            _ if has_gone && has_login_line => return,
            _ if first.is_empty() && !tried => {
                return self.shared.gateway.ended_without_login(&self.client_info, why);
            }
            (Some(Protocol::Http), _) => {
                (R::Speaks(Protocol::Http), "it speaks HTTP; this is an SFTP port".to_owned())
            }
            (Some(Protocol::Tls), _) => (
                R::Speaks(Protocol::Tls),
                "it speaks TLS; this is an SFTP port, FTPS needs a listener with `protocol: ftp`"
                    .to_owned(),
            ),
            (_, Some(russh::Error::NoCommonAlgo { kind, ours, theirs })) => {
                let theirs = &theirs[..theirs.len().min(OFFERED_MAX)];
                let algorithms = &self.shared.settings.algorithms;
                let would_do = algorithms
                    .suggestion(theirs)
                    .map(|it| format!(", or write {it} on the listener"));
                let would_do = would_do.unwrap_or_default();
                let (ours, theirs) = (ours.join(", "), theirs.join(", "));
                let also = match kind {
                    AlgorithmKind::Key => ", or add a key of such a kind to `host_keys`",
                    _ => "",
                };
                let what = format!(
                    "no {} in common: the client offers {theirs}; the gateway has {ours}; update the \
                     client{also}{would_do}",
                    kind_name(kind)
                );
                (R::SshAlgorithms, what)
            }
            (_, Some(russh::Error::Version)) => (R::NotSsh, NO_SSH.to_owned()),
            _ if !tried && !begins_as_ssh(&first) => (R::NotSsh, NO_SSH.to_owned()),
            _ if why == NO_LOGIN => (R::LoginTimeout, why.to_owned()),
            _ if has_gone => (R::SshHandshake, GONE_BEFORE.to_owned()),
            _ => (R::SshHandshake, format!("the SSH connection ended before a login: {why}")),
        };
        self.shared.gateway.client_refused(&self.client_info, refusal, what);
    }
}

/// As far as it goes.
fn begins_as_ssh(first: &[u8]) -> bool {
    const BEGIN: &[u8] = b"SSH-";
    first.starts_with(BEGIN) || BEGIN.starts_with(first)
}

fn is_gone(error: &russh::Error) -> bool {
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

impl Ending {
    fn new(code: Disconnect, end: SessionEnd) -> Self {
        Self { code: code as u32, end }
    }

    pub(super) async fn tell(&self, client: &Handle) {
        let code = Disconnect::try_from(self.code).unwrap_or(Disconnect::ByApplication);
        // A connection that is gone need not be told.
        let _ = client.disconnect(code, self.end.reason().to_owned(), "en".to_owned()).await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.note_request();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
