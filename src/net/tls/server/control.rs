//! The TLS of a control connection: which data connections resume its session, and what is known of the client's
//! store of sessions.

mod handshake;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::ServerTls;
use crate::net::tls::client_auth::ClientCertificate;
use crate::net::tls::resumption::ResumptionEvidence;
use crate::net::tls::sessions::SessionState;
use crate::net::tls::ticket::{SessionId, SessionStore};

pub use handshake::{DataHandshake, Direction};

/// With implicit TLS the client may have sent its ClientHello this long before the accept.
const ACCEPT_DELAY_MAX: Duration = Duration::from_millis(500);
/// The client may have sent its first command under TLS before it read its tickets, but not the second.
const COMMANDS_UNTIL_TICKETS_STORED: u8 = 2;

/// The TLS of one control session and its data connections.
pub struct ControlTls {
    listener: ServerTls,
    id: SessionId,
    store: Arc<SessionStore>,
    state: Arc<SessionState>,
    /// That the client sent on the control connection (SNI).
    server_name: OnceLock<String>,
    /// The client's, verified on the control connection.
    certificate: OnceLock<ClientCertificate>,
    /// Commands received under TLS, up to [`COMMANDS_UNTIL_TICKETS_STORED`].
    commands: AtomicU8,
    /// Whether the last data connection resumed it.
    resumes: AtomicBool,
    /// As in [`ResumptionEvidence`].
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    handshake_started: Option<Instant>,
    session_stored: Option<Instant>,
    /// TLS 1.3: some clients use each ticket once and keep only the newest.
    single_use_tickets: bool,
    tickets_used: Option<Instant>,
    resumed_since: Option<Instant>,
}

impl ControlTls {
    pub(super) fn new(
        listener: &ServerTls,
        id: SessionId,
        store: SessionStore,
        state: Arc<SessionState>,
    ) -> Self {
        Self {
            listener: listener.clone(),
            id,
            store: Arc::new(store),
            state,
            server_name: OnceLock::new(),
            certificate: OnceLock::new(),
            commands: AtomicU8::new(0),
            resumes: false.into(),
            times: Mutex::default(),
        }
    }

    /// Random; the session's tickets contain it.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether the client's data connections, as far as known, resume this session and no other.
    pub fn resumes(&self) -> bool {
        self.resumes.load(Ordering::Relaxed) && !self.state.shares_store()
    }

    /// A data connection did not resume it, or did not arrive.
    pub fn note_not_resumed(&self) {
        self.resumes.store(false, Ordering::Relaxed);
        self.times().resumed_since = None;
    }

    /// A command was received under TLS.
    pub fn note_command(&self) {
        if self.commands.load(Ordering::Relaxed) < COMMANDS_UNTIL_TICKETS_STORED
            && self.commands.fetch_add(1, Ordering::Relaxed) + 1 == COMMANDS_UNTIL_TICKETS_STORED
        {
            self.times().session_stored = Some(Instant::now());
        }
    }

    /// To be called before the reply that makes the client open a data connection.
    pub fn note_data_requested(&self) {
        let mut times = self.times();
        if times.single_use_tickets {
            times.tickets_used.get_or_insert_with(Instant::now);
        }
    }

    /// What is known so far of the store in which the client keeps this session.
    pub fn resumption_evidence(&self) -> ResumptionEvidence {
        let (times, now) = (self.times(), Instant::now());
        ResumptionEvidence {
            handshake_started: times.handshake_started.unwrap_or(now),
            session_stored: times.session_stored.unwrap_or(now),
            tickets_used: times.tickets_used,
            resumed_since: times.resumed_since,
            shares_store: self.state.shares_store(),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The listener that the control connection came to.
    pub fn listener(&self) -> &ServerTls {
        &self.listener
    }

    /// To be called before the reply to AUTH: the client may start the handshake of its control
    /// connection.
    pub fn note_handshake_allowed(&self) {
        self.note_handshake_started(Instant::now());
    }

    /// Implicit TLS: the client may start the handshake as soon as it is connected.
    pub fn note_implicit_tls(&self) {
        let earliest = Instant::now().checked_sub(ACCEPT_DELAY_MAX);
        self.note_handshake_started(earliest.unwrap_or_else(Instant::now));
    }

    fn note_handshake_started(&self, earliest: Instant) {
        self.times().handshake_started.get_or_insert(earliest);
    }

    /// The client's certificate, once the handshake of the control connection has verified it.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.get()
    }
}

impl Drop for ControlTls {
    fn drop(&mut self) {
        self.listener.lasting.sessions.remove(&self.id);
    }
}
