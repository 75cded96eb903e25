//! The TCP connection under a TLS one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of a file that one data connection's TLS holds in each direction, once that much flows:
/// enough to make the system calls cheaper than the cipher.
pub(super) const BULK: usize = 256 * 1024;

/// The TCP connection under a TLS one. rustls reads 4 KiB at a time, which costs more than the cipher
/// when a file comes: once reads come back full, this reads more at a time. Writes are not buffered.
#[derive(Debug)]
pub struct Buffered {
    tcp: TcpStream,
    /// Bytes that one read may bring; 0: never more than was asked for.
    capacity: usize,
    /// Allocated when it is first needed.
    buffer: Box<[u8]>,
    /// What has come and was not yet asked for.
    start: usize,
    end: usize,
    /// The last read brought all that was asked for.
    full: bool,
    /// What comes is acknowledged at once.
    hasty: bool,
}

impl Buffered {
    /// For a connection that stays open and idle: it never gets a buffer.
    pub(super) fn for_control(tcp: TcpStream) -> Self {
        Self::new(tcp, 0)
    }

    /// `read` has been read from it already.
    pub(super) fn for_data(tcp: TcpStream, read: Vec<u8>) -> Self {
        Self { end: read.len(), buffer: read.into(), ..Self::new(tcp, BULK) }
    }

    fn new(tcp: TcpStream, capacity: usize) -> Self {
        Self { tcp, capacity, buffer: Box::default(), start: 0, end: 0, full: false, hasty: false }
    }

    /// For a server's handshake: some clients send their last flight in pieces, and hold each back
    /// until the one before is acknowledged (Nagle). Delayed, that is 40 ms a connection.
    pub(super) fn hasty(mut self) -> Self {
        self.hasty = true;
        self
    }

    /// The handshake is complete.
    pub(super) fn unhurried(&mut self) {
        self.hasty = false;
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let taken = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..taken]);
        self.start += taken;
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            if !this.full || buf.remaining() >= this.capacity {
                let before = buf.filled().len();
                if this.hasty {
                    // A socket that is gone already needs none.
                    let _ = SockRef::from(&this.tcp).set_tcp_quickack(true);
                }
                ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?;
                this.full = buf.remaining() == 0 && buf.filled().len() > before;
                return Poll::Ready(Ok(()));
            }
            if this.buffer.len() != this.capacity {
                this.buffer = vec![0; this.capacity].into();
            }
            let mut free = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut free))?;
            (this.start, this.end) = (0, free.filled().len());
        }
        this.take(buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(near, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn every_byte_comes_once_and_in_order_and_then_the_end() {
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 3) as u8).collect();
        for control in [false, true] {
            let (near, mut far) = pair().await;
            let sent = content.clone();
            let sending = tokio::spawn(async move {
                far.write_all(&sent).await.unwrap();
                far.shutdown().await.unwrap();
            });
            let mut reader = if control {
                Buffered::for_control(near)
            } else {
                Buffered::for_data(near, Vec::new())
            };
            let mut came = Vec::new();
            // What rustls asks for, and odd sizes.
            for length in [4096, 1, 4096, 100_000, 7, 300_000].into_iter().cycle() {
                let mut bytes = vec![0; length];
                let read = reader.read(&mut bytes).await.unwrap();
                if read == 0 {
                    break;
                }
                came.extend_from_slice(&bytes[..read]);
            }
            assert!(came == content);
            assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
            assert_eq!(reader.buffer.len(), if control { 0 } else { BULK });
            sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_comes_in_small_pieces_needs_no_buffer() {
        let (near, mut far) = pair().await;
        let mut reader = Buffered::for_data(near, Vec::new());
        for _ in 0..10 {
            far.write_all(&[7; 1000]).await.unwrap();
            let mut bytes = [0; 4096];
            assert_eq!(reader.read(&mut bytes).await.unwrap(), 1000);
        }
        assert!(reader.buffer.is_empty());
    }

    #[tokio::test]
    async fn what_came_before_a_reset_is_not_lost_and_the_reset_is_told() {
        let (near, mut far) = pair().await;
        let mut reader = Buffered::for_data(near, Vec::new());
        far.write_all(&[7; 20_000]).await.unwrap();
        let mut came = 0;
        while came < 12_000 {
            came += reader.read(&mut [0; 4096]).await.unwrap();
        }
        assert!(reader.start < reader.end);
        crate::net::reset_on_drop(&far);
        drop(far);
        let mut rest = Vec::new();
        let told = reader.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(came + rest.len(), 20_000);
    }
}
