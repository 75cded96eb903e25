//! The control connection around the end of a transfer.

use super::*;
use crate::data::Progress;
use crate::net::{Drain, Endpoints};
use crate::session::{ClientInfo, LiveSession};
use crate::task::poll_once;
use std::sync::Arc;
use tokio::net::TcpListener;

fn live() -> Arc<LiveSession> {
    let peer = "127.0.0.1:1".parse().unwrap();
    ClientInfo::new("test", "ftp", Endpoints { peer, local: peer }, &Drain::new()).live
}

/// On one thread, the runtime does not poll the kernel between the end of the connection and the
/// check.
#[tokio::test]
async fn an_upload_is_interrupted_when_only_the_kernel_has_seen_the_connection_close() {
    for (sent, interrupted) in [(&b""[..], true), (b"NOOP\r\n", true), (b"QUIT\r\n", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
        assert!(poll_once(control.read_line()).is_none());
        std::io::Write::write_all(&mut client, sent).unwrap();
        client.shutdown(std::net::Shutdown::Both).unwrap();
        let work = async { Ok(()) };
        let progress = Progress::default();
        let end = control.run_transfer(work, &progress, Phase::Upload, &live()).await;
        assert_eq!(
            matches!(end, Err(Interruption::ConnectionClosed)),
            interrupted,
            "{}",
            sent.escape_ascii()
        );
    }
}

#[tokio::test]
async fn an_upload_is_interrupted_by_a_reset_before_the_reply_to_stat() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
    std::io::Write::write_all(&mut client, b"STAT\r\n").unwrap();
    // Dropping it resets the connection.
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let progress = Progress::default();
    let end = control.confirm_upload(async { Ok(()) }, &progress, &live()).await;
    assert!(matches!(end, Err(Interruption::ConnectionClosed)));
}

#[tokio::test]
async fn while_connected_ends_when_the_client_leaves_no_whole_command() {
    for (sent, interrupted) in [(&b""[..], true), (b"NO", true), (b"NOOP\r\n", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
        let (done, work) = tokio::sync::oneshot::channel();
        let mut waiting = pin!(control.while_connected(work));
        assert!(poll_once(waiting.as_mut()).is_none());
        std::io::Write::write_all(&mut client, sent).unwrap();
        drop(client);
        if interrupted {
            assert!(waiting.await.is_none());
            assert!(done.is_closed() || done.send(()).is_err());
        } else {
            let late = timeout(Duration::from_millis(50), waiting.as_mut()).await;
            assert!(late.is_err());
            done.send(()).unwrap();
            assert!(waiting.await.is_some());
        }
    }
}

#[tokio::test]
async fn an_upload_is_complete_while_the_client_stays_connected() {
    for sent in [&b""[..], b"NOOP\r\n", b"NO"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut control = Control::new(Stream::Plain(listener.accept().await.unwrap().0), false);
        std::io::Write::write_all(&mut client, sent).unwrap();
        let work = async { Ok(()) };
        let progress = Progress::default();
        let end = control.run_transfer(work, &progress, Phase::Upload, &live()).await;
        assert!(end.is_ok(), "{}", sent.escape_ascii());
    }
}
