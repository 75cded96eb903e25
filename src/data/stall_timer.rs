//! The timeout for a peer that does not read. A socket becomes writable again only after a good part of
//! its buffer was sent, a MiB or more. Whether the peer reads meanwhile is shown only by the kernel's
//! counter of unacknowledged bytes.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::relay_error::{RelayError, Side};
use super::throttle::Throttle;
use crate::task;

/// How long one sink may accept nothing.
pub struct StallTimer {
    stall: Duration,
    /// The inode of its socket, where it is one.
    socket: Option<u64>,
}

/// How long each side of a relay may be idle, and how fast and how much it may move.
pub(super) struct Limits<'a> {
    pub(super) stall: Duration,
    pub(super) sink: StallTimer,
    pub(super) throttle: Option<&'a dyn Throttle>,
}

impl Limits<'_> {
    /// The most bytes to read at once, up to `max`.
    pub(super) fn chunk(&self, max: usize) -> usize {
        self.throttle.map_or(max, |throttle| throttle.chunk().min(max))
    }

    /// Waits until bytes that were read may be written. This is not a stall.
    pub(super) async fn admit(&self, bytes: usize) -> Result<(), RelayError> {
        let Some(throttle) = self.throttle else { return Ok(()) };
        throttle.count(bytes).map_err(RelayError::Limit)?;
        throttle.wait(bytes).await;
        Ok(())
    }
}

impl StallTimer {
    /// Ends when nothing was accepted for `stall`. The counter is polled, so it may take half as long
    /// again.
    pub fn new(stall: Duration, to: Option<&TcpStream>) -> Self {
        let socket = to.and_then(|tcp| rustix::fs::fstat(tcp).ok()).map(|stat| stat.st_ino);
        Self { stall, socket }
    }

    /// Waits for a write.
    pub async fn wait<T>(&self, write: impl Future<Output = T>) -> Result<T, RelayError> {
        let mut write = pin!(write);
        let (mut before, mut quiet) = (None, 0);
        while quiet < 2 {
            if let Ok(done) = timeout(self.stall / 2, write.as_mut()).await {
                return Ok(done);
            }
            let now = self.unacknowledged().await;
            quiet = match (before, now) {
                (None, Some(_)) => 0,
                (Some(before), Some(now)) if now < before => 0,
                _ => quiet + 1,
            };
            before = now;
        }
        Err(Side::Sink.stalled(self.stall))
    }

    async fn unacknowledged(&self) -> Option<u64> {
        let socket = self.socket?;
        task::spawn_blocking(move || unacknowledged(socket)).await.ok().flatten()
    }
}

/// From /proc/net/tcp (proc_net_tcp(5)): there is no system call for it without unsafe code.
fn unacknowledged(socket: u64) -> Option<u64> {
    let socket = socket.to_string();
    ["tcp", "tcp6"].iter().find_map(|table| {
        let table = File::open(format!("/proc/thread-self/net/{table}")).ok()?;
        BufReader::new(table).lines().map_while(Result::ok).find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let queues = fields.nth(4)?;
            let inode = fields.nth(4)?;
            let (sent, _) = queues.split_once(':')?;
            (inode == socket).then(|| u64::from_str_radix(sent, 16).ok()).flatten()
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn unacknowledged_bytes_of_a_socket_are_counted() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let _far = listener.accept().await.unwrap();
            let inode = rustix::fs::fstat(near.as_fd()).unwrap().st_ino;
            assert_eq!(unacknowledged(inode), Some(0));
            while near.try_write(&[7; 65_536]).is_ok() {}
            assert!(unacknowledged(inode).unwrap() > 65_536);
            drop(near);
            assert_eq!(unacknowledged(inode), None);
        }
    }
}
