//! A control connection of FTP that shows replies as they came (RFC 959). The backends' client hides what a
//! firewall did to them, and needs neither PASV nor EPSV to be seen.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::CONNECT_TIMEOUT;
use crate::net::{Stream, prepare};
use crate::op::PeerReply;
use crate::wire::ftp::command::is_sendable;
use crate::wire::ftp::line::LineBuffer;
use crate::wire::ftp::reply::{MAX_LINE, ReplyReader};

/// For a reply: the gateway may wait for its backend.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) struct Client {
    stream: Stream,
    lines: LineBuffer,
    replies: ReplyReader,
}

impl Client {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, lines: LineBuffer::new(MAX_LINE), replies: ReplyReader::default() }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    pub(super) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.stream.tcp().local_addr()
    }

    /// Sends a command and receives its first reply.
    pub(super) async fn command(
        &mut self,
        verb: &str,
        argument: &[u8],
    ) -> Result<PeerReply, String> {
        if !is_sendable(argument) {
            return Err(format!("{verb} cannot carry CR, LF, NUL or 0xFF"));
        }
        let mut line = Zeroizing::new(Vec::with_capacity(verb.len() + argument.len() + 3));
        line.extend_from_slice(verb.as_bytes());
        if !argument.is_empty() {
            line.push(b' ');
            line.extend_from_slice(argument);
        }
        line.extend_from_slice(b"\r\n");
        let sent = async {
            self.stream.write_all(&line).await?;
            self.stream.flush().await
        };
        match timeout(REPLY_TIMEOUT, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("sending {verb}: {error}")),
            Err(_) => return Err(format!("sending {verb} timed out")),
        }
        self.reply().await.map_err(|error| format!("{verb}: {error}"))
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<PeerReply, String> {
        match timeout(REPLY_TIMEOUT, self.next_reply()).await {
            Ok(reply) => reply,
            Err(_) => {
                let limit = humantime::format_duration(REPLY_TIMEOUT);
                Err(format!("no reply within {limit}"))
            }
        }
    }

    async fn next_reply(&mut self) -> Result<PeerReply, String> {
        loop {
            while let Some(line) = self.lines.next_line() {
                let line = line.map_err(|_| "a reply line is too long")?;
                if line.is_empty() && self.replies.is_empty() {
                    continue;
                }
                if let Some(reply) = self.replies.line(&line).map_err(|e| e.to_string())? {
                    return Ok(reply);
                }
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(n) => self.lines.extend(&bytes[..n]),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// A TCP connection as the gateway makes them.
pub(super) async fn dial(to: SocketAddr) -> std::io::Result<TcpStream> {
    let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await;
    let tcp = tcp.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
    prepare(&tcp);
    Ok(tcp)
}
