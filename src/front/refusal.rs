//! Tells clients of banned addresses why they are refused, with little work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::Drain;

/// Refusals at a time; further connections are closed without a word.
const REFUSALS_MAX: usize = 256;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// What is read of a client, so that the close does not take the words away from it.
const READ_MAX: u64 = 16 * 1024;

static OPEN: AtomicUsize = AtomicUsize::new(0);

struct Counted;

/// Sends `text`, then closes the connection, whatever the client does.
pub(super) fn send(drain: &Drain, tcp: TcpStream, text: Vec<u8>) {
    if OPEN.fetch_add(1, Ordering::Relaxed) >= REFUSALS_MAX {
        drop(Counted);
        return;
    }
    let counted = Counted;
    drain.spawn(async move {
        let _ = timeout(REFUSAL_TIMEOUT, refuse(tcp, &text)).await;
        drop(counted);
    });
}

async fn refuse(mut tcp: TcpStream, text: &[u8]) -> std::io::Result<()> {
    tcp.write_all(text).await?;
    tcp.shutdown().await?;
    let mut rest = tcp.take(READ_MAX);
    let mut buffer = [0; 1024];
    while rest.read(&mut buffer).await? > 0 {}
    Ok(())
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}
