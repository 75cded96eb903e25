//! The control connection to a client: lines in, replies out, and what is heard during a transfer.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Once;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::command_queue::{CommandQueue, Line, QueueFull, is_verb};
use crate::data::Progress;
use crate::net::{Drain, Stream, round_trip, short_sleep};
use crate::op::Failure;
use crate::wire::first_bytes::{Protocol, protocol};
use crate::wire::ftp::line::{LineBuffer, MAX_COMMAND, strip_telnet_signals};
use crate::wire::ftp::reply;

/// A client that does not take a reply for so long is gone.
const REPLY_DEADLINE: Duration = Duration::from_secs(30);
/// How long the control connection may still say that an upload whose data has ended was given up: two
/// round trips, within these bounds. The longest where the client's round trip is not known.
const SHORTEST_GRACE: Duration = Duration::from_millis(1);
const LONGEST_GRACE: Duration = Duration::from_millis(50);
/// Looks behind the grace at what the kernel has and the runtime has not told yet.
const LAST_LOOKS: usize = 5;
/// Lines that are taken in one go before other sessions get their turn.
const LINES_AT_ONCE: usize = 32;

pub(super) const TOO_MANY_COMMANDS: &str =
    "too many commands while another is under way; closing the connection";

pub(super) struct Control {
    /// `None` after a TLS handshake that failed, and once the client takes no replies.
    stream: Option<Stream>,
    lines: LineBuffer,
    /// What came during a transfer and waits for its end.
    queue: CommandQueue,
    closed: bool,
    /// Nothing has been read yet.
    untouched: bool,
    /// The protocol of a client that has sent no line.
    other_protocol: Option<Protocol>,
    /// Why it is closed, where the client did not just go.
    why_closed: Option<&'static str>,
    /// A proxy is at the other end of the TCP connection, not the client.
    proxied: bool,
}

/// Why a transfer did not come to its end.
pub(super) enum Cut {
    Failed(Failure),
    /// ABOR, still to be answered.
    Aborted,
    /// The control connection is gone.
    Gone,
    /// More commands came than may wait.
    TooManyCommands,
    /// The gateway must stop now.
    Forced,
}

impl Control {
    /// `proxied`: the TCP connection comes from a proxy, not from the client.
    pub(super) fn new(stream: Stream, proxied: bool) -> Self {
        Self {
            stream: Some(stream),
            lines: LineBuffer::new(MAX_COMMAND),
            queue: CommandQueue::default(),
            closed: false,
            untouched: true,
            other_protocol: None,
            why_closed: None,
            proxied,
        }
    }

    /// The address of this machine that the connection came to; `None` where it is gone.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        let own = self.stream.as_ref()?.tcp().local_addr().ok()?;
        Some(own.ip().to_canonical())
    }

    pub(super) fn is_tls(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_tls)
    }

    /// The next line; `None` when the client is gone. Cancel safe.
    pub(super) async fn line(&mut self) -> Option<Line> {
        match self.queue.pop() {
            Some(line) => Some(line),
            None => self.arriving_line().await,
        }
    }

    /// Sends one reply. What a client has sent that does not take it is forgotten.
    pub(super) async fn reply(&mut self, code: u16, lines: &[impl AsRef<[u8]>]) {
        let Some(stream) = &mut self.stream else { return };
        let mut text = Vec::new();
        reply::encode(code, lines, &mut text);
        let sent = timeout(REPLY_DEADLINE, async {
            stream.write_all(&text).await?;
            stream.flush().await
        });
        if !matches!(sent.await, Ok(Ok(()))) {
            self.stream = None;
            self.closed = true;
            self.why_closed.get_or_insert("the client took no reply");
            self.forget();
        }
    }

    /// Why the connection has ended.
    pub(super) fn why_closed(&self) -> &'static str {
        self.why_closed.unwrap_or("the client closed the control connection")
    }

    /// The connection in clear, for a TLS handshake. Whatever came behind the command that began it is
    /// thrown away.
    pub(super) fn take_plain(&mut self) -> Option<TcpStream> {
        self.forget();
        match self.stream.take() {
            Some(Stream::Plain(tcp)) => Some(tcp),
            other => {
                self.stream = other;
                None
            }
        }
    }

    pub(super) fn put_back(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// Runs a transfer's `work` until the end of its data, while the client is listened to: ABOR ends it,
    /// STAT is answered, other commands wait. An upload whose client has gone without QUIT is cut.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
        progress: &Progress,
        upload: bool,
        drain: &Drain,
    ) -> Result<T, Cut> {
        let mut work = pin!(work);
        let mut lines = 0;
        loop {
            let line = tokio::select! {
                biased;
                done = &mut work => break match done {
                    Ok(_) if upload && self.ended_without_quit().await => Err(Cut::Gone),
                    Ok(done) => Ok(done),
                    Err(failure) => Err(Cut::Failed(failure)),
                },
                // A transfer that uses up the task's turn must not hide it.
                line = unconstrained(self.arriving_line()), if !self.closed => line,
                () = drain.forced() => break Err(Cut::Forced),
            };
            // A download needs nobody to listen; a client that is gone does not take it.
            if line.is_some() || upload {
                self.hear(line, progress).await?;
            }
            share_the_thread(&mut lines).await;
        }
    }

    /// Decides whether an upload whose data has ended is whole. The end of data and the word of the
    /// control connection (ABOR, its end, a reset) come over two connections, in any order: the control
    /// connection has a grace of two round trips to say that the upload was given up. Meanwhile
    /// `settling` runs; it must not yet call the file whole.
    pub(super) async fn confirm_upload(
        &mut self,
        settling: impl Future<Output = Result<(), Failure>>,
        progress: &Progress,
        drain: &Drain,
    ) -> Result<(), Cut> {
        let mut grace = pin!(short_sleep(self.grace()));
        let mut settling = pin!(settling);
        let (mut settled, mut over, mut looks, mut lines) = (false, false, 0, 0);
        loop {
            tokio::select! {
                biased;
                line = unconstrained(self.arriving_line()), if !self.closed => {
                    self.hear(line, progress).await?;
                    share_the_thread(&mut lines).await;
                }
                done = &mut settling, if !settled => {
                    done.map_err(Cut::Failed)?;
                    settled = true;
                }
                () = drain.forced() => return Err(Cut::Forced),
                () = &mut grace, if !over => over = true,
            }
            if settled && over {
                // What has come to the kernel in time counts.
                if looks == LAST_LOOKS || !self.has_unread() {
                    return Ok(());
                }
                (looks, over) = (looks + 1, false);
                grace.set(short_sleep(SHORTEST_GRACE));
            }
        }
    }

    /// What the client says during a transfer.
    async fn hear(&mut self, line: Option<Line>, progress: &Progress) -> Result<(), Cut> {
        match line {
            // One who said QUIT may go; the data connection tells the file's end.
            None if self.queue.has_quit() => Ok(()),
            None => Err(Cut::Gone),
            Some(Ok(line)) if is_verb(&line, b"ABOR") => Err(Cut::Aborted),
            Some(Ok(line)) if is_verb(&line, b"STAT") => {
                let status = format!("Transfer in progress: {} bytes so far", progress.bytes());
                self.reply(213, &[status]).await;
                // A client that did not take it has gone.
                if self.closed { Err(Cut::Gone) } else { Ok(()) }
            }
            Some(line) => self.queue.push(line).map_err(|QueueFull| Cut::TooManyCommands),
        }
    }

    fn grace(&self) -> Duration {
        let Some(stream) = self.stream.as_ref().filter(|_| !self.proxied) else {
            return LONGEST_GRACE;
        };
        match round_trip(stream.tcp()) {
            Ok(time) => (time * 2).clamp(SHORTEST_GRACE, LONGEST_GRACE),
            Err(error) if error.kind() == io::ErrorKind::NotFound => LONGEST_GRACE,
            Err(error) => {
                static ONCE: Once = Once::new();
                ONCE.call_once(|| {
                    tracing::warn!(
                        %error,
                        "the kernel does not tell round trip times (sock_diag): the end of each upload \
                         is confirmed after {} ms; allow the gateway AF_NETLINK sockets",
                        LONGEST_GRACE.as_millis()
                    );
                });
                LONGEST_GRACE
            }
        }
    }

    /// Waits for `work` while the client is there; commands that come meanwhile wait. `None`, and the
    /// work is dropped, once the client has gone and left no command to be served, or has sent more
    /// than may wait, which is answered 421.
    pub(super) async fn while_there<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut lines = 0;
        loop {
            let line = tokio::select! {
                biased;
                // First: nothing begins for somebody who has gone already.
                line = unconstrained(self.arriving_line()), if !self.closed || self.queue.is_empty() => line,
                done = &mut work => return Some(done),
            };
            match line.map(|line| self.queue.push(line)) {
                Some(Ok(())) => {}
                Some(Err(QueueFull)) => {
                    self.why_closed = Some("more commands came at once than may wait");
                    self.reply(421, &[TOO_MANY_COMMANDS]).await;
                    return None;
                }
                None if self.queue.is_empty() => return None,
                None => {}
            }
            share_the_thread(&mut lines).await;
        }
    }

    /// Whether the client has sent anything.
    pub(super) fn has_heard(&self) -> bool {
        !self.untouched
    }

    /// The protocol of a client that has sent no line.
    pub(super) fn other_protocol(&self) -> Option<Protocol> {
        self.other_protocol
    }

    /// Whether these, the connection's first bytes, begin a TLS handshake that nobody waits for. It has no
    /// line end that would tell.
    fn is_tls_in_clear(&mut self, bytes: &[u8]) -> bool {
        std::mem::take(&mut self.untouched)
            && !self.is_tls()
            && protocol(bytes) == Some(Protocol::Tls)
    }

    /// close_notify where there is TLS, then the end; bounded.
    pub(super) async fn shutdown(&mut self) {
        if let Some(stream) = &mut self.stream {
            let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
        }
    }

    async fn arriving_line(&mut self) -> Option<Line> {
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
                Ok(n) if n > 0 && self.is_tls_in_clear(&bytes[..n]) => {
                    self.closed = true;
                    self.other_protocol = Some(Protocol::Tls);
                }
                Ok(n) if n > 0 => self.lines.extend(&bytes[..n]),
                _ => self.closed = true,
            }
        }
    }

    /// Whether the client has gone, without a QUIT or behind ABOR: the end of its data was no end then, but
    /// a cut.
    pub(super) async fn ended_without_quit(&mut self) -> bool {
        if !self.closed && !self.stream.as_ref().is_some_and(is_hung_up) {
            return false;
        }
        // The end is there already: nothing is waited for.
        while !self.queue.has_quit() {
            match self.arriving_line().await {
                Some(Ok(line)) if is_verb(&line, b"ABOR") => return true,
                Some(line) => {
                    if self.queue.push(line).is_err() {
                        return true;
                    }
                }
                None => return true,
            }
        }
        false
    }

    fn has_unread(&self) -> bool {
        !self.closed && self.stream.as_ref().is_some_and(|stream| polled(stream, PollFlags::IN))
    }

    fn forget(&mut self) {
        self.lines.clear();
        self.queue.clear();
    }
}

/// A client that never stops talking must not keep the thread from other sessions.
async fn share_the_thread(lines: &mut usize) {
    *lines += 1;
    if lines.is_multiple_of(LINES_AT_ONCE) {
        yield_now().await;
    }
}

/// Asks the kernel: the runtime may have heard of the data connection's end already and of this
/// connection's, which came before it, not yet.
fn is_hung_up(stream: &Stream) -> bool {
    polled(stream, PollFlags::RDHUP)
}

/// Whether one of `events`, or the connection's end, is there now.
fn polled(stream: &Stream, events: PollFlags) -> bool {
    let mut polled = [PollFd::new(stream.tcp(), events)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let seen = events | PollFlags::HUP | PollFlags::ERR;
    rustix::event::poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(seen)
}

/// A read ends before urgent data (ABOR's). tokio's own takes a short read for the last one and would
/// wait for bytes that are there already. Cancel safe.
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
