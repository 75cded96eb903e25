//! The control connection to a client (RFC 959 section 2.3): command lines in, replies out.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::command_queue::{CommandQueue, Line, QueueFull};
use super::reply::Reply;
use crate::net::Stream;
use crate::op::PeerReply;
use crate::wire::first_bytes::{Protocol, protocol};
use crate::wire::ftp::line::{LineBuffer, MAX_COMMAND_LINE, strip_telnet_signals};
use crate::wire::ftp::reply;

mod transfer;

pub(super) use transfer::{Interruption, Phase};

/// For a client to read a reply; then the connection counts as lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// Lines handled in a row before other sessions get their turn.
const LINES_PER_YIELD_MAX: usize = 32;

pub(super) struct Control {
    /// `None` after a failed TLS handshake, and once the client reads no replies.
    stream: Option<Stream>,
    lines: LineBuffer,
    /// Commands received during a transfer.
    queue: CommandQueue,
    closed: bool,
    /// A reply was given up in the middle: another one would be taken as its rest.
    is_torn: bool,
    received: bool,
    /// The protocol of a client that has sent no line.
    other_protocol: Option<Protocol>,
    /// Why the connection is closed, unless the client closed it.
    close_reason: Option<&'static str>,
    /// The peer of the TCP connection is a proxy, not the client.
    proxied: bool,
}

impl Control {
    /// `proxied`: the peer of the TCP connection is a proxy, not the client.
    pub(super) fn new(stream: Stream, proxied: bool) -> Self {
        Self {
            stream: Some(stream),
            lines: LineBuffer::new(MAX_COMMAND_LINE),
            queue: CommandQueue::default(),
            closed: false,
            is_torn: false,
            received: false,
            other_protocol: None,
            close_reason: None,
            proxied,
        }
    }

    /// The local address of the connection; `None` once it is lost.
    pub(super) fn local_address(&self) -> Option<IpAddr> {
        let local = self.stream.as_ref()?.tcp().local_addr().ok()?;
        Some(local.ip().to_canonical())
    }

    pub(super) fn is_tls(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_tls)
    }

    /// The next line; `None` once the connection is closed. Cancel safe.
    pub(super) async fn line(&mut self) -> Option<Line> {
        match self.queue.pop() {
            Some(line) => Some(line),
            None => self.read_line().await,
        }
    }

    pub(super) async fn reply(&mut self, reply: Reply) {
        self.reply_lines(reply.code, &[reply.text]).await;
    }

    /// Sends one reply. If the client does not read it, its pending commands are discarded.
    pub(super) async fn reply_lines(&mut self, code: u16, lines: &[impl AsRef<[u8]>]) {
        let mut text = Vec::new();
        reply::encode(code, lines, &mut text);
        self.send(&text).await;
    }

    /// As [`Control::reply_lines`], of a server's reply with its own bytes.
    pub(super) async fn relay_reply(&mut self, relayed: &PeerReply) {
        let mut text = Vec::new();
        reply::encode_verbatim(relayed, &mut text);
        self.send(&text).await;
    }

    async fn send(&mut self, text: &[u8]) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.is_torn) else { return };
        self.is_torn = true;
        let sent = timeout(REPLY_TIMEOUT, async {
            stream.write_all(text).await?;
            stream.flush().await
        });
        let sent = matches!(sent.await, Ok(Ok(())));
        self.is_torn = false;
        if !sent {
            self.stream = None;
            self.closed = true;
            self.close_reason.get_or_insert("the client did not read a reply");
            self.discard_received();
        }
    }

    /// Why the connection has ended.
    pub(super) fn close_reason(&self) -> &'static str {
        self.close_reason.unwrap_or("the client closed the control connection")
    }

    /// Takes the plain connection for a TLS handshake. Whatever the client sent after the command
    /// is discarded.
    pub(super) fn take_plain(&mut self) -> Option<TcpStream> {
        self.discard_received();
        match self.stream.take() {
            Some(Stream::Plain(tcp)) => Some(tcp),
            other => {
                self.stream = other;
                None
            }
        }
    }

    pub(super) fn set_stream(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// Waits for `work` while the client stays connected; commands received meanwhile are queued.
    /// Returns `None` and drops the work once the client has closed the connection and left no
    /// command to serve, or has sent too many commands, which is replied to with 421.
    pub(super) async fn while_connected<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut lines = 0;
        loop {
            let line = tokio::select! {
                biased;
                // First: nothing starts for a client that has left already.
                line = unconstrained(self.read_line()), if !self.closed || self.queue.is_empty() => line,
                done = &mut work => return Some(done),
            };
            match line.map(|line| self.queue.push(line)) {
                Some(Ok(())) => {}
                Some(Err(QueueFull)) => {
                    self.close_reason = Some("the client sent too many commands at once");
                    self.reply(Reply::TOO_MANY_COMMANDS).await;
                    return None;
                }
                None if self.queue.is_empty() => return None,
                None => {}
            }
            yield_between_lines(&mut lines).await;
        }
    }

    /// Whether the client has sent anything.
    pub(super) fn has_received(&self) -> bool {
        self.received
    }

    /// The protocol of a client that has sent no line.
    pub(super) fn other_protocol(&self) -> Option<Protocol> {
        self.other_protocol
    }

    /// Whether these, the connection's first bytes, start a TLS handshake on a plain connection. It
    /// contains no line end.
    fn is_unexpected_tls(&mut self, bytes: &[u8]) -> bool {
        !std::mem::replace(&mut self.received, true)
            && !self.is_tls()
            && protocol(bytes) == Some(Protocol::Tls)
    }

    /// Ends the connection, with close_notify under TLS; bounded.
    pub(super) async fn shutdown(&mut self) {
        if let Some(stream) = &mut self.stream {
            let _ = timeout(SHUTDOWN_TIMEOUT, stream.shutdown()).await;
        }
    }

    async fn read_line(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return Some(line.map(strip_telnet_signals));
            }
            if self.closed {
                return None;
            }
            let stream = self.stream.as_mut()?;
            let mut bytes = [0; 2048];
            match read(stream, &mut bytes).await {
                Ok(n) if n > 0 && self.is_unexpected_tls(&bytes[..n]) => {
                    self.closed = true;
                    self.other_protocol = Some(Protocol::Tls);
                }
                Ok(n) if n > 0 => self.lines.extend(&bytes[..n]),
                _ => self.closed = true,
            }
        }
    }

    fn discard_received(&mut self) {
        self.lines.clear();
        self.queue.clear();
    }
}

/// A client that never stops sending must not keep the thread from other sessions.
async fn yield_between_lines(lines: &mut usize) {
    *lines += 1;
    if lines.is_multiple_of(LINES_PER_YIELD_MAX) {
        yield_now().await;
    }
}

/// A read ends before urgent data (ABOR's). tokio takes a short read for the last one and would
/// wait for bytes that have arrived already. Cancel safe.
async fn read(stream: &mut Stream, bytes: &mut [u8]) -> io::Result<usize> {
    let Stream::Plain(tcp) = stream else { return stream.read(bytes).await };
    loop {
        tcp.readable().await?;
        match tcp.try_read(bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
