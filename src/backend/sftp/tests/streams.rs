//! Streams with many READs and WRITEs in flight.

use super::super::first_error::FirstError;
use super::super::read_stream::ReadStream;
use super::super::remote_file::RemoteFile;
use super::super::server::READ_AHEAD_MAX;
use super::super::write_stream::{WINDOW_MAX, WriteStream};
use super::*;

/// Bytes of the largest READ and WRITE.
const READ: usize = 4096;
const WRITE: usize = 100_000;

async fn remote_file() -> (RemoteFile, Peer) {
    let extensions = &[("limits@openssh.com", "1")];
    let limits = Limits { packet: 0, read: READ as u64, write: WRITE as u64, open_handles: 0 };
    let (server, peer) = connected_to(extensions, limits, PartialUploads::Keep).await;
    (RemoteFile::new(server, Bytes::from_static(b"h"), path("/f"), None), peer)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// Answers each READ from `content`, and with FAILURE from the offset `broken_from` on.
async fn serve_reads(peer: &mut Peer, content: &[u8], broken_from: usize) {
    loop {
        let request = peer.request().await;
        let Q::Read { offset, length, .. } = request.body else { panic!("{request:?}") };
        let start = content.len().min(offset as usize);
        let end = content.len().min(start + length as usize);
        let response = match offset as usize {
            offset if offset >= broken_from => status(StatusCode::FAILURE, "a bad block"),
            _ if start == end => status(StatusCode::EOF, ""),
            _ => A::Data(Bytes::copy_from_slice(&content[start..end])),
        };
        peer.answer(request.id, response).await;
    }
}

#[tokio::test]
async fn all_bytes_are_read_in_order_from_any_offset() {
    for length in [0, 1, READ - 1, READ, READ + 1, 2 * READ, 123_456] {
        for offset in [0, 1, READ, length] {
            let (file, mut peer) = remote_file().await;
            let content = pattern(length);
            let mut stream = ReadStream::new(file, offset as u64, FirstError::default());
            let reading = async {
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await.unwrap();
                assert!(read == content[length.min(offset)..], "{length} from {offset}");
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            };
            tokio::select! {
                () = reading => {}
                () = serve_reads(&mut peer, &content, usize::MAX) => {}
            }
        }
    }
}

#[tokio::test]
async fn two_reads_are_sent_at_once_and_never_more_than_the_window() {
    let (file, mut peer) = remote_file().await;
    let mut stream = ReadStream::new(file, 0, FirstError::default());
    let first = peer.request().await;
    assert!(matches!(first.body, Q::Read { offset: 0, .. }));
    assert!(matches!(peer.request().await.body, Q::Read { offset: 4096, .. }));
    peer.nothing().await;
    let mut byte = [0];
    let (read, ()) = tokio::join!(stream.read_exact(&mut byte), peer.answer(first.id, data(READ)));
    read.unwrap();
    let mut in_flight = 1;
    while timeout(Duration::from_millis(50), peer.request()).await.is_ok() {
        in_flight += 1;
    }
    assert_eq!(in_flight, 1024 * 1024 / READ);
}

#[tokio::test]
async fn a_failed_read_ends_the_stream_at_its_offset_and_is_reported() {
    let (file, mut peer) = remote_file().await;
    let (content, first_error) = (pattern(10 * READ), FirstError::default());
    let mut stream = ReadStream::new(file, 0, first_error.clone());
    let reading = async {
        let mut read = Vec::new();
        assert!(stream.read_to_end(&mut read).await.is_err());
        assert!(read == content[..3 * READ]);
    };
    tokio::select! {
        () = reading => {}
        () = serve_reads(&mut peer, &content, 3 * READ) => {}
    }
    assert_eq!(first_error.take().unwrap().message, "cannot read /f: a bad block");
}

#[tokio::test]
async fn without_budget_one_read_is_sent_at_a_time() {
    let (file, mut peer) = remote_file().await;
    let server = file.server().clone();
    let _all = server.read_ahead.overdraw(READ_AHEAD_MAX);
    let content = pattern(5 * READ + 1);
    let mut stream = ReadStream::new(file, 0, FirstError::default());
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).await.unwrap();
        read
    });
    for offset in (0..5 * READ).step_by(READ) {
        let request = peer.request().await;
        assert!(matches!(request.body, Q::Read { offset: at, .. } if at == offset as u64));
        peer.nothing().await;
        let bytes = Bytes::copy_from_slice(&content[offset..offset + READ]);
        peer.answer(request.id, A::Data(bytes)).await;
    }
    tokio::select! {
        read = reading => assert!(read.unwrap() == content),
        () = serve_reads(&mut peer, &content, usize::MAX) => {}
    }
    assert_eq!(server.read_ahead.held(), READ_AHEAD_MAX);
}

#[tokio::test]
async fn writes_are_gathered_and_those_without_a_response_are_bounded() {
    let (file, mut peer) = remote_file().await;
    let content = pattern(20_000_000);
    let (mut stream, pending) = WriteStream::new(file, 0, FirstError::default());
    let writing = async {
        for part in content.chunks(65_536) {
            stream.write_all(part).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        pending.wait(0).await.unwrap();
    };
    let serving = async {
        let mut written = Vec::new();
        while written.len() < content.len() {
            let (mut unanswered, mut bytes) = (Vec::new(), 0);
            while let Ok(request) = timeout(Duration::from_millis(20), peer.request()).await {
                let Q::Write { offset, data, .. } = request.body else { panic!() };
                assert_eq!(offset, written.len() as u64);
                assert_eq!(data.len(), WRITE);
                written.extend_from_slice(&data);
                bytes += data.len();
                unanswered.push(request.id);
            }
            assert!(bytes <= WINDOW_MAX, "{bytes}");
            for id in unanswered {
                peer.answer(id, ok()).await;
            }
        }
        assert!(written == content);
    };
    tokio::join!(writing, serving);
}

#[tokio::test]
async fn a_flush_sends_what_is_gathered_and_does_not_wait() {
    let (file, mut peer) = remote_file().await;
    let (mut stream, pending) = WriteStream::new(file, 0, FirstError::default());
    stream.write_all(b"small").await.unwrap();
    peer.nothing().await;
    stream.flush().await.unwrap();
    let request = peer.request().await;
    assert!(matches!(&request.body, Q::Write { offset: 0, data, .. } if data == "small"));
    let waiting = pending.wait(0);
    tokio::pin!(waiting);
    assert!(crate::task::poll_once(waiting.as_mut()).is_none());
    peer.answer(request.id, ok()).await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn the_first_refusal_ends_the_stream() {
    let (file, mut peer) = remote_file().await;
    let first_error = FirstError::default();
    let (mut stream, pending) = WriteStream::new(file, 0, first_error.clone());
    let writing = async {
        let mut outcome = Ok(());
        for _ in 0..100 {
            outcome = outcome.and(stream.write_all(&[7; WRITE]).await);
        }
        assert!(outcome.is_err());
        assert!(pending.wait(0).await.is_err());
    };
    let mut accepted = 0;
    let serving = async {
        loop {
            let request = peer.request().await;
            let Q::Write { offset, data, .. } = request.body else { panic!() };
            let response = match offset {
                200_000.. => status(StatusCode::FAILURE, "No space left on device"),
                _ => ok(),
            };
            accepted += if response == ok() { data.len() } else { 0 };
            peer.answer(request.id, response).await;
        }
    };
    tokio::select! {
        () = writing => {}
        () = serving => {}
    }
    assert_eq!(first_error.take().unwrap().kind, FailureKind::NoSpace);
    assert_eq!(accepted, 200_000);
}
