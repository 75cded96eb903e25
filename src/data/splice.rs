//! Plain TCP to plain TCP through a pipe in the kernel: no byte enters this process.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::progress::Progress;
use super::relay_error::{RelayError, Side};
use super::stall_timer::Limits;

/// The requested size of the pipe, and so the limit of one splice. The kernel may grant less.
const PIPE_SIZE: usize = 1024 * 1024;

pub(super) async fn splice(
    from: &TcpStream,
    to: &TcpStream,
    progress: &Progress,
    limits: &Limits<'_>,
) -> Result<(), RelayError> {
    let (pipe_out, pipe_in) = pipe().map_err(RelayError::Sink)?;
    loop {
        let taken = timeout(
            limits.stall,
            from.async_io(Interest::READABLE, || step(from, &pipe_in, limits.chunk(PIPE_SIZE))),
        )
        .await
        .map_err(|_| Side::Source.stalled(limits.stall))?
        .map_err(RelayError::Source)?;
        if taken == 0 {
            return Ok(());
        }
        limits.admit(taken).await?;
        // The pipe is emptied before the next read, so "would block" above always means the source.
        let mut left = taken;
        while left > 0 {
            let writing = to.async_io(Interest::WRITABLE, || step(&pipe_out, to, left));
            let written = limits.sink.wait(writing).await?.map_err(RelayError::Sink)?;
            left -= written;
            progress.add(written);
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (out, r#in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // The kernel refuses it past the user's limit of pipe pages; the default size works as well.
    let _ = rustix::pipe::fcntl_setpipe_size(&r#in, PIPE_SIZE);
    Ok((out, r#in))
}

fn step(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, max: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(rustix::pipe::splice(from, None, to, None, max, flags)?)
}
