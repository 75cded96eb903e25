//! Moves a file's bytes from a source to a sink and counts them once.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::splice::splice;
use super::{Sink, Source};
use crate::net::Stream;

/// A relay's buffer where bytes cannot be spliced: sixteen full TLS records. One a running transfer.
const BUFFER: usize = 256 * 1024;

/// Bytes moved so far; read by others while the relay runs.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

/// How a relay ended before its end, and on which side.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("reading: {0}")]
    Source(io::Error),
    #[error("writing: {0}")]
    Sink(io::Error),
    #[error("no byte moved for {}", humantime::format_duration(*.after))]
    Stalled { side: Side, after: Duration },
}

/// Which of a relay's two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Source,
    Sink,
}

impl Side {
    pub(super) fn stalled(self, after: Duration) -> RelayError {
        RelayError::Stalled { side: self, after }
    }
}

impl Progress {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Moves everything until the source's end. The sink is flushed, not closed: closing means
/// *complete*, and that is for the caller to say. Fails when nothing moves for `stall`.
pub async fn relay(
    source: &mut Source,
    sink: &mut Sink,
    progress: &Progress,
    stall: Duration,
) -> Result<(), RelayError> {
    match (source, sink) {
        (Source::Socket(Stream::Plain(from)), Sink::Socket(Stream::Plain(to))) => {
            splice(from, to, progress, stall).await
        }
        (Source::Socket(from), Sink::Socket(to)) => copy(from, to, progress, stall).await,
        (Source::Socket(from), Sink::Writer(to)) => copy(from, to, progress, stall).await,
        (Source::Reader(from), Sink::Socket(to)) => copy(from, to, progress, stall).await,
        (Source::Reader(from), Sink::Writer(to)) => copy(from, to, progress, stall).await,
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    progress: &Progress,
    stall: Duration,
) -> Result<(), RelayError> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let filled = timeout(stall, poll_fn(|cx| fill(from, cx, &mut buffer)))
            .await
            .map_err(|_| Side::Source.stalled(stall))?;
        let (filled, end) = filled.map_err(RelayError::Source)?;
        let written = timeout(stall, async {
            to.write_all(&buffer[..filled]).await?;
            if end.is_some() { to.flush().await } else { Ok(()) }
        });
        written.await.map_err(|_| Side::Sink.stalled(stall))?.map_err(RelayError::Sink)?;
        progress.add(filled);
        match end {
            None => {}
            Some(Ok(())) => return Ok(()),
            Some(Err(e)) => return Err(RelayError::Source(e)),
        }
    }
}

type End = Option<io::Result<()>>;

/// Reads all that is there, up to the whole buffer, so that small TLS records and packets are
/// written on as large ones.
fn fill(
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<(usize, End)>> {
    let mut filled = 0;
    loop {
        let mut free = ReadBuf::new(&mut buffer[filled..]);
        match Pin::new(&mut *from).poll_read(cx, &mut free) {
            Poll::Ready(Ok(())) if free.filled().is_empty() => {
                return Poll::Ready(Ok((filled, Some(Ok(())))));
            }
            Poll::Ready(Ok(())) => {
                filled += free.filled().len();
                if filled == buffer.len() {
                    return Poll::Ready(Ok((filled, None)));
                }
            }
            Poll::Ready(Err(e)) => return Poll::Ready(Ok((filled, Some(Err(e))))),
            Poll::Pending if filled > 0 => return Poll::Ready(Ok((filled, None))),
            Poll::Pending => return Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    async fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (a, b) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (a.unwrap(), b.unwrap().0)
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[tokio::test]
    async fn splices_plain_to_plain_byte_for_byte() {
        let ((mut near, from), (to, mut far)) = (tcp_pair().await, tcp_pair().await);
        let data = pattern(3_000_001);
        let sent = data.clone();
        tokio::spawn(async move { near.write_all(&sent).await.unwrap() });
        let received = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all
        });
        let progress = Progress::default();
        let mut source = Source::Socket(Stream::Plain(from));
        let mut sink = Sink::Socket(Stream::Plain(to));
        relay(&mut source, &mut sink, &progress, Duration::from_secs(10)).await.unwrap();
        drop(sink);
        assert!(received.await.unwrap() == data);
        assert_eq!(progress.bytes(), data.len() as u64);
    }

    #[tokio::test]
    async fn copies_from_a_reader() {
        let (to, mut far) = tcp_pair().await;
        let data = pattern(200_000);
        let received = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all
        });
        let mut source = Source::Reader(Box::new(std::io::Cursor::new(data.clone())));
        let mut sink = Sink::Socket(Stream::Plain(to));
        let progress = Progress::default();
        relay(&mut source, &mut sink, &progress, Duration::from_secs(10)).await.unwrap();
        drop(sink);
        assert!(received.await.unwrap() == data);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_says_nothing_stalls() {
        let (_silent, from) = tcp_pair().await;
        let (to, _far) = tcp_pair().await;
        let mut source = Source::Socket(Stream::Plain(from));
        let mut sink = Sink::Socket(Stream::Plain(to));
        let stall = Duration::from_secs(5);
        let end = relay(&mut source, &mut sink, &Progress::default(), stall).await;
        assert!(matches!(end, Err(RelayError::Stalled { side: Side::Source, .. })), "{end:?}");
    }
}
