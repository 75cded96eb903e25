//! The control connection to a client: lines in, replies out, and what is heard during a transfer.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::coop::unconstrained;
use tokio::time::timeout;

use crate::data::Progress;
use crate::net::tls::ControlTls;
use crate::net::{Drain, Stream};
use crate::op::Failure;
use crate::wire::ftp::line::{LineBuffer, MAX_COMMAND, TooLong};
use crate::wire::ftp::reply;

/// A client that does not take a reply for so long is gone.
const REPLY_DEADLINE: Duration = Duration::from_secs(30);
/// Commands that may wait while a transfer runs, and their bytes; with more, the connection is not
/// read on. Clients that send NOOP to keep a translated address alive do so for hours.
const HELD: usize = 1024;
const HELD_BYTES: usize = 64 * 1024;

pub(super) type Line = Result<Vec<u8>, TooLong>;

pub(super) struct Control {
    /// `None` after a TLS handshake that failed, and once the client takes no replies.
    stream: Option<Stream>,
    lines: LineBuffer,
    /// Lines that came during a transfer and wait for its end.
    held: VecDeque<Line>,
    held_bytes: usize,
    closed: bool,
}

/// Why a transfer did not come to its end.
pub(super) enum Cut {
    Failed(Failure),
    /// ABOR, still to be answered.
    Aborted,
    /// The control connection is gone.
    Gone,
    /// The gateway must stop now.
    Forced,
}

impl Control {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            lines: LineBuffer::new(MAX_COMMAND),
            held: VecDeque::new(),
            held_bytes: 0,
            closed: false,
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
        match self.held.pop_front() {
            Some(line) => {
                self.held_bytes -= size(&line);
                Some(line)
            }
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
            self.forget();
        }
    }

    /// The server's half of AUTH TLS. Whatever came in clear behind the command is thrown away.
    pub(super) async fn start_tls(&mut self, tls: &ControlTls, limit: Duration) -> io::Result<()> {
        self.forget();
        let Some(Stream::Plain(tcp)) = self.stream.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let stream = timeout(limit, tls.accept_control(tcp))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.stream = Some(stream);
        Ok(())
    }

    /// Runs a transfer's `work` while the client is listened to: ABOR ends it, STAT is answered,
    /// other commands wait. An `upload` whose control connection is gone is at an end.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
        progress: &Progress,
        upload: bool,
        drain: &Drain,
    ) -> Result<T, Cut> {
        let mut work = pin!(work);
        loop {
            let listening = !self.closed && self.may_hold_more();
            let line = tokio::select! {
                biased;
                done = &mut work => break match done {
                    Ok(_) if upload && self.ended_without_quit().await => Err(Cut::Gone),
                    Ok(done) => Ok(done),
                    Err(failure) => Err(Cut::Failed(failure)),
                },
                // A transfer that uses up the task's turn must not hide it.
                line = unconstrained(self.arriving_line()), if listening => line,
                () = drain.forced() => break Err(Cut::Forced),
            };
            match line {
                // One who said QUIT may go; the data connection tells the file's end.
                None if upload && !self.held.iter().any(is_quit) => break Err(Cut::Gone),
                // A download needs nobody to listen; a client that is gone does not take it.
                None => {}
                Some(Ok(line)) if is_verb(&line, b"ABOR") => break Err(Cut::Aborted),
                Some(Ok(line)) if is_verb(&line, b"STAT") => {
                    let status = format!("Transfer in progress: {} bytes so far", progress.bytes());
                    self.reply(213, &[status]).await;
                }
                Some(line) => self.hold(line),
            }
        }
    }

    /// Waits for `work` while the client is there; commands that come meanwhile wait. `None`, and the
    /// work is dropped, once the client has gone and left no command to be served.
    pub(super) async fn while_there<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let ended = self.closed && !self.held.is_empty();
            let listening = !ended && self.may_hold_more();
            let line = tokio::select! {
                biased;
                // First: nothing begins for somebody who has gone already.
                line = unconstrained(self.arriving_line()), if listening => line,
                done = &mut work => return Some(done),
            };
            match line {
                Some(line) => self.hold(line),
                None if self.held.is_empty() => return None,
                None => {}
            }
        }
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
                return Some(line);
            }
            if self.closed {
                return None;
            }
            let stream = self.stream.as_mut()?;
            let mut bytes = [0; 2048];
            match read(stream, &mut bytes).await {
                Ok(n) if n > 0 => self.lines.extend(&bytes[..n]),
                _ => self.closed = true,
            }
        }
    }

    /// Whether the client has gone without a QUIT: the end of its data was no end then, but a cut.
    async fn ended_without_quit(&mut self) -> bool {
        if !self.closed && !self.stream.as_ref().is_some_and(is_hung_up) {
            return false;
        }
        // The end is there already: nothing is waited for.
        while self.may_hold_more() {
            match self.arriving_line().await {
                Some(line) => self.hold(line),
                None => return !self.held.iter().any(is_quit),
            }
        }
        false
    }

    fn may_hold_more(&self) -> bool {
        self.held.len() < HELD && self.held_bytes < HELD_BYTES
    }

    fn hold(&mut self, line: Line) {
        self.held_bytes += size(&line);
        self.held.push_back(line);
    }

    fn forget(&mut self) {
        self.lines.clear();
        self.held.clear();
        self.held_bytes = 0;
    }
}

fn size(line: &Line) -> usize {
    line.as_ref().map_or(0, Vec::len)
}

/// Asks the kernel: the runtime may have heard of the data connection's end already and of this
/// connection's, which came before it, not yet.
fn is_hung_up(stream: &Stream) -> bool {
    let mut polled = [PollFd::new(stream.tcp(), PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    rustix::event::poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(ends)
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

fn is_quit(line: &Line) -> bool {
    line.as_ref().is_ok_and(|line| is_verb(line, b"QUIT"))
}

fn is_verb(line: &[u8], verb: &[u8]) -> bool {
    line.trim_ascii_end().eq_ignore_ascii_case(verb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::poll_once;
    use tokio::net::TcpListener;

    /// One thread: between the client's end and the question nothing asks the kernel for events.
    #[tokio::test]
    async fn an_upload_is_cut_where_only_the_kernel_knows_that_the_client_is_gone() {
        for (last_words, gone) in [(&b""[..], true), (b"NOOP\r\n", true), (b"QUIT\r\n", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0));
            assert!(poll_once(control.arriving_line()).is_none());
            std::io::Write::write_all(&mut client, last_words).unwrap();
            client.shutdown(std::net::Shutdown::Both).unwrap();
            let whole = async { Ok(()) };
            let progress = Progress::default();
            let end = control.during(whole, &progress, true, &Drain::default()).await;
            assert_eq!(matches!(end, Err(Cut::Gone)), gone, "{}", last_words.escape_ascii());
        }
    }

    #[tokio::test]
    async fn nothing_is_waited_for_once_the_client_has_gone() {
        for (last_words, gone) in [(&b""[..], true), (b"NO", true), (b"NOOP\r\n", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0));
            let (done, work) = tokio::sync::oneshot::channel();
            let mut waiting = pin!(control.while_there(work));
            assert!(poll_once(waiting.as_mut()).is_none());
            std::io::Write::write_all(&mut client, last_words).unwrap();
            drop(client);
            if gone {
                assert!(waiting.await.is_none());
                assert!(done.is_closed() || done.send(()).is_err());
            } else {
                let late = timeout(Duration::from_millis(50), waiting.as_mut()).await;
                assert!(late.is_err());
                done.send(()).unwrap();
                assert!(waiting.await.is_some());
            }
        }
    }

    #[tokio::test]
    async fn an_upload_of_a_client_that_is_there_is_whole() {
        for words in [&b""[..], b"NOOP\r\n", b"NO"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0));
            std::io::Write::write_all(&mut client, words).unwrap();
            let whole = async { Ok(()) };
            let progress = Progress::default();
            let end = control.during(whole, &progress, true, &Drain::default()).await;
            assert!(end.is_ok(), "{}", words.escape_ascii());
        }
    }
}
