use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::{HandshakeKind, ServerConfig};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::files::ServerCertificate;
use super::hello::Offered;
use super::sessions::{Known, Sessions};
use super::standing::Standing;
use super::ticket::{self, Asked, Index, OwnedTicketer, Owner, ReadOnly, SessionId, SessionStore};
use super::ticketer;
use crate::net::Stream;
use crate::net::buffered::{BULK, Buffered};

/// Tickets that a TLS 1.3 control connection gets. More than rustls' two, since upload data
/// connections bring none and some clients use each ticket once.
const CONTROL_TICKETS: usize = 8;
/// Where nothing tells when a client began to speak: it may have, so long before it was heard.
const SKEW: Duration = Duration::from_millis(500);
/// The first command under TLS may have been sent before the client read its tickets; not the second.
const SETTLED: u8 = 2;

/// A listener's TLS: certificate, the shared ticketer, and what is known of its control sessions.
#[derive(Clone)]
pub struct ServerTls {
    base: Arc<ServerConfig>,
    ticketer: Arc<dyn ProducesTickets>,
    by_id: Arc<Index>,
    sessions: Arc<Sessions>,
}

/// The TLS of one control session and its data connections.
pub struct ControlTls {
    listener: ServerTls,
    id: SessionId,
    by_id: Arc<SessionStore>,
    known: Arc<Known>,
    /// Commands under TLS, as far as they count.
    heard: AtomicU8,
    /// Whether the last data connection resumed it.
    resumes: AtomicBool,
    /// As in [`Standing`].
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    begun: Option<Instant>,
    settled: Option<Instant>,
    /// TLS 1.3: some clients use each ticket once, and keep only the newest.
    used_once: bool,
    used: Option<Instant>,
    proven: Option<Instant>,
}

/// Which way a data connection carries the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the client.
    Download,
    /// From the client. No session ticket is sent: clients close with it unread, the kernel answers
    /// RST, and the upload is cut.
    Upload,
}

impl ServerTls {
    pub fn new(certificate: ServerCertificate) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth();
        let mut base = builder.with_single_cert(certificate.chain, certificate.key)?;
        base.send_tls13_tickets = CONTROL_TICKETS;
        Ok(Self {
            base: Arc::new(base),
            ticketer: ticketer::weekly()?,
            by_id: Arc::default(),
            sessions: Arc::default(),
        })
    }

    /// A new control session's TLS.
    pub fn control_session(&self) -> ControlTls {
        let id = rand::random();
        ControlTls {
            listener: self.clone(),
            id,
            by_id: Arc::new(SessionStore::new(id, self.by_id.clone())),
            known: self.sessions.begin(id),
            heard: AtomicU8::new(0),
            resumes: false.into(),
            times: Mutex::default(),
        }
    }

    /// The control sessions that a client claims to belong to. Only a handshake shows whether it
    /// does.
    pub fn claimed(&self, offered: &Offered) -> Vec<SessionId> {
        let owner = |ticket: &Vec<u8>| Some(ticket::open(&*self.ticketer, ticket)?.0.session);
        let by_ticket = offered.tickets.iter().filter_map(owner);
        by_ticket.chain(self.by_id.owner(&offered.session_id)).collect()
    }

    /// Somebody who was to resume `one` offered to resume `others` instead: their client keeps one
    /// store for all of them, so that its data connections do not tell whose they are.
    pub fn note_shared_store(&self, one: &SessionId, others: &[SessionId]) {
        let live: Vec<_> = others.iter().filter_map(|id| self.sessions.get(id)).collect();
        if !live.is_empty() {
            live.iter().chain(self.sessions.get(one).iter()).for_each(|s| s.note_shared_store());
        }
    }
}

/// Whether both are one listener's.
impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.base, &other.base)
    }
}

impl ControlTls {
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whether the client's data connections resume it, as far as is known, and it and no other.
    pub fn resumes(&self) -> bool {
        self.resumes.load(Ordering::Relaxed) && !self.known.shares_store()
    }

    /// The client came without resuming it, or did not come.
    pub fn does_not_resume(&self) {
        self.resumes.store(false, Ordering::Relaxed);
        self.times().proven = None;
    }

    /// A command came under TLS.
    pub fn heard(&self) {
        if self.heard.load(Ordering::Relaxed) < SETTLED
            && self.heard.fetch_add(1, Ordering::Relaxed) + 1 == SETTLED
        {
            self.times().settled = Some(Instant::now());
        }
    }

    /// The client is about to be told to make a data connection.
    pub fn asks_for_data(&self) {
        let mut times = self.times();
        if times.used_once {
            times.used.get_or_insert_with(Instant::now);
        }
    }

    /// From whom its data connections can be told.
    pub fn standing(&self) -> Standing {
        let (times, now) = (self.times(), Instant::now());
        Standing {
            begun: times.begun.unwrap_or(now),
            settled: times.settled.unwrap_or(now),
            used: times.used,
            proven: times.proven,
            shares_store: self.known.shares_store(),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn listener(&self) -> &ServerTls {
        &self.listener
    }

    /// The client is about to be told that it may begin the handshake of its control connection.
    pub fn announce(&self) {
        self.begin(Instant::now());
    }

    /// The client may begin the handshake from the connection's first moment on (implicit TLS).
    pub fn announce_implicit(&self) {
        self.begin(Instant::now().checked_sub(SKEW).unwrap_or_else(Instant::now));
    }

    fn begin(&self, told: Instant) {
        self.times().begun.get_or_insert(told);
    }

    /// The server's half of the handshake on the control connection. `None`: the client was gone as soon
    /// as its half was done; a balancer's check of TLS resets the connection then.
    pub async fn accept_control(&self, tcp: TcpStream) -> io::Result<Option<Stream>> {
        self.announce_implicit();
        let asked = Arc::new(Asked::new(self.by_id.clone()));
        let (config, ticketer) =
            self.config(CONTROL_TICKETS, Owner::itself(self.id), asked.clone());
        let tcp = Buffered::for_control(tcp).hasty();
        let accepted = TlsAcceptor::from(Arc::new(config)).accept(tcp).await;
        let noted = ticketer.noted();
        if noted.offered || asked.for_id().is_some() {
            // It has a store, and looks there for this server.
            self.known.note_shared_store();
            let by_id = asked.for_id().and_then(|id| self.listener.by_id.owner(&id));
            let others = noted.owner.map(|owner| owner.session).into_iter().chain(by_id);
            let others = others.filter_map(|id| self.listener.sessions.get(&id));
            others.for_each(|other| other.note_shared_store());
        }
        let mut tls = match accepted {
            Ok(tls) => tls,
            Err(error) if noted.issued && is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        tls.get_mut().0.unhurried();
        self.times().used_once =
            tls.get_ref().1.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        if is_resumed(&tls)
            && let Some(other) = noted.owner.and_then(|owner| self.listener.sessions.of(owner))
        {
            self.known.resumed(&other);
        }
        Ok(Some(Stream::Tls(Box::new(tls.into()))))
    }

    /// The server's half of the handshake on a data connection that the client was told after `told` to
    /// make, and of which `read` has been read already; and whether it resumed this very control
    /// session, or one that has resumed it.
    pub async fn accept_data(
        &self,
        (tcp, read): (TcpStream, Vec<u8>),
        told: Instant,
        direction: Direction,
    ) -> io::Result<(Stream, bool)> {
        let tickets = match direction {
            Direction::Download => 1,
            Direction::Upload => 0,
        };
        let heir = rand::random();
        let owner = Owner { session: self.id, heir };
        let store = Arc::new(ReadOnly(self.by_id.clone()));
        let (config, ticketer) = self.config(tickets, owner, store);
        let tcp = Buffered::for_data(tcp, read).hasty();
        let mut tls = TlsAcceptor::from(Arc::new(config)).accept(tcp).await?;
        tls.get_mut().0.unhurried();
        if direction == Direction::Upload {
            // Nothing goes out to an uploader any more that could carry the acknowledgement of its
            // last flight, and many hold their data back until it comes (Nagle): 40 ms a file. A
            // socket that is gone already needs none.
            let _ = SockRef::from(tls.get_ref().0.tcp()).set_tcp_quickack(true);
        }
        tls.get_mut().1.set_buffer_limit(Some(BULK));
        let resumed = is_resumed(&tls);
        let (itself, akin) = match ticketer.noted().owner {
            // By id, and the store holds only this session's.
            None => (resumed, resumed),
            Some(owner) => {
                if owner.session != self.id {
                    self.listener.note_shared_store(&self.id, &[owner.session]);
                }
                let other = self.listener.sessions.of(owner).filter(|_| resumed);
                let akin = other.is_some_and(|other| other.root() == self.known.root());
                (akin && owner.session == self.id, akin)
            }
        };
        if akin {
            self.known.heirs.add(heir);
        }
        self.resumes.store(itself, Ordering::Relaxed);
        self.times().proven = itself.then_some(told);
        Ok((Stream::Tls(Box::new(tls.into())), akin))
    }

    /// `owner`: whom its tickets name.
    fn config(
        &self,
        tickets: usize,
        owner: Owner,
        store: Arc<dyn StoresServerSessions>,
    ) -> (ServerConfig, Arc<OwnedTicketer>) {
        let ticketer = Arc::new(OwnedTicketer::new(self.listener.ticketer.clone(), owner));
        let mut config = ServerConfig::clone(&self.listener.base);
        config.send_tls13_tickets = tickets;
        config.ticketer = ticketer.clone();
        config.session_storage = store;
        (config, ticketer)
    }
}

impl Drop for ControlTls {
    fn drop(&mut self) {
        self.listener.sessions.end(&self.id);
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe)
}

fn is_resumed(tls: &tokio_rustls::server::TlsStream<Buffered>) -> bool {
    tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use tokio::net::TcpListener;

    use super::*;

    /// As GnuTLS does: ChangeCipherSpec by itself, then the rest of the last flight.
    fn handshake_in_pieces(mut tcp: std::net::TcpStream, config: Arc<ClientConfig>) {
        let name = ServerName::try_from("localhost").unwrap();
        let mut tls = ClientConnection::new(config, name).unwrap();
        loop {
            let mut flight = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut flight).unwrap();
            }
            let piece = if flight.first() == Some(&20) { 6 } else { flight.len() };
            tcp.write_all(&flight[..piece]).unwrap();
            tcp.write_all(&flight[piece..]).unwrap();
            if !tls.is_handshaking() {
                break;
            }
            tls.read_tls(&mut tcp).unwrap();
            tls.process_new_packets().unwrap();
        }
        // Until the server closes.
        let _ = tcp.read_to_end(&mut Vec::new());
    }

    struct Ends {
        server: ServerTls,
        client: ClientConfig,
    }

    fn ends(versions: &[&'static rustls::SupportedProtocolVersion]) -> Ends {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let chain = vec![made.cert.der().clone()];
        let server = ServerTls::new(ServerCertificate { chain, key }).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ends { server, client }
    }

    /// Both ends of a TCP connection, the client's already under TLS in a task that reads one byte.
    async fn dial(client: &ClientConfig) -> (tokio::task::JoinHandle<()>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client.clone()));
        let near = tokio::spawn(async move {
            let name = ServerName::try_from("localhost").unwrap();
            let mut near = connector.connect(name, near).await.unwrap();
            tokio::io::AsyncReadExt::read_u8(&mut near).await.unwrap();
        });
        (near, far)
    }

    /// A control session of the client, which has got what it may resume.
    async fn control(server: &ServerTls, client: &ClientConfig) -> ControlTls {
        let control = server.control_session();
        control.announce();
        let (near, far) = dial(client).await;
        let mut stream = control.accept_control(far).await.unwrap().unwrap();
        tokio::io::AsyncWriteExt::write_u8(&mut stream, 7).await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
        near.await.unwrap();
        control
    }

    async fn data(control: &ControlTls, client: &ClientConfig) -> bool {
        let (near, far) = dial(client).await;
        let accepted =
            control.accept_data((far, Vec::new()), Instant::now(), Direction::Download).await;
        let (mut stream, resumed) = accepted.unwrap();
        tokio::io::AsyncWriteExt::write_u8(&mut stream, 7).await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut stream).await.unwrap();
        near.await.unwrap();
        resumed
    }

    #[tokio::test]
    async fn a_client_with_one_store_for_its_sessions_is_known_by_what_it_offers() {
        use rustls::client::{Resumption, Tls12Resumption};
        for ids_only in [false, true] {
            let only_12 = &[&rustls::version::TLS12][..];
            let Ends { server, mut client } =
                ends(if ids_only { only_12 } else { rustls::ALL_VERSIONS });
            if ids_only {
                let resumption = Resumption::in_memory_sessions(8);
                client.resumption = resumption.tls12_resumption(Tls12Resumption::SessionIdOnly);
            }
            let alone = control(&server, &client).await;
            assert!(!alone.standing().shares_store);
            let another = control(&server, &client).await;
            assert!(alone.standing().shares_store && another.standing().shares_store, "{ids_only}");
        }
    }

    /// Whoever resumed a session has it: its connections are as good as that one's own.
    #[tokio::test]
    async fn a_data_connection_may_resume_a_session_that_resumed_its_own() {
        let Ends { server, client } = ends(rustls::ALL_VERSIONS);
        let mut stranger = client.clone();
        stranger.resumption = Default::default();
        let one = control(&server, &client).await;
        let two = control(&server, &client).await;
        let third = control(&server, &stranger).await;
        for _ in 0..12 {
            assert!(data(&one, &client).await && data(&two, &client).await);
        }
        assert!(data(&third, &stranger).await);
        assert!(!data(&third, &client).await);
        assert!(!data(&one, &stranger).await);
    }

    #[tokio::test]
    async fn a_last_flight_in_pieces_does_not_wait_for_a_delayed_acknowledgement() {
        let Ends { server, client } = ends(rustls::ALL_VERSIONS);
        let client = Arc::new(client);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut times = Vec::new();
        for _ in 0..11 {
            let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let config = client.clone();
            let peer = std::thread::spawn(move || handshake_in_pieces(near, config));
            let (far, _) = listener.accept().await.unwrap();
            let control = server.control_session();
            let begun = Instant::now();
            let (stream, _) = control
                .accept_data((far, Vec::new()), Instant::now(), Direction::Download)
                .await
                .unwrap();
            times.push(begun.elapsed());
            drop(stream);
            peer.join().unwrap();
        }
        times.sort();
        assert!(times[5].as_millis() < 35, "{times:?}");
    }
}
