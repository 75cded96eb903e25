//! Passing open sockets to another process over a Unix socket (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The kernel's limit (`SCM_MAX_FD`).
const PER_MESSAGE_MAX: usize = 253;

/// Sends them, each batch with one byte. The receiver must be told their number first.
pub async fn send_descriptors(stream: &UnixStream, all: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in all.chunks(PER_MESSAGE_MAX) {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(batch));
            Ok(sendmsg(stream, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?)
        };
        stream.async_io(Interest::WRITABLE, send).await?;
    }
    Ok(())
}

/// Receives what [`send_descriptors`] sends. Nothing of them may have been read in another way.
///
/// # Errors
/// Also when this process may not have so many open files.
pub async fn receive_descriptors(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::with_capacity(count.min(1 << 16));
    while all.len() < count {
        let receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let (mut byte, flags) = ([0], RecvFlags::CMSG_CLOEXEC);
            let received =
                recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
            let mut batch = Vec::new();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    batch.extend(descriptors);
                }
            }
            let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
            Ok((received.bytes, is_cut, batch))
        };
        let (bytes, is_cut, batch) = stream.async_io(Interest::READABLE, receive).await?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if is_cut || batch.is_empty() {
            let message = "not all sockets were received: does the limit of open files allow them?";
            return Err(io::Error::other(message));
        }
        all.extend(batch);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn many_sockets_arrive_in_their_order() {
        let (one, other) = UnixStream::pair().unwrap();
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets: Vec<_> = (0..600).map(|_| listen()).collect();
        let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        let (sent, received) =
            tokio::join!(send_descriptors(&one, &descriptors), receive_descriptors(&other, 600));
        sent.unwrap();
        let received = received.unwrap();
        assert_eq!(received.len(), 600);
        for (sent, received) in sockets.iter().zip(received) {
            let received = std::net::TcpListener::from(received);
            assert_eq!(received.local_addr().unwrap(), sent.local_addr().unwrap());
        }
        drop(one);
        let error = receive_descriptors(&other, 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
