//! Accepting connections: an error of a single connection does not end the accept loop.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::Acceptor;
use super::stream::prepare;

/// The next connection, with its peer's address (IPv4-mapped ones as IPv4). Skips errors of single
/// connections; retries when file descriptors run out.
pub async fn accept(listener: &Acceptor) -> (TcpStream, SocketAddr) {
    let mut logged = false;
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                prepare(&tcp);
                return (tcp, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
            }
            Err(e) if is_connection_error(&e) => {}
            Err(e) => {
                if !std::mem::replace(&mut logged, true) {
                    tracing::error!(error = %e, "cannot accept a connection; retrying");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
