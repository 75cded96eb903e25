//! The two tasks of a channel: one sends the requests, the other receives the responses.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::inner::{Inner, Packet};
use super::{Incoming, Outgoing, lost};
use crate::wire::sftp::PacketReader;

/// Packets that are sent together.
const MAX_BATCH: usize = 64;
/// Data up to this size is copied after its header instead of being sent as a message of its own, in bytes.
const MAX_INLINE_DATA: usize = 4096;

pub(super) async fn receive_all(
    mut incoming: impl Incoming,
    mut packets: PacketReader,
    inner: Arc<Inner>,
    limit: Duration,
    ended: CancellationToken,
) {
    let cancelled = ended.clone();
    let cancelled = cancelled.cancelled();
    let watchdog = tokio::time::sleep(limit);
    tokio::pin!(cancelled, watchdog);
    let why = loop {
        match resolve_all(&mut packets, &inner) {
            Ok(()) => {}
            Err(detail) => {
                tracing::warn!(%detail, "a backend server broke the SFTP protocol; its connection is dropped");
                break lost(detail);
            }
        }
        tokio::select! {
            biased;
            bytes = incoming.next() => match bytes {
                Ok(bytes) => packets.push(bytes),
                Err(detail) => break lost(detail),
            },
            () = &mut watchdog => match inner.deadline(limit) {
                Ok(deadline) => watchdog.as_mut().reset(deadline),
                Err(()) => break lost("it no longer answers (reply_timeout)"),
            },
            () = &mut cancelled => break lost("the session has ended"),
        }
    };
    inner.end(why);
    ended.cancel();
}

fn resolve_all(packets: &mut PacketReader, inner: &Inner) -> Result<(), String> {
    while let Some(packet) = packets.next().map_err(|e| e.to_string())? {
        inner.resolve(packet)?;
    }
    Ok(())
}

pub(super) async fn send_all(
    mut outgoing: impl Outgoing,
    mut queue: mpsc::UnboundedReceiver<Packet>,
    inner: Arc<Inner>,
    ended: CancellationToken,
) {
    let sending = async {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let mut buffer = BytesMut::new();
            let mut last = 0;
            for Packet { number, header, data, write_state } in batch.drain(..) {
                if write_state.is_some_and(|state| state.is_cancelled()) {
                    inner.cancel(number);
                    continue;
                }
                last = number;
                buffer.extend_from_slice(&header);
                match data {
                    Some(data) if data.len() > MAX_INLINE_DATA => {
                        inner.note_sent(number);
                        outgoing.send(buffer.split().freeze()).await?;
                        outgoing.send(data).await?;
                    }
                    data => buffer.extend_from_slice(&data.unwrap_or_default()),
                }
            }
            if !buffer.is_empty() {
                inner.note_sent(last);
                outgoing.send(buffer.freeze()).await?;
            }
        }
        Ok::<(), String>(())
    };
    tokio::select! {
        sent = sending => if let Err(detail) = sent {
            tracing::debug!(%detail, "sending to a backend server");
        },
        () = ended.cancelled() => {}
    }
    ended.cancel();
}
