//! The TCP connection under a TLS one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that a data connection's TLS buffers in each direction during bulk transfer: enough to make
/// the system calls cheaper than the cipher.
pub(super) const DATA_BUFFER_SIZE: usize = 256 * 1024;

/// The TCP connection under a TLS one. rustls reads 4 KiB at a time, which costs more than the cipher
/// in bulk transfer: once reads are full, this reads more at a time. Writes are not buffered.
#[derive(Debug)]
pub struct BufferedTcp {
    tcp: TcpStream,
    /// Of the buffer, in bytes; 0: never buffer.
    capacity: usize,
    /// Allocated when it is first needed.
    buffer: Box<[u8]>,
    /// `start..end` of the buffer was read from the socket and not yet by the caller.
    start: usize,
    end: usize,
    /// The last read filled the caller's buffer.
    full: bool,
    /// Received bytes are acknowledged at once.
    quickack: bool,
}

impl BufferedTcp {
    /// Without a buffer: control connections are mostly idle.
    pub(super) fn for_control(tcp: TcpStream) -> Self {
        Self::new(tcp, 0)
    }

    /// `read`: bytes that were read from it before.
    pub(super) fn for_data(tcp: TcpStream, read: Vec<u8>) -> Self {
        Self { end: read.len(), buffer: read.into(), ..Self::new(tcp, DATA_BUFFER_SIZE) }
    }

    fn new(tcp: TcpStream, capacity: usize) -> Self {
        Self {
            tcp,
            capacity,
            buffer: Box::default(),
            start: 0,
            end: 0,
            full: false,
            quickack: false,
        }
    }

    /// For a server's handshake: some clients send their last flight in pieces, and each waits until
    /// the previous one is acknowledged (Nagle). A delayed acknowledgement costs 40 ms a connection.
    pub(super) fn with_quickack(mut self) -> Self {
        self.quickack = true;
        self
    }

    /// To be called after the handshake.
    pub(super) fn disable_quickack(&mut self) {
        self.quickack = false;
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let taken = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..taken]);
        self.start += taken;
    }
}

impl AsyncRead for BufferedTcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            if !this.full || buf.remaining() >= this.capacity {
                let before = buf.filled().len();
                if this.quickack {
                    // Fails only on a closed socket.
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

impl AsyncWrite for BufferedTcp {
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
    async fn reads_every_byte_once_in_order_and_then_the_end() {
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 3) as u8).collect();
        for control in [false, true] {
            let (near, mut far) = pair().await;
            let sent = content.clone();
            let sending = tokio::spawn(async move {
                far.write_all(&sent).await.unwrap();
                far.shutdown().await.unwrap();
            });
            let mut reader = if control {
                BufferedTcp::for_control(near)
            } else {
                BufferedTcp::for_data(near, Vec::new())
            };
            let mut received = Vec::new();
            // The size of rustls' reads, and odd sizes.
            for length in [4096, 1, 4096, 100_000, 7, 300_000].into_iter().cycle() {
                let mut bytes = vec![0; length];
                let read = reader.read(&mut bytes).await.unwrap();
                if read == 0 {
                    break;
                }
                received.extend_from_slice(&bytes[..read]);
            }
            assert!(received == content);
            assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
            assert_eq!(reader.buffer.len(), if control { 0 } else { DATA_BUFFER_SIZE });
            sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn small_reads_allocate_no_buffer() {
        let (near, mut far) = pair().await;
        let mut reader = BufferedTcp::for_data(near, Vec::new());
        for _ in 0..10 {
            far.write_all(&[7; 1000]).await.unwrap();
            let mut bytes = [0; 4096];
            assert_eq!(reader.read(&mut bytes).await.unwrap(), 1000);
        }
        assert!(reader.buffer.is_empty());
    }

    #[tokio::test]
    async fn bytes_before_a_reset_are_read_and_then_the_reset_is_an_error() {
        let (near, mut far) = pair().await;
        let mut reader = BufferedTcp::for_data(near, Vec::new());
        far.write_all(&[7; 20_000]).await.unwrap();
        let mut received = 0;
        while received < 12_000 {
            received += reader.read(&mut [0; 4096]).await.unwrap();
        }
        assert!(reader.start < reader.end);
        crate::net::reset_on_drop(&far);
        drop(far);
        let mut rest = Vec::new();
        let error = reader.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(received + rest.len(), 20_000);
    }
}
