//! A minimal FTP client that sends exactly what a test specifies.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SendFlags;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::pki::pki;

const TIMEOUT: Duration = Duration::from_secs(15);
const STREAM: socket2::Type = socket2::Type::STREAM;

/// A control connection.
pub struct Raw {
    control: BufReader<Wire>,
    peer: SocketAddr,
    /// The source address of its connections; `None`: the system chooses.
    own: Option<IpAddr>,
    /// PASV instead of EPSV.
    pasv: bool,
    /// Shared by all connections, so that data connections resume the session.
    tls: Arc<ClientConfig>,
    /// What its handshakes send (SNI) and expect in the certificate.
    server_name: ServerName<'static>,
    protected: bool,
}

/// `C`: the TLS client or server.
pub enum Wire<C = ClientConnection> {
    Plain(TcpStream),
    Tls(Box<StreamOwned<C, TcpStream>>),
    /// Closed, or only while a plain connection becomes a TLS one.
    Taken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// All lines, with their CRLF.
    pub text: String,
}

impl Raw {
    /// Connects and reads the greeting.
    pub fn connect(peer: SocketAddr) -> (Self, Reply) {
        let mut raw = Self::silent(peer, Wire::Plain(dial(peer)));
        let greeting = raw.read();
        (raw, greeting)
    }

    /// As [`Raw::connect`], where the connection may be refused.
    pub fn try_connect(peer: SocketAddr) -> io::Result<(Self, Reply)> {
        let tcp = TcpStream::connect_timeout(&peer, TIMEOUT)?;
        let mut raw = Self::silent(peer, Wire::Plain(bounded(tcp)));
        let greeting = raw.try_read()?;
        Ok((raw, greeting))
    }

    /// Connects with TLS from the first byte on and reads the greeting.
    pub fn connect_implicit(peer: SocketAddr) -> (Self, Reply) {
        Self::connect_implicit_as(peer, client_config(rustls::ALL_VERSIONS), "localhost")
    }

    /// As [`Raw::connect_implicit`], with this TLS configuration and server name.
    pub fn connect_implicit_as(
        peer: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> (Self, Reply) {
        let mut raw = Self::silent(peer, Wire::Taken);
        raw.set_tls(config);
        raw.set_server_name(name);
        *raw.control.get_mut() = raw.handshake(dial(peer));
        raw.protected = true;
        let greeting = raw.read();
        (raw, greeting)
    }

    /// Connects from another address of this machine (127.0.0.2) and reads the greeting.
    pub fn connect_from(own: IpAddr, peer: SocketAddr) -> io::Result<(Self, Reply)> {
        let mut raw = Self::silent(peer, Wire::Plain(dial_from(own, peer)?));
        raw.own = Some(own);
        let greeting = raw.try_read()?;
        Ok((raw, greeting))
    }

    fn silent(peer: SocketAddr, wire: Wire) -> Self {
        let tls = client_config(rustls::ALL_VERSIONS);
        Self {
            control: BufReader::new(wire),
            peer,
            own: None,
            pasv: false,
            tls,
            server_name: server_name("localhost"),
            protected: false,
        }
    }

    /// Sends this server name from now on; for an address, none.
    pub fn set_server_name(&mut self, name: &str) {
        self.server_name = server_name(name);
    }

    /// The server's certificate on the control connection.
    pub fn peer_certificate(&self) -> Vec<u8> {
        self.control.get_ref().peer_certificate()
    }

    /// Uses this TLS configuration, with its session store, from now on.
    pub fn set_tls(&mut self, config: Arc<ClientConfig>) {
        self.tls = config;
    }

    /// The TCP connection under the control connection.
    pub fn socket(&self) -> &TcpStream {
        self.control.get_ref().socket()
    }

    /// Sends bytes with the last one as TCP urgent data.
    pub fn send_urgent(&mut self, bytes: &[u8]) {
        let sent = rustix::net::send(self.socket(), bytes, SendFlags::OOB);
        assert_eq!(sent.expect("sending urgent data"), bytes.len());
    }

    /// Sends the bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sending to the control connection");
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wire = self.control.get_mut();
        wire.write_all(bytes).and_then(|()| wire.flush())
    }

    /// Whether the server sends nothing for this long.
    pub fn quiet_for(&self, time: Duration) -> bool {
        let socket = self.socket();
        socket.set_read_timeout(Some(time)).expect("a timeout above zero");
        let peeked = socket.peek(&mut [0]);
        socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout above zero");
        peeked.is_err_and(|e| matches!(e.kind(), io::ErrorKind::WouldBlock))
    }

    /// Sends a line and reads its reply.
    pub fn command(&mut self, line: &str) -> Reply {
        self.send_bytes(format!("{line}\r\n").as_bytes());
        self.read()
    }

    /// Sends a line and checks the code of its reply.
    #[track_caller]
    pub fn expect(&mut self, line: &str, code: u16) -> Reply {
        let reply = self.command(line);
        assert_eq!(reply.code, code, "{line} got the reply: {}", reply.text);
        reply
    }

    /// The next reply, of one or more lines.
    #[track_caller]
    pub fn read(&mut self) -> Reply {
        self.try_read().expect("reading a reply")
    }

    pub fn try_read(&mut self) -> io::Result<Reply> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            if self.control.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // Decoded as Latin-1, as names are bytes.
            let line: String = line.into_iter().map(char::from).collect();
            text.push_str(&line);
            let first = text.get(..3).unwrap_or_default();
            if line.starts_with(first) && line[first.len()..].starts_with([' ', '\r']) {
                let code = first.parse().map_err(|_| io::Error::other(text.clone()))?;
                return Ok(Reply { code, text });
            }
        }
    }

    /// Shuts the control connection down. Closing the socket is not enough: a child that another
    /// test starts at the same time also holds it, until its exec.
    pub fn vanish(self) {
        let socket = self.control.get_ref().socket();
        socket.shutdown(std::net::Shutdown::Both).expect("ending the control connection");
    }

    /// Closes with RST instead of FIN.
    pub fn reset(self) {
        self.control.into_inner().reset();
    }

    /// Whether the server has closed the connection; reads the remaining bytes.
    pub fn at_end(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.control.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
            }
        }
    }

    /// AUTH TLS, the handshake and PROT P.
    pub fn auth_tls(&mut self) {
        self.expect("AUTH TLS", 234);
        self.start_tls();
        self.expect("PBSZ 0", 200);
        self.expect("PROT P", 200);
        self.protect();
    }

    /// Data connections speak TLS from now on.
    pub fn protect(&mut self) {
        self.protected = true;
    }

    /// The handshake alone.
    pub fn start_tls(&mut self) {
        self.try_start_tls().expect("the TLS handshake");
    }

    /// As [`Raw::start_tls`], where the handshake may fail.
    pub fn try_start_tls(&mut self) -> io::Result<()> {
        let wire = std::mem::replace(self.control.get_mut(), Wire::Taken);
        let Wire::Plain(tcp) = wire else { panic!("the connection speaks TLS already") };
        *self.control.get_mut() = Wire::tls_as(tcp, self.tls.clone(), self.server_name.clone())?;
        Ok(())
    }

    /// Whether the control connection resumed an earlier TLS session.
    pub fn resumed(&self) -> bool {
        self.control.get_ref().resumed()
    }

    pub fn login(&mut self, user: &str, password: &str) {
        self.expect(&format!("USER {user}"), 331);
        self.expect(&format!("PASS {password}"), 230);
    }

    /// EPSV or PASV, then the TCP connection: TLS starts after the 150.
    pub fn passive(&mut self) -> TcpStream {
        if self.pasv {
            return dial(pasv_address(&self.expect("PASV", 227).text));
        }
        let reply = self.expect("EPSV", 229);
        let port = reply.text.rsplit('|').nth(1).and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port in {}", reply.text));
        let address = SocketAddr::new(self.peer.ip(), port);
        match self.own {
            Some(own) => dial_from(own, address).expect("connecting from an address of its own"),
            None => dial(address),
        }
    }

    /// Sends PASV from now on and uses the address of its reply.
    pub fn use_pasv(&mut self) {
        self.pasv = true;
    }

    /// Sets the source address of its data connections.
    pub fn set_own(&mut self, own: IpAddr) {
        self.own = Some(own);
    }

    /// EPSV and a command whose reply must be 150; returns the data connection before TLS.
    #[track_caller]
    pub fn begin(&mut self, line: &str) -> TcpStream {
        let tcp = self.passive();
        self.expect(line, 150);
        tcp
    }

    /// The data connection, with TLS if PROT P is set.
    pub fn data(&self, tcp: TcpStream) -> Wire {
        if self.protected { self.handshake(tcp) } else { Wire::Plain(tcp) }
    }

    /// RETR, LIST and similar: the bytes and the last reply.
    pub fn download(&mut self, line: &str) -> (Vec<u8>, Reply) {
        let tcp = self.passive();
        let reply = self.command(line);
        assert!(matches!(reply.code, 125 | 150), "{line} got the reply: {}", reply.text);
        let mut bytes = Vec::new();
        self.data(tcp).read_to_end(&mut bytes).expect("reading a data connection");
        (bytes, self.read())
    }

    /// STOR and similar: the last reply.
    pub fn upload(&mut self, line: &str, bytes: &[u8]) -> Reply {
        let tcp = self.passive();
        let reply = self.command(line);
        assert!(matches!(reply.code, 125 | 150), "{line} got the reply: {}", reply.text);
        let mut data = self.data(tcp);
        data.write_all(bytes).expect("writing to a data connection");
        data.finish().expect("ending a data connection");
        // Read what the server still sends (tickets): unread bytes would reset the connection.
        let _ = io::copy(&mut data, &mut io::sink());
        self.read()
    }

    fn handshake(&self, tcp: TcpStream) -> Wire {
        Wire::tls_as(tcp, self.tls.clone(), self.server_name.clone()).expect("the TLS handshake")
    }
}

impl Wire {
    /// The client's half of a TLS handshake.
    pub fn tls(tcp: TcpStream, config: Arc<ClientConfig>) -> Self {
        Self::try_tls(tcp, config).expect("the TLS handshake")
    }

    pub fn try_tls(tcp: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        Self::tls_as(tcp, config, server_name("localhost"))
    }

    fn tls_as(
        mut tcp: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let mut tls = ClientConnection::new(config, name).expect("a TLS client");
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, tcp))))
    }

    /// Closes with RST instead of FIN.
    pub fn reset(self) {
        let linger = socket2::SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
        linger.expect("setting SO_LINGER");
    }

    /// Sends close_notify under TLS, then FIN.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.socket().shutdown(std::net::Shutdown::Write)
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(stream) => &stream.sock,
            Self::Taken => panic!("the connection was taken"),
        }
    }

    /// The server's certificate; of a resumed session, that of its full handshake.
    pub fn peer_certificate(&self) -> Vec<u8> {
        let Self::Tls(stream) = self else { panic!("the connection is in clear") };
        let chain = stream.conn.peer_certificates().expect("a certificate");
        chain[0].to_vec()
    }

    /// Whether TLS resumed an earlier session.
    pub fn resumed(&self) -> bool {
        let Self::Tls(stream) = self else { return false };
        stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }
}

impl<C> Read for Wire<C>
where
    StreamOwned<C, TcpStream>: Read,
{
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Taken => Ok(0),
        }
    }
}

impl<C> Write for Wire<C>
where
    StreamOwned<C, TcpStream>: Write,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Taken => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Taken => Ok(()),
        }
    }
}

fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a name")
}

fn pasv_address(reply: &str) -> SocketAddr {
    let numbers = reply.split(['(', ')']).nth(1).unwrap_or_default();
    let numbers: Vec<u8> = numbers.split(',').filter_map(|number| number.parse().ok()).collect();
    let [a, b, c, d, high, low] = numbers[..] else { panic!("no address in {reply}") };
    SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))
}

pub fn dial(peer: SocketAddr) -> TcpStream {
    let tcp =
        TcpStream::connect(peer).unwrap_or_else(|error| panic!("connecting to {peer}: {error}"));
    bounded(tcp)
}

/// From another address of this machine.
pub fn dial_from(own: IpAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(peer), STREAM, None)?;
    socket.bind(&SocketAddr::new(own, 0).into())?;
    socket.connect(&peer.into())?;
    Ok(bounded(socket.into()))
}

/// With timeouts, so that no test waits for ever.
fn bounded(tcp: TcpStream) -> TcpStream {
    tcp.set_read_timeout(Some(TIMEOUT)).expect("a timeout above zero");
    tcp.set_write_timeout(Some(TIMEOUT)).expect("a timeout above zero");
    tcp
}

/// A client's TLS with a ticket store of its own.
pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(&pki().ca).expect("reading the test CA");
    roots.add(ca).expect("a CA certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.expect("known TLS versions");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}
