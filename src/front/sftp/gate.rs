//! Stands between a client and russh until a login where finite fields are offered: they cost a client
//! nothing to ask for, and a server much to answer (CVE-2002-20001). russh asks nobody before it
//! answers, so the gate reads which key exchange the client's KEXINIT chooses, and after that, when all
//! is encrypted, counts the bytes of further exchanges.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use russh::Disconnect;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;
use crate::op::Fault;
use crate::session::SessionEnd;
use crate::wire::ssh::{ClientStart, EncryptionTracker, client_start, disconnect};

/// The least that an answer to a key exchange takes, in bytes: our own KEXINIT, and the reply with
/// numbers of 128 bytes, a host key and its signature. A usual login needs less between the first
/// exchange and its end.
const EXCHANGE_BYTES_MIN: usize = 700;
const WHY: &str = "too many key exchanges by finite field from your address; try again in a few seconds, or \
                   use a client that knows curve25519-sha256";

/// A client's stream, with a bound on what it may ask for before its login.
pub(super) struct Gate<S> {
    stream: S,
    connection: Arc<Connection>,
    state: State,
    /// What was written, until it is encrypted.
    server_keys: EncryptionTracker,
}

enum State {
    /// Until the client's KEXINIT is there: what it has sent.
    Start(Vec<u8>),
    /// So many bytes were written, encrypted, since the last exchange was taken.
    Login(usize),
    Open,
    /// Nothing that comes is passed on.
    Refused,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        let bounded = connection.shared.settings.algorithms.has_finite_fields();
        let state = if bounded { State::Start(Vec::new()) } else { State::Open };
        Self { stream, connection, state, server_keys: EncryptionTracker::default() }
    }

    /// Whether these bytes may go on to russh.
    fn judge(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> bool {
        let start = match &mut self.state {
            State::Start(start) => start,
            State::Login(_) | State::Open => return true,
            State::Refused => return false,
        };
        start.extend_from_slice(bytes);
        let algorithms = &self.connection.shared.settings.algorithms;
        let is_costly = match client_start(start) {
            ClientStart::Incomplete => return true,
            ClientStart::Offer(offer) => algorithms.negotiates_finite_field(&offer),
            // russh may read more into it than the gate.
            ClientStart::Other => true,
        };
        if is_costly && !self.connection.take_exchange() {
            // Nothing is encrypted yet; the client need not wait for the end of the connection.
            let words = disconnect(Disconnect::TooManyConnections as u32, WHY);
            let _ = Pin::new(&mut self.stream).poll_write(cx, &words);
            self.refuse();
            return false;
        }
        self.state = State::Login(0);
        true
    }

    /// Counts what is written before a login; a login's own answers are few.
    fn count(&mut self, written: &[u8]) {
        let encrypted = self.server_keys.encrypted(written);
        let State::Login(bytes) = &mut self.state else { return };
        if self.connection.session().is_some() {
            self.state = State::Open;
            return;
        }
        *bytes += encrypted;
        while *bytes >= EXCHANGE_BYTES_MIN {
            *bytes -= EXCHANGE_BYTES_MIN;
            if !self.connection.take_exchange() {
                return self.refuse();
            }
        }
    }

    fn refuse(&mut self) {
        self.state = State::Refused;
        let end = SessionEnd::by(Fault::Client, WHY);
        self.connection.end(Disconnect::TooManyConnections, end);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let bytes = &buf.filled()[before..];
            if bytes.is_empty() || this.judge(bytes, cx) {
                return Poll::Ready(Ok(()));
            }
            // What still comes is taken, so that the client is not reset before it reads why.
            buf.set_filled(before);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if !matches!(self.state, State::Open) {
            self.count(&bytes[..written]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ssh::{Algorithms, Base, Side, algorithm_by_name};

    /// Else a client would get more exchanges than are counted.
    #[test]
    fn no_exchange_is_answered_in_fewer_bytes_than_count_as_one() {
        let mut least = Algorithms::new(Side::Listener, Base::Strict);
        least.add(&algorithm_by_name("diffie-hellman-group1-sha1").unwrap()).unwrap();
        let offered = least.preferred();
        let length = |names: &[&str]| names.iter().map(|name| name.len() + 1).sum::<usize>() - 1;
        let ciphers: Vec<&str> = offered.cipher.iter().map(AsRef::as_ref).collect();
        let macs: Vec<&str> = offered.mac.iter().map(AsRef::as_ref).collect();
        // Of the markers a server sends its own two.
        let kex = ["mlkem768x25519-sha256", "diffie-hellman-group1-sha1", "ext-info-s"];
        let kex = length(&kex) + ",kex-strict-s-v00@openssh.com".len();
        let lists = kex + "ssh-ed25519".len() + 2 * (length(&ciphers) + length(&macs) + 4);
        // Type, cookie, ten lengths, the end; each packet's header and least padding.
        let (kexinit, packet) = (1 + 16 + 10 * 4 + 5 + lists, 4 + 1 + 4);
        // The host key, f, and the signature.
        let reply = 1 + (4 + 51) + (4 + 128) + (4 + 83);
        let new_keys = 1;
        assert!(kexinit + reply + new_keys + 3 * packet >= EXCHANGE_BYTES_MIN);
    }
}
