//! Sockets that the service manager has opened (systemd.socket(5), sd_listen_fds(3)).

use std::fmt;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};

use crate::net::Sockets;
use crate::op::escape::printable;

/// What the service manager has passed to this process.
#[derive(Default)]
pub(super) struct Passed {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
    /// Sockets of other kinds.
    others: usize,
}

/// A socket that nothing in the configuration uses.
#[derive(Debug)]
pub struct Unused(Vec<String>);

impl Passed {
    /// Takes them; nothing if there are none for this process.
    pub(super) fn take() -> Self {
        let mut passed = ListenFd::from_env();
        let mut taken = Self::default();
        for number in 0..passed.len() {
            if let Ok(Some(socket)) = passed.take_tcp_listener(number) {
                keep_to_this_process(&socket);
                taken.tcp.push(socket);
            } else if let Ok(Some(socket)) = passed.take_unix_listener(number) {
                keep_to_this_process(&socket);
                taken.unix.push(socket);
            } else {
                taken.others += 1;
            }
        }
        taken
    }

    /// The admin socket, if it was passed.
    pub(super) fn take_admin(&mut self, path: &Path) -> Option<UnixListener> {
        let path = std::path::absolute(path).ok()?;
        let is_it = |socket: &UnixListener| {
            let at = socket.local_addr();
            at.is_ok_and(|at| at.as_pathname() == Some(&path))
        };
        let at = self.unix.iter().position(is_it)?;
        Some(self.unix.remove(at))
    }

    /// The configuration finds the sockets by their addresses.
    pub(super) fn hand_to(&mut self, sockets: &Sockets) -> std::io::Result<()> {
        self.tcp.drain(..).try_for_each(|socket| sockets.inherit(socket))
    }

    /// What is left once everything is open.
    pub(super) fn unused(self, sockets: &Sockets) -> Result<(), Unused> {
        let tcp = sockets.not_inherited().into_iter().map(|at| at.to_string());
        let unix = self.unix.iter().map(|socket| match socket.local_addr() {
            Ok(at) if at.as_pathname().is_some() => {
                let path = at.as_pathname().unwrap_or(Path::new("")).as_os_str().as_encoded_bytes();
                printable(path).to_string()
            }
            _ => "a Unix socket without a path".to_owned(),
        });
        let others = (0..self.others).map(|_| "a socket that is not for streams".to_owned());
        let all: Vec<_> = tcp.chain(unix).chain(others).collect();
        if all.is_empty() { Ok(()) } else { Err(Unused(all)) }
    }
}

/// Processes that this one starts do not inherit it: they get it by a take-over, or not.
fn keep_to_this_process(socket: impl AsFd) {
    // Fails only for what is no descriptor.
    let _ = fcntl_setfd(socket, FdFlags::CLOEXEC);
}

impl std::error::Error for Unused {}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}
