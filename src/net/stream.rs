//! A connection in clear or under TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::buffered::BufferedTcp;
use super::protection::{Protection, Protocol};

/// A TCP connection, in clear or under TLS (either role). Control and data connections alike.
pub enum Stream {
    /// In clear.
    Plain(TcpStream),
    /// Under TLS, after the handshake.
    Tls(Box<TlsStream<BufferedTcp>>),
}

impl Stream {
    /// The socket, for its options and addresses; under TLS its bytes are encrypted.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0.tcp(),
        }
    }

    /// Whether it is under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// The server name that the client sent (SNI), on the server's side.
    pub fn server_name(&self) -> Option<&str> {
        let Stream::Tls(tls) = self else { return None };
        let TlsStream::Server(tls) = &**tls else { return None };
        tls.get_ref().1.server_name()
    }

    /// What protects it; `None` for a connection in clear.
    pub fn protection(&self) -> Option<Protection> {
        let Stream::Tls(tls) = self else { return None };
        let connection = tls.get_ref().1;
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
            Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
            _ => None,
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        let group = connection.negotiated_key_exchange_group().map(|group| group.name());
        Some(Protection {
            protocol: Protocol::Tls,
            version,
            cipher: suite.and_then(|suite| suite.as_str()).map(str::to_owned),
            key_exchange: group.and_then(|group| group.as_str()).map(str::to_owned),
        })
    }

    /// Whether its TLS resumed an earlier session.
    pub fn resumed_tls(&self) -> bool {
        let Stream::Tls(tls) = self else { return false };
        tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The other end of the TCP connection: a proxy's address if there is a proxy.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// From now on dropping it resets the connection (zero linger), never FIN or close_notify, so that
    /// no peer takes what it received for a complete file.
    pub fn reset_on_drop(&self) {
        reset_on_drop(self.tcp());
    }

    /// Undoes [`Stream::reset_on_drop`].
    pub fn close_on_drop(&self) {
        // Fails only on a closed socket.
        let _ = SockRef::from(self.tcp()).set_linger(None);
    }

    /// Ends a complete transfer: close_notify and FIN. Fails when the last bytes cannot be sent within
    /// `deadline`.
    pub async fn complete(mut self, deadline: Duration) -> io::Result<()> {
        self.end(deadline, false).await
    }

    /// As [`Stream::complete`], for the sender: then reads and discards until the peer ends, too. A
    /// socket closed with unread bytes (session tickets) sends RST, which would truncate the file.
    pub async fn complete_and_read_to_end(mut self, deadline: Duration) -> io::Result<()> {
        self.end(deadline, true).await
    }

    /// As [`Stream::complete`], and keeps the socket: the peer may still receive, and has not ended.
    pub async fn complete_and_keep(mut self, deadline: Duration) -> io::Result<TcpStream> {
        self.end(deadline, false).await?;
        Ok(match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => match *tls {
                TlsStream::Client(tls) => tls.into_inner().0.into_tcp(),
                TlsStream::Server(tls) => tls.into_inner().0.into_tcp(),
            },
        })
    }

    async fn end(&mut self, deadline: Duration, read_to_end: bool) -> io::Result<()> {
        self.close_on_drop();
        let ended = tokio::time::timeout(deadline, async {
            self.shutdown().await?;
            let mut rest = [0; 1024];
            while read_to_end && self.read(&mut rest).await? > 0 {}
            Ok(())
        });
        ended.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// As [`Stream::reset_on_drop`], before there is TLS.
pub fn reset_on_drop(tcp: &TcpStream) {
    // Fails only on a closed socket.
    let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

/// Sets nodelay and keepalive, as on every TCP connection of the gateway.
pub fn prepare(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    // Neither is essential.
    let _ = socket.set_tcp_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let _ = socket.set_tcp_keepalive(&keepalive);
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
