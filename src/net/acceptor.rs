//! A listening socket that two processes may hold, of which one accepts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use tokio::net::{TcpListener, TcpStream};

use super::Gate;

/// A listening socket. The kernel's queue of connections belongs to the socket, not to the process: while this
/// one has paused, connections wait for the other.
#[derive(Debug)]
pub struct Acceptor {
    socket: TcpListener,
    gate: Gate,
}

impl Acceptor {
    /// Accepts at once.
    pub fn new(socket: TcpListener) -> Self {
        Self { socket, gate: Gate::open() }
    }

    /// For a socket from which another process accepts as yet.
    pub fn paused(socket: TcpListener) -> Self {
        Self { socket, gate: Gate::closed() }
    }

    /// When it returns, this process takes no further connection.
    pub fn pause(&self) {
        self.gate.close();
    }

    /// Accepts again. No other process may.
    pub fn resume(&self) {
        self.gate.set_open();
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection, while it is not paused. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        // Not `poll_accept`, which wakes only one of several tasks.
        self.gate.pass(self.socket.accept()).await
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    /// Two acceptors of one socket, as two processes have it.
    fn shared() -> (Arc<Acceptor>, Arc<Acceptor>, SocketAddr) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let (other, address) = (socket.try_clone().unwrap(), socket.local_addr().unwrap());
        let one = Acceptor::new(TcpListener::from_std(socket).unwrap());
        let other = Acceptor::paused(TcpListener::from_std(other).unwrap());
        (Arc::new(one), Arc::new(other), address)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn exactly_one_accepts_and_no_connection_is_lost() {
        let (one, other, address) = shared();
        let (sender, mut accepted) = mpsc::unbounded_channel();
        for (name, acceptor) in [("one", one.clone()), ("other", other.clone())] {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Ok((tcp, _)) = acceptor.accept().await {
                    sender.send((name, tcp)).unwrap();
                }
            });
        }
        let clients = tokio::spawn(async move {
            let mut clients = Vec::new();
            for _ in 0..500 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
            clients
        });
        let mut by_other = 0;
        for nth in 0..500 {
            let next = tokio::time::timeout(Duration::from_secs(20), accepted.recv()).await;
            by_other += usize::from(next.expect("a connection is lost").unwrap().0 == "other");
            // Back and forth.
            let (from, to) = if nth % 2 == 0 { (&one, &other) } else { (&other, &one) };
            from.pause();
            to.resume();
        }
        assert!(by_other > 0 && by_other < 500, "{by_other}");
        clients.await.unwrap();
    }

    /// As for a moment during a reload.
    #[tokio::test]
    async fn of_several_tasks_one_that_ends_takes_no_connection_from_the_others() {
        let (one, _other, address) = shared();
        let accepting = tokio::spawn({
            let one = one.clone();
            async move { one.accept().await }
        });
        tokio::task::yield_now().await;
        let ending = tokio::time::timeout(Duration::from_millis(20), one.accept());
        assert!(ending.await.is_err());
        let _client = TcpStream::connect(address).await.unwrap();
        let accepted = tokio::time::timeout(Duration::from_secs(10), accepting).await;
        accepted.expect("nobody accepts").unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_waits_in_the_queue_is_accepted_after_the_pause() {
        let (one, other, address) = shared();
        one.pause();
        let _client = TcpStream::connect(address).await.unwrap();
        let short = Duration::from_millis(50);
        for acceptor in [&one, &other] {
            assert!(tokio::time::timeout(short, acceptor.accept()).await.is_err());
        }
        other.resume();
        other.accept().await.unwrap();
    }
}
