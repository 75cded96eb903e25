//! A control connection to a server (RFC 959 section 5.4): sends commands, receives replies.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::command_length;
use super::reply::{failure, unavailable};
use super::reply_codes;
use super::settings::{Dialect, Settings};
use crate::net::{Stream, unacknowledged};
use crate::op::{Failure, FailureKind, Outage, PeerReply};
use crate::task::poll_once;
use crate::wire::ftp::command::is_sendable;
use crate::wire::ftp::line::LineBuffer;
use crate::wire::ftp::reply::{MAX_LINE, ReplyReader};

/// A control connection. After any failure here it may be out of sync and must not be used again.
pub(super) struct Control {
    stream: Stream,
    lines: LineBuffer,
    replies: ReplyReader,
    reply_timeout: Duration,
    surplus_reply_timeout: Duration,
    dialect: Dialect,
    /// Commands whose last reply is outstanding.
    outstanding: usize,
    /// The last unsolicited reply.
    surplus: Option<PeerReply>,
}

const CR: u8 = 13;
/// The most surplus replies that are dropped for one command.
const SURPLUS_REPLIES_MAX: usize = 16;

impl Control {
    pub(super) fn new(stream: Stream, settings: &Settings) -> Self {
        Self {
            stream,
            lines: LineBuffer::new(MAX_LINE),
            replies: match settings.dialect {
                Dialect::Unix => ReplyReader::default(),
                Dialect::Opaque => ReplyReader::verbatim(),
            },
            reply_timeout: settings.reply_timeout,
            surplus_reply_timeout: settings.timing.surplus_reply_timeout,
            dialect: settings.dialect,
            outstanding: 0,
            surplus: None,
        }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The server's address; an IPv4-mapped one as IPv4.
    pub(super) fn peer(&self) -> Result<SocketAddr, Failure> {
        let peer = self.stream.peer_addr();
        let peer = peer.map_err(|e| unavailable(format!("its address: {e}")))?;
        Ok(SocketAddr::new(peer.ip().to_canonical(), peer.port()))
    }

    /// Returns the stream for a TLS handshake. Data that the server sent in clear after its reply
    /// to AUTH is discarded.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Refuses a command that is too long for the server.
    pub(super) fn check_length(&self, verb: &str, argument: Option<&[u8]>) -> Result<(), Failure> {
        match self.dialect {
            Dialect::Unix => Ok(()),
            Dialect::Opaque => command_length::check(verb, argument),
        }
    }

    /// Sends one command. One that would inject a second command is refused.
    pub(super) async fn send(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<(), Failure> {
        self.check_length(verb, argument)?;
        let mut line = zeroize::Zeroizing::new(Vec::with_capacity(
            verb.len() + argument.map_or(0, <[u8]>::len) + 3,
        ));
        line.extend_from_slice(verb.as_bytes());
        if let Some(argument) = argument {
            if !is_sendable(argument) {
                return Err(Failure::client(
                    FailureKind::NameRefused,
                    "FTP cannot carry a name that contains CR, LF, NUL or 0xFF",
                ));
            }
            line.push(b' ');
            line.extend_from_slice(argument);
        }
        line.extend_from_slice(b"\r\n");
        self.outstanding += 1;
        self.write(verb, &line).await
    }

    /// Pipelines commands; each gets its own reply.
    pub(super) async fn send_all(&mut self, commands: &[&[u8]]) -> Result<(), Failure> {
        self.synchronize().await?;
        self.outstanding += commands.len();
        let lines: Vec<u8> =
            commands.iter().flat_map(|command| [command, &b"\r\n"[..]].concat()).collect();
        self.write("pipelined commands", &lines).await
    }

    async fn write(&mut self, what: &str, bytes: &[u8]) -> Result<(), Failure> {
        let sent = timeout(self.reply_timeout, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(unavailable(format!("sending {what}: {e}"))),
            Err(_) => Err(unavailable(format!("sending {what} timed out (`reply_timeout`)"))
                .with_outage(Outage::Timeout)),
        }
    }

    /// Whether the last reply to every command was received.
    pub(super) fn is_settled(&self) -> bool {
        self.outstanding == 0
    }

    /// Commands and replies were brought into sync by other means than counting.
    pub(super) fn settle(&mut self) {
        self.outstanding = 0;
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<PeerReply, Failure> {
        match timeout(self.reply_timeout, self.next_reply()).await {
            Ok(reply) => self.count_reply(reply),
            Err(_) => Err(unavailable(format!(
                "no reply within {} (`reply_timeout`)",
                humantime::format_duration(self.reply_timeout)
            ))
            .with_outage(Outage::Timeout)),
        }
    }

    fn count_reply(&mut self, reply: io::Result<PeerReply>) -> Result<PeerReply, Failure> {
        let reply = reply.map_err(|e| unavailable(e.to_string()))?;
        if reply.code >= 200 {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        Ok(reply)
    }

    /// A reply that has arrived already.
    pub(super) fn try_reply(&mut self) -> Option<Result<PeerReply, Failure>> {
        let reply = poll_once(self.next_reply())?;
        Some(reply.map_err(|e| unavailable(e.to_string())))
    }

    /// Sends a command and receives its reply. A reply that cannot be one to this command is
    /// dropped if another one follows.
    pub(super) async fn command(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        let mut reply = self.relay(verb, argument).await?;
        for _ in 0..SURPLUS_REPLIES_MAX {
            if reply_codes::can_answer(verb, &reply) {
                break;
            }
            // A login succeeds with its own reply only, however late that is.
            let is_login = matches!(verb, "USER" | "PASS" | "ACCT" | "AUTH");
            let another = if is_login {
                self.reply().await?
            } else {
                match timeout(self.surplus_reply_timeout, self.next_reply()).await {
                    Ok(another) => self.count_reply(another)?,
                    // It was meant as the reply.
                    Err(_) => break,
                }
            };
            self.drop_surplus(std::mem::replace(&mut reply, another));
        }
        Ok(reply)
    }

    /// Sends a command of which it is not known which replies it can have; receives one.
    pub(super) async fn relay(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        self.synchronize().await?;
        self.send(verb, argument).await?;
        let reply = self.reply().await?;
        if self.dialect == Dialect::Opaque && self.has_crossed() {
            // To an idle connection.
            if reply.code == 421 {
                return Err(failure("the backend closed the session", reply));
            }
            return Err(self.protocol_broken(reply));
        }
        Ok(reply)
    }

    /// Whether the reply that was just received has crossed the command on its way: an answer brings the
    /// acknowledgement of the command with it (RFC 9293 section 3.4). Where the kernel does not tell, it counts as an
    /// answer.
    fn has_crossed(&self) -> bool {
        unacknowledged(self.stream.tcp()).is_ok_and(|bytes| bytes > 0)
    }

    /// Drops replies that arrived unsolicited: they would be taken for the next command's. Fails on
    /// 421, which servers send to idle connections, and on any reply of an opaque server.
    pub(super) fn drop_unsolicited(&mut self) -> Result<(), Failure> {
        for _ in 0..SURPLUS_REPLIES_MAX {
            match poll_once(self.next_reply()) {
                None => return Ok(()),
                Some(reply) => self.take_unsolicited(reply)?,
            }
        }
        Err(unavailable("out of sync: it keeps sending unsolicited replies"))
    }

    /// As [`Control::drop_unsolicited`]; also waits for the rest of a reply that has started.
    async fn synchronize(&mut self) -> Result<(), Failure> {
        self.drop_unsolicited()?;
        for _ in 0..SURPLUS_REPLIES_MAX {
            if self.lines.is_empty() && self.replies.is_empty() {
                break;
            }
            if self.dialect == Dialect::Opaque {
                return Err(self.protocol_broken("the beginning of a reply"));
            }
            match timeout(self.surplus_reply_timeout, self.next_reply()).await {
                Ok(reply) => self.take_unsolicited(reply)?,
                Err(_) => return Err(unavailable("an unsolicited reply was incomplete")),
            }
            self.drop_unsolicited()?;
        }
        Ok(())
    }

    fn take_unsolicited(&mut self, reply: io::Result<PeerReply>) -> Result<(), Failure> {
        let reply = reply.map_err(|e| unavailable(format!("before a command: {e}")))?;
        if reply.code == 421 {
            return Err(failure("the backend closed the session", reply));
        }
        if self.dialect == Dialect::Opaque {
            return Err(self.protocol_broken(reply));
        }
        self.drop_surplus(reply);
        Ok(())
    }

    /// A reply that answers no command (RFC 959 section 5.4), of a server whose replies are relayed: whatever it
    /// is about, the client would not learn it.
    fn protocol_broken(&self, received: impl std::fmt::Display) -> Failure {
        let server = self.peer().map_or_else(|failure| failure.to_string(), |it| it.to_string());
        tracing::warn!(
            %server,
            %received,
            "the backend server broke the protocol: it sent a reply that answers no command; the session ends"
        );
        Failure::backend(
            FailureKind::Unavailable,
            "the backend server sent a reply that answers no command; log in again",
        )
        .with_detail(received)
    }

    /// Notes a dropped reply.
    pub(super) fn drop_surplus(&mut self, reply: PeerReply) {
        self.surplus = Some(reply);
    }

    /// The last reply that was dropped since the previous call.
    pub(super) fn take_surplus(&mut self) -> Option<PeerReply> {
        self.surplus.take()
    }

    /// Sends close_notify under TLS and ends the connection, within a timeout.
    pub(super) async fn shutdown(&mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }

    async fn next_reply(&mut self) -> io::Result<PeerReply> {
        let invalid = |e: &str| io::Error::new(io::ErrorKind::InvalidData, e.to_owned());
        loop {
            while let Some(line) = self.lines.next_line() {
                let mut line = line.map_err(|_| invalid("a reply line is too long"))?;
                // Some servers end lines with CR CR LF.
                while line.pop_if(|last| *last == CR).is_some() {}
                if line.is_empty() && self.replies.is_empty() {
                    continue;
                }
                if let Some(reply) =
                    self.replies.line(&line).map_err(|e| invalid(&e.to_string()))?
                {
                    return Ok(reply);
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
