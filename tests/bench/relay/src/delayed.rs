//! Relays bytes after a delay. Bytes in flight are bounded, well above what any measured rate can have
//! in flight (1 GiB/s for 25 ms is 26 MiB), so the bound limits no rate.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

const CHUNK: usize = 256 * 1024;
const LEAST_READ: usize = 16 * 1024;
const UNDER_WAY: usize = 256 * 1024 * 1024;
/// Small packets cost more than their bytes.
const CHUNKS_UNDER_WAY: usize = 64 * 1024;

struct Chunk {
    due: Instant,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

pub async fn relay(client: TcpStream, server: TcpStream, delay: Duration) {
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::join!(
        direction(client_read, server_write, delay),
        direction(server_read, client_write, delay),
    );
}

async fn direction(from: OwnedReadHalf, to: OwnedWriteHalf, delay: Duration) {
    let (queue, late) = channel(CHUNKS_UNDER_WAY);
    let reader = tokio::spawn(read(from, queue, delay));
    write(late, to).await;
    // The receiver has ended: further bytes are not needed.
    reader.abort();
}

async fn read(mut from: OwnedReadHalf, queue: Sender<Chunk>, delay: Duration) {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() < LEAST_READ {
            buffer.reserve(CHUNK);
        }
        let count = match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count as u32,
        };
        let due = Instant::now() + delay;
        let Ok(room) = room.clone().acquire_many_owned(count).await else { break };
        let chunk = Chunk { due, bytes: buffer.split().freeze(), _room: room };
        if queue.send(chunk).await.is_err() {
            break;
        }
    }
    // The end of data has the same delay as the bytes.
    sleep_until(Instant::now() + delay).await;
}

async fn write(mut late: Receiver<Chunk>, mut to: OwnedWriteHalf) {
    while let Some(chunk) = late.recv().await {
        sleep_until(chunk.due).await;
        if to.write_all(&chunk.bytes).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
