//! The control connection during a transfer (RFC 959 section 4.1.3): ABOR and STAT are served,
//! other commands wait, and the end of the connection interrupts the transfer.

use std::io;
use std::pin::pin;
use std::sync::Once;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::{Control, yield_between_lines};
use crate::data::Progress;
use crate::front::ftp::command_queue::{Line, QueueFull, is_verb};
use crate::front::ftp::reply::Reply;
use crate::net::{Stream, round_trip};
use crate::op::Failure;
use crate::session::{LiveSession, SessionEnd};
use crate::task::short_sleep;

/// After the end of an upload's data, the control connection may still report within this time that
/// the client gave it up: two round trips, within these bounds. The maximum where the client's
/// round trip is not known.
const MIN_GRACE_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_GRACE_TIMEOUT: Duration = Duration::from_millis(50);
/// Polls after the grace period for data that the kernel has and the runtime has not reported yet.
const FINAL_POLLS_MAX: usize = 5;

/// For the data connection of a download whose client has ended the control connection without QUIT: it may
/// have closed only its writing side.
const LEFT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a transfer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::front::ftp) enum Phase {
    /// It waits for the data connection of a download.
    Connecting,
    Download,
    /// With the wait for its data connection.
    Upload,
}

/// Why a transfer did not complete.
pub(in crate::front::ftp) enum Interruption {
    Failed(Failure),
    /// ABOR, which is still to be replied to.
    Abor,
    /// The control connection has ended.
    ConnectionClosed,
    TooManyCommands,
    /// The session must end at once.
    Ended(SessionEnd),
}

impl Control {
    /// Runs a transfer's `work` until the end of its data, and serves the control connection
    /// meanwhile: ABOR interrupts the transfer, STAT is replied to, other commands are queued. When the
    /// client closes the connection without QUIT, that interrupts an upload at once, and a download unless
    /// its data connection is made shortly after.
    pub(in crate::front::ftp) async fn run_transfer<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
        progress: &Progress,
        phase: Phase,
        live: &LiveSession,
    ) -> Result<T, Interruption> {
        let mut work = pin!(work);
        let is_upload = phase == Phase::Upload;
        let (mut lines, mut connect_until) = (0, None);
        loop {
            if phase == Phase::Connecting && self.closed && !self.queue.has_quit() {
                let left = if self.is_lost() { Duration::ZERO } else { LEFT_CONNECT_TIMEOUT };
                connect_until.get_or_insert_with(|| Instant::now() + left);
            }
            let line = tokio::select! {
                biased;
                done = &mut work => break match done {
                    Ok(_) if is_upload && self.ended_without_quit().await => {
                        Err(Interruption::ConnectionClosed)
                    }
                    Ok(done) => Ok(done),
                    Err(failure) => Err(Interruption::Failed(failure)),
                },
                // A transfer that uses up the task's budget must not hide it.
                line = unconstrained(self.read_line()), if !self.closed => line,
                end = live.forced() => {
                    live.note_cut();
                    break Err(Interruption::Ended(end));
                }
                () = sleep_until(connect_until.unwrap_or_else(Instant::now)), if connect_until.is_some() => {
                    break Err(Interruption::ConnectionClosed);
                }
            };
            // A download needs no control connection once it has its data connection: a client that has
            // left does not read its data.
            if line.is_some() || is_upload {
                self.handle_during_transfer(line, progress).await?;
            }
            yield_between_lines(&mut lines).await;
        }
    }

    /// Decides whether an upload whose data has ended is complete. The end of the data and the
    /// state of the control connection (ABOR, its end, a reset) arrive over two connections, in any
    /// order: the control connection has a grace period of two round trips to report that the
    /// client gave the upload up. Meanwhile `settling` runs, which must not make the file complete
    /// yet.
    pub(in crate::front::ftp) async fn confirm_upload(
        &mut self,
        settling: impl Future<Output = Result<(), Failure>>,
        progress: &Progress,
        live: &LiveSession,
    ) -> Result<(), Interruption> {
        let mut grace = pin!(short_sleep(self.grace()));
        let mut settling = pin!(settling);
        let (mut settled, mut grace_over, mut polls, mut lines) = (false, false, 0, 0);
        loop {
            tokio::select! {
                biased;
                line = unconstrained(self.read_line()), if !self.closed => {
                    self.handle_during_transfer(line, progress).await?;
                    yield_between_lines(&mut lines).await;
                }
                done = &mut settling, if !settled => {
                    done.map_err(Interruption::Failed)?;
                    settled = true;
                }
                end = live.forced() => {
                    live.note_cut();
                    return Err(Interruption::Ended(end));
                }
                () = &mut grace, if !grace_over => grace_over = true,
            }
            if settled && grace_over {
                // What has reached the kernel in time counts.
                if polls == FINAL_POLLS_MAX || !self.has_unread() {
                    return Ok(());
                }
                (polls, grace_over) = (polls + 1, false);
                grace.set(short_sleep(MIN_GRACE_TIMEOUT));
            }
        }
    }

    /// `line`: `None` at the end of the connection.
    async fn handle_during_transfer(
        &mut self,
        line: Option<Line>,
        progress: &Progress,
    ) -> Result<(), Interruption> {
        match line {
            // After QUIT a client may close; the data connection shows whether the file is
            // complete.
            None if self.queue.has_quit() => Ok(()),
            None => Err(Interruption::ConnectionClosed),
            Some(Ok(line)) if is_verb(&line, b"ABOR") => Err(Interruption::Abor),
            Some(Ok(line)) if is_verb(&line, b"STAT") => {
                let status = format!("Transfer in progress: {} bytes.", progress.bytes());
                self.reply(Reply::new(213, status)).await;
                // The client did not read the reply.
                if self.closed { Err(Interruption::ConnectionClosed) } else { Ok(()) }
            }
            Some(line) => self.queue.push(line).map_err(|QueueFull| Interruption::TooManyCommands),
        }
    }

    fn grace(&self) -> Duration {
        let Some(stream) = self.stream.as_ref().filter(|_| !self.proxied) else {
            return MAX_GRACE_TIMEOUT;
        };
        match round_trip(stream.tcp()) {
            Ok(time) => (time * 2).clamp(MIN_GRACE_TIMEOUT, MAX_GRACE_TIMEOUT),
            Err(error) if error.kind() == io::ErrorKind::NotFound => MAX_GRACE_TIMEOUT,
            Err(error) => {
                static ONCE: Once = Once::new();
                ONCE.call_once(|| {
                    tracing::warn!(
                        %error,
                        "cannot read round trip times from the kernel (sock_diag): the end of each \
                         upload is confirmed after {} ms; allow the gateway AF_NETLINK sockets",
                        MAX_GRACE_TIMEOUT.as_millis()
                    );
                });
                MAX_GRACE_TIMEOUT
            }
        }
    }

    /// Whether the client has closed the connection without QUIT, or has sent ABOR before: the end
    /// of its data then does not complete the transfer.
    pub(in crate::front::ftp) async fn ended_without_quit(&mut self) -> bool {
        if !self.closed && !self.stream.as_ref().is_some_and(is_hung_up) {
            return false;
        }
        // The connection has ended: nothing blocks.
        while !self.queue.has_quit() {
            match self.read_line().await {
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

    /// Reset, or given up by the gateway: not just closed by the client.
    fn is_lost(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| has_events(stream, PollFlags::empty()))
    }

    fn has_unread(&self) -> bool {
        !self.closed && self.stream.as_ref().is_some_and(|stream| has_events(stream, PollFlags::IN))
    }
}

/// Asks the kernel: the runtime may have reported the end of the data connection, but not yet the
/// end of this connection, which came first.
fn is_hung_up(stream: &Stream) -> bool {
    has_events(stream, PollFlags::RDHUP)
}

/// Whether one of `events`, or the end of the connection, is pending.
fn has_events(stream: &Stream, events: PollFlags) -> bool {
    let mut polled = [PollFd::new(stream.tcp(), events)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let pending = events | PollFlags::HUP | PollFlags::ERR;
    rustix::event::poll(&mut polled, Some(&at_once)).is_ok()
        && polled[0].revents().intersects(pending)
}
