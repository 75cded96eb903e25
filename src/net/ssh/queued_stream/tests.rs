//! Tests of the queued stream: order, bounds, ends.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

#[tokio::test]
async fn bytes_written_before_the_drop_arrive_and_then_the_end() {
    let (near, mut far) = pair().await;
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
    let mut queued = QueuedStream::new(near, 100_000);
    let received = tokio::spawn(async move {
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        all
    });
    queued.write_all(&data).await.unwrap();
    drop(queued);
    assert!(received.await.unwrap() == data);
}

#[tokio::test]
async fn the_queue_is_bounded_and_a_waiting_write_is_woken() {
    let (near, mut far) = pair().await;
    let mut queued = QueuedStream::new(near, 1000);
    let mut sent = 0;
    // Until neither the kernel nor the queue takes more.
    while let Ok(written) = timeout(Duration::from_millis(200), queued.write(&[7; 64 * 1024])).await
    {
        let written = written.unwrap();
        assert!(written <= 1000);
        sent += written;
    }
    let reader = tokio::spawn(async move {
        let mut all = 0;
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = far.read(&mut bytes).await {
            all += n;
        }
        all
    });
    queued.write_all(&[7; 5000]).await.unwrap();
    drop(queued);
    assert_eq!(reader.await.unwrap(), sent + 5000);
}

#[tokio::test]
async fn bulk_reads_grow_the_buffer() {
    let (near, mut far) = pair().await;
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7) as u8).collect();
    let sent = data.clone();
    tokio::spawn(async move { far.write_all(&sent).await });
    let mut queued = QueuedStream::new(near, 1000);
    assert_eq!(queued.buffer.len(), READ_SIZE_MIN);
    let mut all = Vec::new();
    queued.read_to_end(&mut all).await.unwrap();
    assert!(all == data);
    assert!(queued.buffer.len() > READ_SIZE_MIN && queued.buffer.len() <= READ_SIZE_MAX);
}

#[tokio::test]
async fn memory_is_freed_after_a_burst() {
    const BURST: usize = 3_000_000;
    let (near, mut far) = pair().await;
    let mut queued = QueuedStream::new(near, BURST);
    queued.write_all(&[7; BURST]).await.unwrap();
    let mut bytes = vec![0; BURST];
    far.read_exact(&mut bytes).await.unwrap();
    tokio::time::sleep(2 * IDLE_TIMEOUT).await;
    assert_eq!(queued.shared.lock().bytes.capacity(), 0);

    let writing = tokio::spawn(async move {
        far.write_all(&bytes).await.unwrap();
        far
    });
    queued.read_exact(&mut vec![0; BURST]).await.unwrap();
    let mut far = writing.await.unwrap();
    assert!(queued.buffer.len() > READ_SIZE_MIN);
    for _ in 0..2 * READS_PER_RESIZE {
        far.write_all(b"x").await.unwrap();
        queued.read_u8().await.unwrap();
    }
    assert_eq!(queued.buffer.len(), READ_SIZE_MIN);
}

#[tokio::test]
async fn an_abort_ends_pending_reads_and_writes() {
    let (near, _far) = pair().await;
    let queued = QueuedStream::new(near, 1000);
    let abort_handle = queued.abort_handle();
    let (mut read, mut write) = tokio::io::split(queued);
    let reading = tokio::spawn(async move { read.read_u8().await });
    let writing = tokio::spawn(async move { while write.write_all(&[7; 1000]).await.is_ok() {} });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!reading.is_finished() && !writing.is_finished());
    abort_handle.abort();
    timeout(Duration::from_secs(10), writing).await.unwrap().unwrap();
    let read = timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn the_peers_close_is_reported_without_a_read() {
    let (near, mut far) = pair().await;
    let queued = QueuedStream::new(near, 1000);
    let peer_closed = queued.peer_closed();
    far.write_all(b"not to be read").await.unwrap();
    assert!(timeout(Duration::from_millis(50), peer_closed.wait()).await.is_err());
    drop(far);
    timeout(Duration::from_secs(10), peer_closed.wait()).await.unwrap();
    drop(queued);
    peer_closed.wait().await;
}

#[tokio::test]
async fn writes_to_a_broken_connection_fail() {
    let (near, far) = pair().await;
    crate::net::reset_on_drop(&far);
    drop(far);
    let mut queued = QueuedStream::new(near, 1000);
    let broken = async { while queued.write_all(&[7; 1000]).await.is_ok() {} };
    timeout(Duration::from_secs(10), broken).await.unwrap();
}
