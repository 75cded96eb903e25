//! Limits Diffie-Hellman key exchanges by finite field before a login: they cost a client nothing
//! to request, and a server much to answer (CVE-2002-20001). russh has no hook before it answers.
//! So this stream, between the client and russh, reads which key exchange the client's KEXINIT
//! chooses, and counts the bytes of further exchanges once they are encrypted.

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

/// The minimum of bytes that the server sends in a key exchange: its KEXINIT, and the reply with
/// numbers of 128 bytes, a host key and its signature. A usual login sends less after the first
/// exchange.
const EXCHANGE_BYTES_MIN: usize = 700;
const REFUSAL: &str = "too many finite field key exchanges from your address; try again in a few \
                       seconds, or use a client that supports curve25519-sha256";

/// A client's stream, with a limit of key exchanges before the login.
pub(super) struct KexLimiter<S> {
    stream: S,
    connection: Arc<Connection>,
    state: State,
    /// Finds where written bytes are encrypted.
    server_keys: EncryptionTracker,
}

enum State {
    /// Before the client's KEXINIT: the bytes received so far.
    Start(Vec<u8>),
    /// Encrypted bytes written since the last exchange was counted.
    Login(usize),
    LoggedIn,
    /// Received bytes are discarded.
    Refused,
}

impl<S: AsyncRead + AsyncWrite + Unpin> KexLimiter<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        let limited = connection.shared.settings.algorithms.has_finite_fields();
        let state = if limited { State::Start(Vec::new()) } else { State::LoggedIn };
        Self { stream, connection, state, server_keys: EncryptionTracker::default() }
    }

    /// Whether russh may receive these bytes.
    fn inspect(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> bool {
        let start = match &mut self.state {
            State::Start(start) => start,
            State::Login(_) | State::LoggedIn => return true,
            State::Refused => return false,
        };
        start.extend_from_slice(bytes);
        let algorithms = &self.connection.shared.settings.algorithms;
        let is_expensive = match client_start(start) {
            ClientStart::Incomplete => return true,
            ClientStart::Offer(offer) => algorithms.negotiates_finite_field(&offer),
            // russh may understand what this does not.
            ClientStart::Other => true,
        };
        if is_expensive && !self.connection.take_exchange() {
            // Nothing is encrypted yet, so the client can receive the reason at once.
            let message = disconnect(Disconnect::TooManyConnections as u32, REFUSAL);
            let _ = Pin::new(&mut self.stream).poll_write(cx, &message);
            self.refuse();
            return false;
        }
        self.state = State::Login(0);
        true
    }

    /// Counts bytes written before the login; replies to the login itself are few.
    fn count(&mut self, written: &[u8]) {
        let encrypted = self.server_keys.encrypted(written);
        let State::Login(bytes) = &mut self.state else { return };
        if self.connection.session().is_some() {
            self.state = State::LoggedIn;
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
        let end = SessionEnd::by(Fault::Client, REFUSAL);
        self.connection.end(Disconnect::TooManyConnections, end);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for KexLimiter<S> {
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
            if bytes.is_empty() || this.inspect(bytes, cx) {
                return Poll::Ready(Ok(()));
            }
            // Discards what still arrives, so that the client is not reset before it reads the
            // reason.
            buf.set_filled(before);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for KexLimiter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if !matches!(self.state, State::LoggedIn) {
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

    /// Otherwise a client would get more exchanges than are counted.
    #[test]
    fn an_exchange_sends_at_least_the_bytes_that_count_as_one() {
        let mut algorithms = Algorithms::new(Side::Listener, Base::Strict);
        algorithms.add(&algorithm_by_name("diffie-hellman-group1-sha1").unwrap()).unwrap();
        let offered = algorithms.preferred();
        let length = |names: &[&str]| names.iter().map(|name| name.len() + 1).sum::<usize>() - 1;
        let ciphers: Vec<&str> = offered.cipher.iter().map(AsRef::as_ref).collect();
        let macs: Vec<&str> = offered.mac.iter().map(AsRef::as_ref).collect();
        // A server sends only its own two markers.
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
