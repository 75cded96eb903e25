//! TLS towards clients: control connections, and data connections that resume their sessions.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::server::StoresServerSessions;
use rustls::{HandshakeKind, ServerConfig};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::certificates::{CertificateChoice, ServerCertificates};
use super::chain::{Chain, SystemAuthorities};
use super::client_auth::{ClientAuth, ClientCertificate};
use super::hello::OfferedSessions;
use super::resumption::ResumptionEvidence;
use super::sessions::{SessionState, Sessions};
use super::ticket::{
    self, LookupRecorder, OwnedTicketer, ReadOnlyStore, SessionId, SessionIdIndex, SessionStore,
    TicketOwner,
};
use super::ticketer::WeeklyTicketer;
use crate::net::Stream;
use crate::net::buffered::{BufferedTcp, DATA_BUFFER_SIZE};

/// Tickets that a TLS 1.3 control connection gets. More than rustls' two, since upload data
/// connections get none and some clients use each ticket once.
const TICKETS_PER_CONTROL_CONNECTION: usize = 8;
/// With implicit TLS the client may have sent its ClientHello this long before the accept.
const ACCEPT_DELAY_MAX: Duration = Duration::from_millis(500);
/// The client may have sent its first command under TLS before it read its tickets, but not the second.
const COMMANDS_UNTIL_TICKETS_STORED: u8 = 2;

type ServerStream = tokio_rustls::server::TlsStream<BufferedTcp>;

/// A listener's TLS: its certificates, the shared ticketer and its control sessions.
#[derive(Clone)]
pub struct ServerTls {
    base: Arc<ServerConfig>,
    certificates: Arc<ServerCertificates>,
    client_auth: Option<ClientAuth>,
    /// What the listener keeps when it gets another certificate.
    lasting: Arc<Lasting>,
}

/// The key of a listener's tickets, and the sessions that resume with them.
struct Lasting {
    ticketer: Arc<WeeklyTicketer>,
    session_ids: Arc<SessionIdIndex>,
    sessions: Sessions,
}

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

/// The direction of a data transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Download,
    /// From the client. No session ticket is sent: some clients close without reading it, their kernel
    /// sends RST, and the upload is truncated.
    Upload,
}

/// An accepted data connection.
pub struct DataHandshake {
    /// Its bytes.
    pub stream: Stream,
    /// It resumed the control session or a related one: one of a chain of sessions that resumed one
    /// another, or one of the same certificate, where certificates name users.
    pub resumed: bool,
    /// The listener asks for certificates, and it neither resumed a related session nor has the control
    /// connection's certificate: it is another client's.
    pub is_foreign: bool,
}

impl ServerTls {
    /// What clients get, the default certificate first. `known`: see [`Chain::of`].
    pub fn chains(&self, known: &SystemAuthorities) -> Vec<Chain> {
        self.certificates.chains().into_iter().map(|chain| Chain::of(chain, known)).collect()
    }

    /// What it demands of clients' certificates; `None`: it does not ask for them.
    pub fn client_auth(&self) -> Option<&ClientAuth> {
        self.client_auth.as_ref()
    }

    /// TLS 1.2 and 1.3 with one certificate or several. `client_auth`: `None` if clients are not asked for
    /// a certificate.
    pub fn new(
        certificates: impl Into<ServerCertificates>,
        client_auth: Option<ClientAuth>,
    ) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(certificates.into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let builder = match &client_auth {
            Some(client_auth) => builder.with_client_cert_verifier(client_auth.verifier()),
            None => builder.with_no_client_auth(),
        };
        let choice = CertificateChoice::for_control(certificates.clone());
        let mut base = builder.with_cert_resolver(Arc::new(choice));
        base.send_tls13_tickets = TICKETS_PER_CONTROL_CONNECTION;
        Ok(Self {
            base: Arc::new(base),
            certificates,
            client_auth,
            lasting: Arc::new(Lasting {
                ticketer: Arc::new(WeeklyTicketer::new()?),
                session_ids: Arc::default(),
                sessions: Sessions::default(),
            }),
        })
    }

    /// The same listener as `previous`, with other certificates and settings: its sessions go on, also for
    /// their later data connections.
    pub fn continues(&mut self, previous: &Self) {
        self.lasting = previous.lasting.clone();
    }

    /// The keys of the session tickets, for the process that takes over: secret.
    pub fn ticket_keys(&self) -> serde_json::Value {
        self.lasting.ticketer.export()
    }

    /// Goes on with the keys of the process before. Returns whether they are complete; otherwise it keeps its
    /// own.
    pub fn set_ticket_keys(&self, exported: &serde_json::Value) -> bool {
        self.lasting.ticketer.import(exported)
    }

    /// TLS for a new control session.
    pub fn control_session(&self) -> ControlTls {
        let id = rand::random();
        ControlTls {
            listener: self.clone(),
            id,
            store: Arc::new(SessionStore::new(id, self.lasting.session_ids.clone())),
            state: self.lasting.sessions.start(id),
            server_name: OnceLock::new(),
            certificate: OnceLock::new(),
            commands: AtomicU8::new(0),
            resumes: false.into(),
            times: Mutex::default(),
        }
    }

    /// The control sessions that the offered sessions belong to. Only the handshake verifies the offer.
    pub fn owners(&self, offered: &OfferedSessions) -> Vec<SessionId> {
        let owner =
            |ticket: &Vec<u8>| Some(ticket::open(&*self.lasting.ticketer, ticket)?.0.session);
        let by_ticket = offered.tickets.iter().filter_map(owner);
        by_ticket.chain(self.lasting.session_ids.owner(&offered.session_id)).collect()
    }

    /// A connection that was expected to resume `one` offered `others`: their client keeps one store for
    /// all of them.
    pub fn note_shared_store(&self, one: &SessionId, others: &[SessionId]) {
        let live: Vec<_> = others.iter().filter_map(|id| self.lasting.sessions.get(id)).collect();
        if !live.is_empty() {
            live.iter()
                .chain(self.lasting.sessions.get(one).iter())
                .for_each(|s| s.note_shared_store());
        }
    }
}

/// Whether both belong to the same listener, whatever its certificates.
impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lasting, &other.lasting)
    }
}

impl ControlTls {
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

    /// The server's half of the handshake on the control connection. `None`: the client closed as soon
    /// as its half was done, as load balancers' TLS checks do. Where certificates are asked for, it is
    /// always a full one: a resumed session's certificate is not verified again.
    pub async fn accept_control(&self, tcp: TcpStream) -> io::Result<Option<Stream>> {
        self.note_implicit_tls();
        let lookups = Arc::new(LookupRecorder::new(self.store.clone()));
        let ticketer = self.ticketer(TicketOwner::control(self.id));
        let is_resumable = self.listener.client_auth.is_none();
        let ticketer = if is_resumable { ticketer } else { ticketer.without_resumption() };
        let ticketer = Arc::new(ticketer);
        let config = self.config(TICKETS_PER_CONTROL_CONNECTION, ticketer.clone(), lookups.clone());
        let tcp = BufferedTcp::for_control(tcp).with_quickack();
        let accepted = TlsAcceptor::from(Arc::new(config)).accept(tcp).await;
        let tickets = ticketer.used();
        if tickets.offered || lookups.looked_up().is_some() {
            // The client has a store, and looks up this server in it.
            self.state.note_shared_store();
            let by_id =
                lookups.looked_up().and_then(|id| self.listener.lasting.session_ids.owner(&id));
            let others = tickets.owner.map(|owner| owner.session).into_iter().chain(by_id);
            let others = others.filter_map(|id| self.listener.lasting.sessions.get(&id));
            others.for_each(|other| other.note_shared_store());
        }
        let mut tls = match accepted {
            Ok(tls) => tls,
            Err(error) if tickets.issued && is_closed_by_peer(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        tls.get_mut().0.disable_quickack();
        if let Some(name) = tls.get_ref().1.server_name() {
            let _ = self.server_name.set(name.to_owned());
        }
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let client_auth = self.listener.client_auth.as_ref();
        if let Some(certificate) = client_auth.and_then(|it| it.verified(chain)) {
            let _ = self.certificate.set(certificate);
        }
        self.times().single_use_tickets =
            tls.get_ref().1.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        if is_resumed(&tls)
            && let Some(other) =
                tickets.owner.and_then(|owner| self.listener.lasting.sessions.verified_owner(owner))
        {
            self.state.note_resumed(&other);
        }
        Ok(Some(Stream::Tls(Box::new(tls.into()))))
    }

    /// The server's half of the handshake on a data connection, of which `read` has been read before. The
    /// reply after which the client may connect was sent after `requested`.
    pub async fn accept_data(
        &self,
        (tcp, read): (TcpStream, Vec<u8>),
        requested: Instant,
        direction: Direction,
    ) -> io::Result<DataHandshake> {
        let tickets = match direction {
            Direction::Download => 1,
            Direction::Upload => 0,
        };
        let connection = rand::random();
        let owner = TicketOwner { session: self.id, connection };
        let store = Arc::new(ReadOnlyStore(self.store.clone()));
        let ticketer = Arc::new(self.ticketer(owner));
        let mut config = self.config(tickets, ticketer.clone(), store);
        config.cert_resolver = Arc::new(CertificateChoice::for_data(
            self.listener.certificates.clone(),
            self.server_name.get().map(String::as_str),
        ));
        let tcp = BufferedTcp::for_data(tcp, read).with_quickack();
        let mut tls = TlsAcceptor::from(Arc::new(config)).accept(tcp).await?;
        tls.get_mut().0.disable_quickack();
        if direction == Direction::Upload {
            // The gateway sends nothing more that could carry the acknowledgement of the client's last
            // flight, and many clients wait for it (Nagle): 40 ms a file. Fails only on a closed socket.
            let _ = SockRef::from(tls.get_ref().0.tcp()).set_tcp_quickack(true);
        }
        tls.get_mut().1.set_buffer_limit(Some(DATA_BUFFER_SIZE));
        let resumed = is_resumed(&tls);
        let same_certificate = self.has_same_certificate(&tls);
        let (resumed_own, resumed_related) = match ticketer.used().owner {
            // By session id: the store holds only this session's.
            None => (resumed, resumed),
            Some(owner) => {
                if owner.session != self.id {
                    self.listener.note_shared_store(&self.id, &[owner.session]);
                }
                let other =
                    self.listener.lasting.sessions.verified_owner(owner).filter(|_| resumed);
                let resumed_related = other.is_some_and(|other| other.root() == self.state.root())
                    || resumed && same_certificate && self.certificates_name_users();
                (resumed_related && owner.session == self.id, resumed_related)
            }
        };
        if resumed_related {
            self.state.resumed_connections.add(connection);
        }
        self.resumes.store(resumed_own, Ordering::Relaxed);
        self.times().resumed_since = resumed_own.then_some(requested);
        Ok(DataHandshake {
            stream: Stream::Tls(Box::new(tls.into())),
            resumed: resumed_related,
            is_foreign: self.listener.client_auth.is_some()
                && !resumed_related
                && !same_certificate,
        })
    }

    /// Whether both connections have the same certificate, or neither has one.
    fn has_same_certificate(&self, tls: &ServerStream) -> bool {
        leaf(tls).map(|leaf| &**leaf) == self.certificate().map(ClientCertificate::der)
    }

    fn certificates_name_users(&self) -> bool {
        self.certificate().is_some()
            && self.listener.client_auth.as_ref().is_some_and(ClientAuth::names_users)
    }

    /// `owner`: of the tickets that it issues.
    fn ticketer(&self, owner: TicketOwner) -> OwnedTicketer {
        OwnedTicketer::new(self.listener.lasting.ticketer.clone(), owner)
    }

    fn config(
        &self,
        tickets: usize,
        ticketer: Arc<OwnedTicketer>,
        store: Arc<dyn StoresServerSessions>,
    ) -> ServerConfig {
        let mut config = ServerConfig::clone(&self.listener.base);
        config.send_tls13_tickets = tickets;
        config.ticketer = ticketer;
        config.session_storage = store;
        config
    }
}

impl Drop for ControlTls {
    fn drop(&mut self) {
        self.listener.lasting.sessions.remove(&self.id);
    }
}

fn is_closed_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe)
}

fn is_resumed(tls: &ServerStream) -> bool {
    tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

/// The client's certificate; of a resumed session, the one of its first handshake.
fn leaf(tls: &ServerStream) -> Option<&CertificateDer<'static>> {
    tls.get_ref().1.peer_certificates()?.first()
}

#[cfg(test)]
mod tests;
