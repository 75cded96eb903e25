//! The connection to a receiver. Syslog confirms nothing: what was sent just before a receiver fails may be
//! lost, and what was sent while the connection broke is sent again.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram, UnixStream};
use tokio::time::timeout;

use crate::audit::settings::Receiver;
use crate::net::tls::DistrustedCertificate;
use crate::net::{Stream, prepare};
use crate::task::poll_once;

/// For a connection, with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a batch of messages to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// For a receiver to confirm data at the level of TCP, so that one that is gone is noticed.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(20);

/// A receiver, connected when needed.
pub(in crate::audit) struct Connection {
    receiver: Receiver,
    socket: Option<Socket>,
}

enum Socket {
    Tcp(Box<Stream>),
    UnixStream(UnixStream),
    UnixDatagram(UnixDatagram),
}

impl Connection {
    pub(in crate::audit) fn new(receiver: Receiver) -> Self {
        Self { receiver, socket: None }
    }

    /// Connects if there is no connection, and sends the messages. Those that are sent are taken out, and
    /// those that are too long for a datagram, whose number is returned.
    pub(in crate::audit) async fn write(
        &mut self,
        messages: &mut VecDeque<String>,
    ) -> io::Result<usize> {
        // A receiver that has closed the connection still accepts bytes, and drops them.
        if let Some(socket) = &mut self.socket
            && poll_once(socket.ended()).is_some()
        {
            self.socket = None;
        }
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None => self.socket.insert(within(CONNECT_TIMEOUT, connect(&self.receiver)).await?),
        };
        let sent = within(WRITE_TIMEOUT, socket.send(messages)).await;
        if sent.is_err() {
            self.socket = None;
        }
        sent
    }

    /// Returns when the receiver has closed the connection.
    pub(in crate::audit) async fn lost(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.ended().await;
        }
        self.socket = None;
    }
}

impl Socket {
    async fn send(&mut self, messages: &mut VecDeque<String>) -> io::Result<usize> {
        match self {
            // MSG-LEN SP SYSLOG-MSG: RFC 5425 section 4.3, RFC 6587 section 3.4.1.
            Self::Tcp(stream) => {
                let mut frames = String::new();
                for message in &*messages {
                    frames.push_str(&message.len().to_string());
                    frames.push(' ');
                    frames.push_str(message);
                }
                send_all(stream, &frames, messages).await
            }
            // A trailing line feed: RFC 6587 section 3.4.2. No message contains one.
            Self::UnixStream(stream) => {
                let frames: String = messages.iter().flat_map(|it| [it.as_str(), "\n"]).collect();
                send_all(stream, &frames, messages).await
            }
            Self::UnixDatagram(socket) => {
                let mut too_long = 0;
                while let Some(message) = messages.front() {
                    match socket.send(message.as_bytes()).await {
                        Ok(_) => {}
                        Err(error) if is_too_long(&error) => too_long += 1,
                        // Those before it are sent, and counted when it is.
                        Err(error) => return Err(error),
                    }
                    messages.pop_front();
                }
                Ok(too_long)
            }
        }
    }

    /// Returns when the receiver has closed the connection. What it sends is ignored.
    async fn ended(&mut self) {
        match self {
            Self::Tcp(stream) => read_to_end(stream).await,
            Self::UnixStream(stream) => read_to_end(stream).await,
            Self::UnixDatagram(_) => pending().await,
        }
    }
}

async fn connect(receiver: &Receiver) -> io::Result<Socket> {
    match receiver {
        Receiver::Socket(path) => connect_unix(path).await,
        Receiver::Tcp { address, tls } => {
            let tcp = TcpStream::connect(address.as_str()).await?;
            prepare(&tcp);
            SockRef::from(&tcp).set_tcp_user_timeout(Some(CONFIRM_TIMEOUT))?;
            let stream = match tls {
                Some(tls) => tls.session(false).connect(tcp).await.map_err(explained)?,
                None => Stream::Plain(tcp),
            };
            Ok(Socket::Tcp(Box::new(stream)))
        }
    }
}

/// Why a receiver's certificate is not trusted. The setting that helps is beside the receiver's address.
fn explained(error: io::Error) -> io::Error {
    let Some(distrusted) = DistrustedCertificate::of(&error) else { return error };
    io::Error::other(distrusted.to_string().replace("`tls.", "`audit.syslog."))
}

/// A datagram socket, as most are, or a stream.
async fn connect_unix(path: &Path) -> io::Result<Socket> {
    let datagram = UnixDatagram::unbound()?;
    match datagram.connect(path) {
        Ok(()) => Ok(Socket::UnixDatagram(datagram)),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            Ok(Socket::UnixStream(UnixStream::connect(path).await?))
        }
        Err(error) => Err(error),
    }
}

/// Either all of them count as sent, or none.
async fn send_all(
    stream: &mut (impl AsyncWrite + Unpin),
    frames: &str,
    messages: &mut VecDeque<String>,
) -> io::Result<usize> {
    if !frames.is_empty() {
        stream.write_all(frames.as_bytes()).await?;
        stream.flush().await?;
        messages.clear();
    }
    Ok(0)
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut ignored = [0; 256];
    while matches!(stream.read(&mut ignored).await, Ok(1..)) {}
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error())
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within {limit:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}
