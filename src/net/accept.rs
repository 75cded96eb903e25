//! Accepting connections: what is about one of them ends no loop.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::stream::prepare;

/// The next connection, with its peer's address (IPv4-mapped ones as IPv4). Errors of single
/// connections are passed over; when descriptors run out it waits for some to come back.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut logged = false;
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                prepare(&tcp);
                return (tcp, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
            }
            Err(e) if is_about_one_connection(&e) => {}
            Err(e) => {
                if !std::mem::replace(&mut logged, true) {
                    tracing::error!(error = %e, "cannot accept a connection; trying again");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
