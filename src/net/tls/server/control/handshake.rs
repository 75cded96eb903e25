//! The handshakes of a control connection and of its data connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustls::pki_types::CertificateDer;
use rustls::server::StoresServerSessions;
use rustls::{HandshakeKind, ServerConfig};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::ControlTls;
use crate::net::Stream;
use crate::net::buffered::{BufferedTcp, DATA_BUFFER_SIZE};
use crate::net::tls::certificates::CertificateChoice;
use crate::net::tls::client_auth::{ClientAuth, ClientCertificate};
use crate::net::tls::server::TICKETS_PER_CONTROL_CONNECTION;
use crate::net::tls::ticket::{LookupRecorder, OwnedTicketer, ReadOnlyStore, TicketOwner};

type ServerStream = tokio_rustls::server::TlsStream<BufferedTcp>;

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

impl ControlTls {
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
