use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::reply::{failure, unavailable};
use super::reply_codes;
use super::settings::Settings;
use crate::net::{Stream, poll_once};
use crate::op::{Failure, FailureKind, Outage, PeerReply};
use crate::wire::ftp::command::is_carriable;
use crate::wire::ftp::line::LineBuffer;
use crate::wire::ftp::reply::{MAX_LINE, ReplyReader};

/// A control connection to a server: commands out, replies in. After any error here the two sides
/// may be out of step; the connection must not be used again.
pub(super) struct Control {
    stream: Stream,
    lines: LineBuffer,
    replies: ReplyReader,
    reply_timeout: Duration,
    surplus_reply_timeout: Duration,
    /// Commands whose last reply has not come yet.
    owed: usize,
    /// The last reply that nothing had asked for.
    surplus: Option<PeerReply>,
}

const CR: u8 = 13;
/// The most replies that are dropped for one command.
const MAX_SURPLUS: usize = 16;

impl Control {
    pub(super) fn new(stream: Stream, settings: &Settings) -> Self {
        Self {
            stream,
            lines: LineBuffer::new(MAX_LINE),
            replies: ReplyReader::default(),
            reply_timeout: settings.reply_timeout,
            surplus_reply_timeout: settings.timing.surplus_reply_timeout,
            owed: 0,
            surplus: None,
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
    pub(super) async fn send_all(&mut self, commands: &[&[u8]]) -> Result<(), Failure> {
        self.resynchronize().await?;
        self.owed += commands.len();
        let lines: Vec<u8> =
            commands.iter().flat_map(|command| [command, &b"\r\n"[..]].concat()).collect();
        self.write("several commands", &lines).await
    }

    async fn write(&mut self, what: &str, bytes: &[u8]) -> Result<(), Failure> {
        let sent = timeout(self.reply_timeout, async {
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
    pub(super) async fn reply(&mut self) -> Result<PeerReply, Failure> {
        match timeout(self.reply_timeout, self.next_reply()).await {
            Ok(said) => self.counted(said),
            Err(_) => Err(unavailable(format!(
                "no reply within {}",
                humantime::format_duration(self.reply_timeout)
            ))
            .with_outage(Outage::Timeout)),
        }
    }

    fn counted(&mut self, said: io::Result<PeerReply>) -> Result<PeerReply, Failure> {
        let reply = said.map_err(|e| unavailable(e.to_string()))?;
        if reply.code >= 200 {
            self.owed = self.owed.saturating_sub(1);
        }
        Ok(reply)
    }

    /// A reply that is there already.
    pub(super) fn reply_at_hand(&mut self) -> Option<Result<PeerReply, Failure>> {
        let said = poll_once(self.next_reply())?;
        Some(said.map_err(|e| unavailable(e.to_string())))
    }

    /// Sends a command and takes its answer. A reply that belongs to another command is dropped where
    /// another one follows it.
    pub(super) async fn command(
        &mut self,
        verb: &str,
        argument: Option<&[u8]>,
    ) -> Result<PeerReply, Failure> {
        self.resynchronize().await?;
        self.send(verb, argument).await?;
        let mut answer = self.reply().await?;
        for _ in 0..MAX_SURPLUS {
            if reply_codes::can_answer(verb, &answer) {
                break;
            }
            // No other success lets anybody in, however late the answer is.
            let is_login = matches!(verb, "USER" | "PASS" | "ACCT" | "AUTH");
            let another = if is_login {
                self.reply().await?
            } else {
                match timeout(self.surplus_reply_timeout, self.next_reply()).await {
                    Ok(another) => self.counted(another)?,
                    // It was meant for the answer.
                    Err(_) => break,
                }
            };
            self.drop_surplus(std::mem::replace(&mut answer, another));
        }
        Ok(answer)
    }

    /// Drops what is there and answers no question: it would be taken for the next one's answer. An
    /// error where the server says goodbye: 421, when it was idle for too long.
    pub(super) fn drop_unsolicited(&mut self) -> Result<(), Failure> {
        for _ in 0..MAX_SURPLUS {
            match poll_once(self.next_reply()) {
                None => return Ok(()),
                Some(said) => self.unasked(said)?,
            }
        }
        Err(unavailable("out of step: it says more and more unasked"))
    }

    /// As [`Control::in_step`]; a reply that has begun is waited for.
    async fn resynchronize(&mut self) -> Result<(), Failure> {
        self.drop_unsolicited()?;
        for _ in 0..MAX_SURPLUS {
            if self.lines.is_empty() && self.replies.is_empty() {
                break;
            }
            match timeout(self.surplus_reply_timeout, self.next_reply()).await {
                Ok(said) => self.unasked(said)?,
                Err(_) => return Err(unavailable("it began to speak unasked")),
            }
            self.drop_unsolicited()?;
        }
        Ok(())
    }

    fn unasked(&mut self, said: io::Result<PeerReply>) -> Result<(), Failure> {
        let said = said.map_err(|e| unavailable(format!("before a command: {e}")))?;
        if said.code == 421 {
            return Err(failure("the backend closed the session", said));
        }
        self.drop_surplus(said);
        Ok(())
    }

    /// A reply that nothing has asked for.
    pub(super) fn drop_surplus(&mut self, said: PeerReply) {
        self.surplus = Some(said);
    }

    /// The last one that was dropped since this was asked.
    pub(super) fn take_surplus(&mut self) -> Option<PeerReply> {
        self.surplus.take()
    }

    /// close_notify where there is TLS, then the end; bounded.
    pub(super) async fn shutdown(&mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }

    async fn next_reply(&mut self) -> io::Result<PeerReply> {
        let invalid = |e: &str| io::Error::new(io::ErrorKind::InvalidData, e.to_owned());
        loop {
            while let Some(line) = self.lines.next_line() {
                let mut line = line.map_err(|_| invalid("a reply's line is too long"))?;
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
