//! Moves a file's bytes from a source to a sink and counts them once.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::progress::Progress;
use super::relay_error::{RelayError, Side};
use super::splice::splice;
use super::stall_timer::{Limits, StallTimer};
use super::throttle::Throttle;
use super::{Sink, Source};
use crate::net::Stream;

/// A relay's buffer where bytes cannot be spliced: sixteen full TLS records. One for each transfer.
const BUFFER_SIZE: usize = 256 * 1024;

/// Moves everything until the source's end. The sink is flushed, not closed: closing means *complete*,
/// and the caller decides that. Fails when nothing moves for `stall`, not counting the time that
/// `throttle` makes it wait.
pub async fn relay(
    source: &mut Source,
    sink: &mut Sink,
    progress: &Progress,
    stall: Duration,
    throttle: Option<&dyn Throttle>,
) -> Result<(), RelayError> {
    let to = match sink {
        Sink::Socket(to) => Some(to.tcp()),
        Sink::Writer(_) => None,
    };
    let limits = Limits { stall, sink: StallTimer::new(stall, to), throttle };
    match (source, sink) {
        // Spliced bytes do not pass through this process.
        (Source::Socket(Stream::Plain(from)), Sink::Socket(Stream::Plain(to)))
            if !progress.hashes() =>
        {
            splice(from, to, progress, &limits).await
        }
        (Source::Socket(from), Sink::Socket(to)) => copy(from, to, progress, &limits).await,
        (Source::Socket(from), Sink::Writer(to)) => copy(from, to, progress, &limits).await,
        (Source::Reader(from), Sink::Socket(to)) => copy(from, to, progress, &limits).await,
        (Source::Reader(from), Sink::Writer(to)) => copy(from, to, progress, &limits).await,
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    progress: &Progress,
    limits: &Limits<'_>,
) -> Result<(), RelayError> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let free = &mut buffer[..limits.chunk(BUFFER_SIZE)];
        let filled = timeout(limits.stall, poll_fn(|cx| fill(from, cx, free)))
            .await
            .map_err(|_| Side::Source.stalled(limits.stall))?;
        let (filled, end) = filled.map_err(RelayError::Source)?;
        if filled > 0 {
            limits.admit(filled).await?;
        }
        write(to, &buffer[..filled], progress, &limits.sink).await?;
        if end.is_some() {
            flush(to, &limits.sink).await?;
        }
        match end {
            None => {}
            Some(Ok(())) => return Ok(()),
            Some(Err(e)) => return Err(RelayError::Source(e)),
        }
    }
}

/// Writes all of it.
async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    progress: &Progress,
    timer: &StallTimer,
) -> Result<(), RelayError> {
    while !bytes.is_empty() {
        let written = timer.wait(to.write(bytes)).await?.map_err(RelayError::Sink)?;
        if written == 0 {
            return Err(RelayError::Sink(io::ErrorKind::WriteZero.into()));
        }
        let (sent, left) = bytes.split_at(written.min(bytes.len()));
        progress.add_stream(sent);
        bytes = left;
    }
    Ok(())
}

async fn flush(to: &mut (impl AsyncWrite + Unpin), timer: &StallTimer) -> Result<(), RelayError> {
    timer.wait(to.flush()).await?.map_err(RelayError::Sink)
}

/// Writes and flushes all of it: a relay of just these bytes.
pub async fn send(
    to: &mut Stream,
    bytes: &[u8],
    progress: &Progress,
    stall: Duration,
) -> Result<(), RelayError> {
    let timer = StallTimer::new(stall, Some(to.tcp()));
    write(to, bytes, progress, &timer).await?;
    flush(to, &timer).await
}

type End = Option<io::Result<()>>;

/// Reads what is available, up to the whole buffer, so that small TLS records and packets are combined into
/// large writes.
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::BoxFuture;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::*;
    use crate::op::{Failure, FailureKind};

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
        relay(&mut source, &mut sink, &progress, Duration::from_secs(10), None).await.unwrap();
        drop(sink);
        assert!(received.await.unwrap() == data);
        assert_eq!(progress.bytes(), data.len() as u64);
    }

    #[tokio::test]
    async fn all_bytes_of_a_reader_are_copied() {
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
        relay(&mut source, &mut sink, &progress, Duration::from_secs(10), None).await.unwrap();
        drop(sink);
        assert!(received.await.unwrap() == data);
    }

    /// Whatever the two ends are, also where they would be spliced.
    #[tokio::test]
    async fn bytes_are_hashed_beside_the_copy() {
        let data = pattern(3_000_001);
        let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &data);
        for plain in [true, false] {
            let (to, mut far) = tcp_pair().await;
            let received = tokio::spawn(async move {
                let mut all = Vec::new();
                far.read_to_end(&mut all).await.unwrap();
                all
            });
            let mut source = if plain {
                let (mut near, from) = tcp_pair().await;
                let sent = data.clone();
                tokio::spawn(async move { near.write_all(&sent).await.unwrap() });
                Source::Socket(Stream::Plain(from))
            } else {
                Source::Reader(Box::new(std::io::Cursor::new(data.clone())))
            };
            let mut sink = Sink::Socket(Stream::Plain(to));
            let progress = Progress::with_hash(true);
            relay(&mut source, &mut sink, &progress, Duration::from_secs(10), None).await.unwrap();
            drop(sink);
            assert!(received.await.unwrap() == data);
            assert_eq!(progress.sha256().unwrap(), expected.as_ref());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_source_stalls() {
        let (_silent, from) = tcp_pair().await;
        let (to, _far) = tcp_pair().await;
        let mut source = Source::Socket(Stream::Plain(from));
        let mut sink = Sink::Socket(Stream::Plain(to));
        let stall = Duration::from_secs(5);
        let end = relay(&mut source, &mut sink, &Progress::default(), stall, None).await;
        assert!(matches!(end, Err(RelayError::Stalled { side: Side::Source, .. })), "{end:?}");
    }

    /// Takes `wait` for each chunk of 1,000 bytes, and ends the transfer after `max` bytes.
    struct Slow {
        max: usize,
        counted: AtomicUsize,
    }

    const WAIT: Duration = Duration::from_secs(60);

    impl Throttle for Slow {
        fn chunk(&self) -> usize {
            1000
        }

        fn count(&self, bytes: usize) -> Result<(), Failure> {
            assert!(bytes <= 1000, "{bytes}");
            if self.counted.fetch_add(bytes, Ordering::Relaxed) + bytes > self.max {
                return Err(Failure::gateway(FailureKind::QuotaExceeded, "used up"));
            }
            Ok(())
        }

        fn wait(&self, _: usize) -> BoxFuture<'_, ()> {
            Box::pin(tokio::time::sleep(WAIT))
        }
    }

    /// What arrives, and the end of a relay of 5,500 bytes.
    async fn relayed_slowly(spliced: bool, max: usize) -> (Vec<u8>, Result<(), RelayError>) {
        let ((mut near, from), (to, mut far)) = (tcp_pair().await, tcp_pair().await);
        let mut source = if spliced {
            near.write_all(&pattern(5500)).await.unwrap();
            near.shutdown().await.unwrap();
            Source::Socket(Stream::Plain(from))
        } else {
            Source::Reader(Box::new(std::io::Cursor::new(pattern(5500))))
        };
        let mut sink = Sink::Socket(Stream::Plain(to));
        let slow = Slow { max, counted: AtomicUsize::new(0) };
        let (stall, progress) = (Duration::from_secs(5), Progress::default());
        let end = relay(&mut source, &mut sink, &progress, stall, Some(&slow)).await;
        drop(sink);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(progress.bytes(), all.len() as u64);
        (all, end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_makes_it_wait_and_that_is_not_a_stall() {
        for spliced in [true, false] {
            let started = Instant::now();
            let (all, end) = relayed_slowly(spliced, usize::MAX).await;
            assert!(end.is_ok(), "{spliced} {end:?}");
            assert!(all == pattern(5500));
            assert!(started.elapsed() >= 6 * WAIT, "{spliced} {:?}", started.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_byte_moves_that_a_throttle_refuses() {
        for spliced in [true, false] {
            let (all, end) = relayed_slowly(spliced, 2999).await;
            assert!(matches!(end, Err(RelayError::Limit(_))), "{spliced} {end:?}");
            assert!(all == pattern(5500)[..2000], "{spliced} {}", all.len());
        }
    }

    /// A socket becomes writable again only after a good part of its buffer was sent.
    #[tokio::test]
    async fn a_slow_reader_does_not_stall() {
        tokio::join!(to_a_slow_reader(true), to_a_slow_reader(false));
    }

    async fn to_a_slow_reader(spliced: bool) {
        let ((mut near, from), (to, mut far)) = (tcp_pair().await, tcp_pair().await);
        let sent = pattern(8_000_000);
        let data = sent.clone();
        let received = tokio::spawn(async move {
            let (mut all, mut step) = (Vec::new(), vec![0; 16 * 1024]);
            loop {
                match far.read(&mut step).await.unwrap() {
                    0 => break all,
                    n => all.extend_from_slice(&step[..n]),
                }
                // Slow for long enough.
                if all.len() < 1_000_000 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
        let mut source = if spliced {
            tokio::spawn(async move { near.write_all(&data).await.unwrap() });
            Source::Socket(Stream::Plain(from))
        } else {
            Source::Reader(Box::new(std::io::Cursor::new(data)))
        };
        let mut sink = Sink::Socket(Stream::Plain(to));
        let progress = Progress::default();
        let end = relay(&mut source, &mut sink, &progress, Duration::from_secs(3), None).await;
        assert!(end.is_ok(), "{spliced} {end:?} {}", progress.bytes());
        drop(sink);
        assert!(received.await.unwrap() == sent);
    }

    #[tokio::test]
    async fn a_reader_that_reads_nothing_stalls() {
        let (to, _far) = tcp_pair().await;
        let mut source = Source::Reader(Box::new(tokio::io::repeat(7)));
        let mut sink = Sink::Socket(Stream::Plain(to));
        let stall = Duration::from_millis(300);
        let end = relay(&mut source, &mut sink, &Progress::default(), stall, None).await;
        assert!(matches!(end, Err(RelayError::Stalled { side: Side::Sink, .. })), "{end:?}");
    }
}
