//! A connection between two processes of the gateway.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::message::{LinkParts, Message};
use crate::net::{receive_descriptors, send_descriptors};

/// The longest message, in bytes. What grows with users and clients is sent in parts; the longest is the list of
/// sockets, with some 150 bytes for each.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// What may wait to be sent before news of no urgency are left out.
const UNSENT_MAX: usize = 64 * 1024;
/// For the peer to take a message, or sockets, while a take-over is under way.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Parts of the time in which a message must arrive.
const WAITS: u32 = 10;
/// For the other process to read the rest.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// What happens on a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// A message.
    Received(Message),
    /// All that was queued is sent.
    Sent,
    /// The other process has closed it.
    Ended,
}

/// A connection to another process of the gateway.
pub struct Link {
    stream: UnixStream,
    process: u32,
    received: Vec<u8>,
    unsent: Vec<u8>,
}

impl Link {
    /// `process`: the other one's id. Nothing of the stream may have been read.
    pub fn new(stream: UnixStream, process: u32) -> Self {
        Self { stream, process, received: Vec::new(), unsent: Vec::new() }
    }

    /// The other process's id.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// It says so itself: the kernel tells who has begun to listen on the socket.
    pub fn set_process(&mut self, process: u32) {
        self.process = process;
    }

    /// Sends a message and waits until the kernel has it.
    pub async fn send(&mut self, message: &Message) -> io::Result<()> {
        self.queue(message)?;
        timeout(SEND_TIMEOUT, self.flush()).await.unwrap_or_else(|_| Err(not_read()))
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            self.stream.writable().await?;
            self.write()?;
        }
        Ok(())
    }

    /// Sends sockets that a message has announced.
    pub async fn send_sockets(&self, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let sent = timeout(SEND_TIMEOUT, send_descriptors(&self.stream, sockets));
        sent.await.unwrap_or_else(|_| Err(not_read()))
    }

    /// Receives sockets that a message has announced.
    pub async fn receive_sockets(&self, count: usize) -> io::Result<Vec<OwnedFd>> {
        let received = timeout(SEND_TIMEOUT, receive_descriptors(&self.stream, count));
        received.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    /// Queues a message; [`Self::next`] sends it.
    pub fn queue(&mut self, message: &Message) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MESSAGE_MAX {
            return Err(too_long(bytes.len()));
        }
        self.unsent.extend((bytes.len() as u32).to_be_bytes());
        self.unsent.extend(bytes);
        Ok(())
    }

    /// Whether the peer does not read what was sent: what can wait should wait.
    pub fn is_congested(&self) -> bool {
        self.unsent.len() > UNSENT_MAX
    }

    /// Sends what is queued, and returns the next message, or `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            match self.event().await? {
                LinkEvent::Received(message) => return Ok(Some(message)),
                LinkEvent::Sent => {}
                LinkEvent::Ended => return Ok(None),
            }
        }
    }

    /// As [`Self::next`], and also returns when everything that was queued is sent. Cancel safe.
    pub async fn event(&mut self) -> io::Result<LinkEvent> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(LinkEvent::Received(message));
            }
            let interest = if self.unsent.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let ready = self.stream.ready(interest).await?;
            if ready.is_writable() && !self.unsent.is_empty() {
                self.write()?;
                if self.unsent.is_empty() {
                    return Ok(LinkEvent::Sent);
                }
            }
            if ready.is_readable() && !self.read()? {
                return if self.received.is_empty() {
                    Ok(LinkEvent::Ended)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// [`Self::next`] within a time, or [`ErrorKind::TimedOut`]. What counts is the time in which this process
    /// runs: one that was stopped (SIGSTOP) has waited for no more than a tenth of it.
    pub async fn next_within(&mut self, limit: Duration) -> io::Result<Option<Message>> {
        for _ in 0..WAITS {
            if let Ok(next) = timeout(limit / WAITS, self.next()).await {
                return next;
            }
        }
        Err(io::Error::new(ErrorKind::TimedOut, format!("no answer within {limit:?}")))
    }

    /// Ends it, once the other process has read everything. What that still sends is not read.
    pub async fn finish(&mut self) {
        let finished = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            // Closed with unread bytes, it would be reset, and what was sent last would be lost.
            tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await
        };
        // The other process may have ended.
        let _ = timeout(FINISH_TIMEOUT, finished).await;
    }

    /// For the process that goes on with it; nothing may be sent or received here then.
    pub fn parts(&self) -> LinkParts {
        let Self { process, received, unsent, .. } = self;
        LinkParts { process: *process, received: received.clone(), unsent: unsent.clone() }
    }

    /// Goes on with a link of the process before.
    pub fn from_parts(socket: OwnedFd, parts: LinkParts) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        let LinkParts { process, received, unsent } = parts;
        Ok(Self { stream: UnixStream::from_std(stream)?, process, received, unsent })
    }

    fn write(&mut self) -> io::Result<()> {
        match self.stream.try_write(&self.unsent) {
            Ok(written) => {
                self.unsent.drain(..written);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads no more than the rest of one message: sockets may follow it. `false`: the end.
    fn read(&mut self) -> io::Result<bool> {
        let missing = self.length()?.unwrap_or(4) - self.received.len();
        let mut chunk = vec![0; missing.min(64 * 1024)];
        match self.stream.try_read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.received.extend(chunk.get(..read).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Of the message that is being received, with its header.
    fn length(&self) -> io::Result<Option<usize>> {
        let Some(header) = self.received.first_chunk() else { return Ok(None) };
        match u32::from_be_bytes(*header) as usize {
            length if length > MESSAGE_MAX => Err(too_long(length)),
            length => Ok(Some(4 + length)),
        }
    }

    fn decode(&mut self) -> io::Result<Option<Message>> {
        let Some(length) = self.length()?.filter(|length| self.received.len() == *length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(self.received.get(4..length).unwrap_or_default())?;
        self.received = Vec::new();
        Ok(Some(message))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn too_long(length: usize) -> io::Error {
    io::Error::other(format!(
        "a message of {length} bytes, of which at most {MESSAGE_MAX} are allowed: are there so many data ports?"
    ))
}

fn not_read() -> io::Error {
    let message = format!("the other process has not read a message for {SEND_TIMEOUT:?}");
    io::Error::new(ErrorKind::TimedOut, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Link, Link) {
        let (one, other) = UnixStream::pair().unwrap();
        (Link::new(one, 1), Link::new(other, 2))
    }

    #[tokio::test]
    async fn sockets_follow_their_message_and_messages_follow_sockets() {
        let (mut one, mut other) = pair();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sending = async {
            let (sockets, keeps_admin_file) = (vec![], false);
            let offer = Message::Offer { process: 1, before: 0, sockets, keeps_admin_file };
            one.send(&offer).await.unwrap();
            one.send_sockets(&[socket.as_fd(), socket.as_fd()]).await.unwrap();
            one.send(&Message::Go).await.unwrap();
            one
        };
        let receiving = async {
            assert!(matches!(other.next().await.unwrap(), Some(Message::Offer { .. })));
            assert_eq!(other.receive_sockets(2).await.unwrap().len(), 2);
            assert!(matches!(other.next().await.unwrap(), Some(Message::Go)));
            other
        };
        let (one, mut other) = tokio::join!(sending, receiving);
        drop(one);
        assert!(other.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn another_process_goes_on_in_the_middle_of_messages() {
        let (mut one, mut other) = pair();
        let long = "x".repeat(3_000_000);
        one.queue(&Message::Failed(long.clone())).unwrap();
        one.queue(&Message::Ready).unwrap();
        // Both have a part of it.
        one.stream.writable().await.unwrap();
        one.write().unwrap();
        other.stream.readable().await.unwrap();
        // The header, and some of the message.
        other.read().unwrap();
        other.read().unwrap();
        assert!(!one.unsent.is_empty() && !other.received.is_empty());
        let passed = |link: Link| {
            let parts = serde_json::to_vec(&link.parts()).unwrap();
            let socket = link.as_fd().try_clone_to_owned().unwrap();
            Link::from_parts(socket, serde_json::from_slice(&parts).unwrap()).unwrap()
        };
        let (mut one, mut other) = (passed(one), passed(other));
        let receiving = async {
            let first = other.next().await.unwrap().unwrap();
            assert!(matches!(first, Message::Failed(text) if text == long));
            assert!(matches!(other.next().await.unwrap(), Some(Message::Ready)));
        };
        tokio::select! {
            () = receiving => {}
            sent = one.next() => panic!("{sent:?}"),
        }
    }

    #[tokio::test]
    async fn messages_that_are_too_long_or_broken_are_refused() {
        for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02{}", b"\0\0\0\x09{"] {
            let (one, mut other) = pair();
            one.stream.writable().await.unwrap();
            one.stream.try_write(bytes).unwrap();
            drop(one);
            other.next().await.unwrap_err();
        }
    }
}
