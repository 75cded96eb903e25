//! TYPE A (RFC 959 section 3.1.1.1): on the wire lines end in CRLF, in a local file in LF.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that each adapter buffers.
const BUFFER_SIZE: usize = 64 * 1024;

/// Reads a local text in its wire format: LF becomes CRLF. CRLF stays CRLF, and a lone CR stays. Errors
/// are the inner reader's.
pub struct ToCrlf<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// The part of the buffer that was not returned yet.
    start: usize,
    end: usize,
    /// The last returned byte was a CR: an LF after it needs no other.
    after_cr: bool,
}

impl<R> ToCrlf<R> {
    /// Reads from `inner` through a buffer of 64 KiB.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: vec![0; BUFFER_SIZE].into(), start: 0, end: 0, after_cr: false }
    }

    /// Returns what the buffer holds, as far as there is room.
    fn translate(&mut self, out: &mut ReadBuf<'_>) {
        while out.remaining() > 0 && self.start < self.end {
            let rest = &self.buffer[self.start..self.end];
            let rest = &rest[..rest.len().min(out.remaining())];
            match rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()) {
                0 if self.after_cr => {
                    out.put_slice(b"\n");
                    self.after_cr = false;
                    self.start += 1;
                }
                // The LF itself stays in the buffer for the next iteration.
                0 => {
                    out.put_slice(b"\r");
                    self.after_cr = true;
                }
                run => {
                    out.put_slice(&rest[..run]);
                    self.after_cr = rest[run - 1] == b'\r';
                    self.start += run;
                }
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ToCrlf<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.start == this.end {
            let mut raw = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut raw))?;
            (this.start, this.end) = (0, raw.filled().len());
        }
        this.translate(out);
        Poll::Ready(Ok(()))
    }
}

/// Writes a text in its wire format to a local file: CRLF becomes LF, a lone CR stays.
///
/// A CR at the end of a write is held back until the next byte or `shutdown`; `flush` writes everything
/// else. Errors are the inner writer's and may be returned by a later write.
pub struct FromCrlf<W> {
    inner: W,
    /// Translated bytes, of which `sent` are written.
    buffer: Vec<u8>,
    sent: usize,
    held_cr: bool,
}

impl<W> FromCrlf<W> {
    /// Writes to `inner` through a buffer of 64 KiB.
    pub fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::with_capacity(BUFFER_SIZE), sent: 0, held_cr: false }
    }

    /// How many of `length` bytes fit into the buffer; a held CR may precede them.
    fn room(&self, length: usize) -> usize {
        length.min((BUFFER_SIZE - self.buffer.len()).saturating_sub(1))
    }

    fn translate(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some(first) = rest.first() {
            if self.held_cr {
                self.held_cr = false;
                if *first != b'\n' {
                    self.buffer.push(b'\r');
                }
            }
            let run = rest.iter().position(|b| *b == b'\r').unwrap_or(rest.len());
            self.buffer.extend_from_slice(&rest[..run]);
            self.held_cr = run < rest.len();
            rest = &rest[rest.len().min(run + 1)..];
        }
    }
}

impl<W: AsyncWrite + Unpin> FromCrlf<W> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.buffer.len() {
            let rest = &self.buffer[self.sent..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        self.buffer.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for FromCrlf<W> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        text: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // A started drain is finished first, so that `sent` bytes do not occupy the buffer.
        if this.sent > 0 || this.room(text.len()) < text.len() {
            ready!(this.poll_drain(cx))?;
        }
        let taken = this.room(text.len());
        this.translate(&text[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held_cr {
            this.held_cr = false;
            this.buffer.push(b'\r');
        }
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Reads and writes in pieces of the given sizes, over and over, and is not ready each second time.
    struct Pieces {
        data: Vec<u8>,
        at: usize,
        sizes: Vec<usize>,
        next_size: usize,
        is_pending: bool,
    }

    impl Pieces {
        fn new(data: &[u8], sizes: &[usize]) -> Self {
            Self {
                data: data.to_vec(),
                at: 0,
                sizes: sizes.to_vec(),
                next_size: 0,
                is_pending: false,
            }
        }

        fn next(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
            self.is_pending = !self.is_pending;
            if self.is_pending {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.next_size += 1;
            Poll::Ready(self.sizes[self.next_size % self.sizes.len()])
        }
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let piece = ready!(self.next(cx));
            let n = piece.min(out.remaining()).min(self.data.len() - self.at);
            out.put_slice(&self.data[self.at..self.at + n]);
            self.at += n;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = ready!(self.next(cx)).min(data.len());
            self.data.extend_from_slice(&data[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn expected_to(text: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for b in text {
            if *b == b'\n' && out.last() != Some(&b'\r') {
                out.push(b'\r');
            }
            out.push(*b);
        }
        out
    }

    fn expected_from(text: &[u8]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for b in text {
            if *b == b'\n' && out.last() == Some(&b'\r') {
                out.pop();
            }
            out.push(*b);
        }
        out
    }

    #[tokio::main(flavor = "current_thread")]
    async fn to(text: &[u8], pieces: &[usize], reads: &[usize]) -> Vec<u8> {
        let mut reader = ToCrlf::new(Pieces::new(text, pieces));
        let (mut out, mut next_size) = (Vec::new(), 0);
        loop {
            let mut block = vec![0; reads[next_size % reads.len()]];
            next_size += 1;
            match reader.read(&mut block).await.unwrap() {
                0 => return out,
                n => out.extend_from_slice(&block[..n]),
            }
        }
    }

    #[tokio::main(flavor = "current_thread")]
    async fn from(text: &[u8], writes: &[usize], pieces: &[usize], flush: bool) -> Vec<u8> {
        let mut writer = FromCrlf::new(Pieces::new(b"", pieces));
        let (mut rest, mut next_size) = (text, 0);
        while !rest.is_empty() {
            let (block, after) = rest.split_at(rest.len().min(writes[next_size % writes.len()]));
            writer.write_all(block).await.unwrap();
            if flush {
                writer.flush().await.unwrap();
            }
            (rest, next_size) = (after, next_size + 1);
        }
        writer.shutdown().await.unwrap();
        writer.shutdown().await.unwrap();
        writer.inner.data
    }

    #[test]
    fn line_ends_become_crlf_once() {
        for (text, wire) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\r\nb\n", b"a\r\nb\r\n"),
            (b"\n\n", b"\r\n\r\n"),
            (b"a\rb\r", b"a\rb\r"),
            (b"\r\r\n", b"\r\r\n"),
            (b"", b""),
        ] {
            assert_eq!(to(text, &[1], &[1]), wire);
            assert_eq!(to(text, &[100], &[100]), wire);
        }
    }

    #[test]
    fn crlf_becomes_lf_and_a_lone_cr_stays() {
        for (wire, text) in [
            (&b"a\r\nb\r\n"[..], &b"a\nb\n"[..]),
            (b"a\rb\r", b"a\rb\r"),
            (b"\r\r\n\n", b"\r\n\n"),
            (b"\r", b"\r"),
            (b"", b""),
        ] {
            assert_eq!(from(wire, &[1], &[1], true), text);
            assert_eq!(from(wire, &[100], &[100], false), text);
        }
    }

    #[test]
    fn text_longer_than_the_buffer_is_translated() {
        let lines = b"\n\rx\r\n".repeat(50_000);
        assert_eq!(to(&lines, &[300_000], &[300_000]), expected_to(&lines));
        assert_eq!(from(&lines, &[300_000], &[300_000], false), expected_from(&lines));
        let returns = vec![b'\r'; 3 * BUFFER_SIZE];
        assert_eq!(from(&returns, &[300_000], &[7_000], false), returns);
    }

    #[tokio::test]
    async fn a_write_error_is_returned() {
        struct Full;
        impl AsyncWrite for Full {
            fn poll_write(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &[u8],
            ) -> Poll<io::Result<usize>> {
                Poll::Ready(Err(io::ErrorKind::StorageFull.into()))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        let mut writer = FromCrlf::new(Full);
        writer.write_all(b"x\r").await.unwrap();
        assert_eq!(writer.flush().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(writer.shutdown().await.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x'), any::<u8>()];
        prop::collection::vec(byte, 0..300)
    }

    fn sizes() -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(1usize..20, 1..8)
    }

    proptest! {
        #[test]
        fn to_crlf_does_not_depend_on_the_read_sizes(text in text(), pieces in sizes(), reads in sizes()) {
            prop_assert_eq!(to(&text, &pieces, &reads), expected_to(&text));
        }

        #[test]
        fn from_crlf_does_not_depend_on_the_write_sizes(
            text in text(), writes in sizes(), pieces in sizes(), flush: bool,
        ) {
            prop_assert_eq!(from(&text, &writes, &pieces, flush), expected_from(&text));
        }

        #[test]
        fn unix_text_survives_the_round_trip(text in text(), pieces in sizes(), cuts in sizes()) {
            let text: Vec<u8> = text.into_iter().filter(|b| *b != b'\r').collect();
            prop_assert_eq!(from(&to(&text, &pieces, &cuts), &cuts, &pieces, false), text);
        }
    }
}
