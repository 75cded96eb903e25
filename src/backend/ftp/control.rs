use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::reply::{failure, unavailable};
use crate::net::{Stream, poll_once};
use crate::op::{Failure, FailureKind, Outage, Words};
use crate::wire::ftp::command::is_carriable;
use crate::wire::ftp::line::LineBuffer;
use crate::wire::ftp::reply::{MAX_LINE, ReplyReader};

/// A control connection to a server: commands out, replies in. After any error here the two sides
/// may be out of step; the connection must not be used again.
pub(super) struct Control {
    stream: Stream,
    lines: LineBuffer,
    replies: ReplyReader,
    deadline: Duration,
    /// Commands whose last reply has not come yet.
    owed: usize,
}

impl Control {
    /// `deadline`: for each command to be taken and each reply to come.
    pub(super) fn new(stream: Stream, deadline: Duration) -> Self {
        Self {
            stream,
            lines: LineBuffer::new(MAX_LINE),
            replies: ReplyReader::default(),
            deadline,
            owed: 0,
        }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Where the server is; an IPv4-mapped address as IPv4.
    pub(super) fn peer(&self) -> Result<SocketAddr, Failure> {
        let peer = self.stream.peer_addr();
        let peer = peer.map_err(|e| unavailable(format!("its address: {e}")))?;
        Ok(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }

    /// Gives the bare stream up for a TLS handshake. What the server sent in clear behind its answer
    /// to AUTH is thrown away.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends one command. An argument that could become a second command is refused before a byte
    /// is sent.
    pub(super) async fn send(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let mut line = zeroize::Zeroizing::new(Vec::with_capacity(
            verb.len() + argument.map_or(0, <[u8]>::len) + 3,
        ));
        line.extend_from_slice(verb.as_bytes());
        if let Some(argument) = argument {
            if !is_carriable(argument) {
                return Err(Failure::client(
                    FailureKind::NameRefused,
                    "a name with CR, LF, NUL or 0xFF in it cannot be carried over FTP",
                ));
            }
            line.push(b' ');
            line.extend_from_slice(argument);
        }
        line.extend_from_slice(b"\r\n");
        self.owed += 1;
        self.write(verb, &line).await
    }

    /// Sends commands in one flight; each is answered by its own reply.
    pub(super) async fn send_all(&mut self, commands: &[&str]) -> Result<(), Failure> {
        self.in_step()?;
        self.owed += commands.len();
        let lines: Vec<u8> =
            commands.iter().flat_map(|command| [command.as_bytes(), b"\r\n"].concat()).collect();
        self.write("the commands after the login", &lines).await
    }

    async fn write(&mut self, what: &str, bytes: &[u8]) -> Result<(), Failure> {
        let sent = timeout(self.deadline, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(unavailable(format!("sending {what}: {e}"))),
            Err(_) => Err(unavailable(format!("{what} could not be sent in time"))
                .with_outage(Outage::Timeout)),
        }
    }

    /// Whether the last reply to every command has come.
    pub(super) fn is_settled(&self) -> bool {
        self.owed == 0
    }

    /// Both sides have been brought into step by other means than counting.
    pub(super) fn settle(&mut self) {
        self.owed = 0;
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<Words, Failure> {
        match timeout(self.deadline, self.next_reply()).await {
            Ok(Ok(words)) => {
                if words.code >= 200 {
                    self.owed = self.owed.saturating_sub(1);
                }
                Ok(words)
            }
            Ok(Err(e)) => Err(unavailable(e.to_string())),
            Err(_) => Err(unavailable(format!(
                "no reply within {}",
                humantime::format_duration(self.deadline)
            ))
            .with_outage(Outage::Timeout)),
        }
    }

    pub(super) async fn command(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<Words, Failure> {
        self.in_step()?;
        self.send(verb, argument).await?;
        self.reply().await
    }

    /// Nothing may be there that answers no question: it would be taken for the next one's answer.
    /// A server says 421 that way when it was idle for too long.
    pub(super) fn in_step(&mut self) -> Result<(), Failure> {
        let said = match poll_once(self.next_reply()) {
            None if self.lines.is_empty() => return Ok(()),
            None => return Err(unavailable("it began to speak unasked")),
            Some(said) => said.map_err(|e| unavailable(format!("before a command: {e}")))?,
        };
        match said.code {
            421 => Err(failure("the backend closed the session", said)),
            _ => Err(unavailable(format!("out of step: it said {said} unasked"))),
        }
    }

    /// close_notify where there is TLS, then the end; bounded.
    pub(super) async fn shutdown(&mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }

    async fn next_reply(&mut self) -> io::Result<Words> {
        let invalid = |e: &str| io::Error::new(io::ErrorKind::InvalidData, e.to_owned());
        loop {
            while let Some(line) = self.lines.next_line() {
                let line = line.map_err(|_| invalid("a reply's line is too long"))?;
                if let Some(words) =
                    self.replies.line(&line).map_err(|e| invalid(&e.to_string()))?
                {
                    return Ok(words);
                }
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.lines.extend(&bytes[..n]),
            }
        }
    }
}
