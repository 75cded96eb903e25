use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::{HandshakeKind, ServerConfig};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::files::ServerCertificate;
use super::hello::Offered;
use super::ticket::{self, Heirs, Index, OwnedTicketer, Owner, ReadOnly, SessionId, SessionStore};
use super::{BULK, Buffered};
use crate::net::Stream;

/// Tickets that a TLS 1.3 control connection gets. More than rustls' two, since upload data
/// connections bring none and some clients use each ticket once.
const CONTROL_TICKETS: usize = 8;

/// A listener's TLS: certificate and the shared ticketer.
#[derive(Clone)]
pub struct ServerTls {
    base: Arc<ServerConfig>,
    ticketer: Arc<dyn ProducesTickets>,
    by_id: Arc<Index>,
}

/// The TLS of one control session and its data connections.
pub struct ControlTls {
    listener: ServerTls,
    id: SessionId,
    by_id: Arc<SessionStore>,
    heirs: Heirs,
    /// Whether the last data connection resumed it.
    resumes: AtomicBool,
    family: Mutex<SessionId>,
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
        let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { base: Arc::new(base), ticketer, by_id: Arc::default() })
    }

    /// A new control session's TLS.
    pub fn control_session(&self) -> ControlTls {
        let id = rand::random();
        let by_id = Arc::new(SessionStore::new(id, self.by_id.clone()));
        ControlTls {
            listener: self.clone(),
            id,
            by_id,
            heirs: Heirs::default(),
            resumes: false.into(),
            family: Mutex::new(id),
        }
    }

    /// The control sessions that a client claims to belong to. Only a handshake shows whether it
    /// does.
    pub fn claimed(&self, offered: &Offered) -> Vec<SessionId> {
        let owner = |ticket: &Vec<u8>| Some(ticket::open(&*self.ticketer, ticket)?.0.session);
        let by_ticket = offered.tickets.iter().filter_map(owner);
        by_ticket.chain(self.by_id.owner(&offered.session_id)).collect()
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

    /// Whether the client's data connections resume it, as far as is known.
    pub fn resumes(&self) -> bool {
        self.resumes.load(Ordering::Relaxed)
    }

    /// The client came without resuming it, or did not come.
    pub fn does_not_resume(&self) {
        self.resumes.store(false, Ordering::Relaxed);
    }

    /// The same for all control sessions that resumed one another: their client may take a ticket of
    /// any of them for a data connection.
    pub fn family(&self) -> SessionId {
        *self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn listener(&self) -> &ServerTls {
        &self.listener
    }

    /// The server's half of the handshake on the control connection.
    pub async fn accept_control(&self, tcp: TcpStream) -> io::Result<Stream> {
        let owner = Owner::itself(self.id);
        let (config, ticketer) = self.config(CONTROL_TICKETS, owner, self.by_id.clone());
        let tcp = Buffered::for_control(tcp).hasty();
        let mut tls = TlsAcceptor::from(Arc::new(config)).accept(tcp).await?;
        tls.get_mut().0.unhurried();
        *self.family.lock().unwrap_or_else(PoisonError::into_inner) = ticketer.family();
        Ok(Stream::Tls(Box::new(tls.into())))
    }

    /// The server's half of the handshake on a data connection, of which `read` has been read already,
    /// and whether it resumed this very control session.
    pub async fn accept_data(
        &self,
        tcp: TcpStream,
        read: Vec<u8>,
        direction: Direction,
    ) -> io::Result<(Stream, bool)> {
        let tickets = match direction {
            Direction::Download => 1,
            Direction::Upload => 0,
        };
        let heir = rand::random();
        let owner = Owner { session: self.id, heir, family: self.family() };
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
        let resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        // Without a ticket it was resumed by id, and the store holds only this session's.
        let own = |owner: Owner| owner.heir == self.id || self.heirs.contains(&owner.heir);
        let resumed = resumed && ticketer.noted().is_none_or(own);
        if resumed {
            self.heirs.add(heir);
        }
        self.resumes.store(resumed, Ordering::Relaxed);
        Ok((Stream::Tls(Box::new(tls.into())), resumed))
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

    #[tokio::test]
    async fn a_last_flight_in_pieces_does_not_wait_for_a_delayed_acknowledgement() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let chain = vec![made.cert.der().clone()];
        let server = ServerTls::new(ServerCertificate { chain, key }).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
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
            let (stream, _) =
                control.accept_data(far, Vec::new(), Direction::Download).await.unwrap();
            times.push(begun.elapsed());
            drop(stream);
            peer.join().unwrap();
        }
        times.sort();
        assert!(times[5].as_millis() < 35, "{times:?}");
    }
}
