//! Answers on their way to a client, put together to as few SSH packets as is simple.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::time::timeout;

use super::room::Cost;
use crate::wire::sftp::{Response, ResponseBody, encode_data_header};

/// File data up to so many bytes is copied behind its header; above that, it is sent as it is.
const COPIED: usize = 8 * 1024;
/// Small answers are put together up to so many bytes.
const TOGETHER: usize = 32 * 1024;
/// What a client must take within the stall limit, in bytes: a slow one is no dead one.
const PIECE: usize = 64 * 1024;
/// What is sent before new answers are looked at, in bytes.
const BATCH: usize = 128 * 1024;

#[derive(Default)]
pub(super) struct Answers(VecDeque<Chunk>);

/// Answers in a row: headers and small ones, then the data of the last, if it is large.
#[derive(Default)]
struct Chunk {
    small: BytesMut,
    data: Bytes,
    cost: Cost,
}

/// What is sent at one go.
pub(super) struct Batch {
    parts: Vec<Bytes>,
    cost: Cost,
}

impl Answers {
    pub(super) fn push(&mut self, id: u32, body: ResponseBody, cost: Cost) {
        let chunk = match self.0.back_mut() {
            Some(chunk) if chunk.data.is_empty() && chunk.small.len() < TOGETHER => chunk,
            _ => {
                self.0.push_back(Chunk::default());
                let Some(chunk) = self.0.back_mut() else { return };
                chunk
            }
        };
        chunk.cost.add(cost);
        match body {
            ResponseBody::Data(data) if data.len() > COPIED => {
                encode_data_header(id, data.len(), &mut chunk.small);
                chunk.data = data;
            }
            body => Response { id, body }.encode(&mut chunk.small),
        }
    }

    /// A packet that answers no request.
    pub(super) fn push_bytes(&mut self, small: BytesMut) {
        self.0.push_back(Chunk { small, ..Chunk::default() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Batch { parts: Vec::new(), cost: Cost::default() };
        let mut length = 0;
        while length < BATCH
            && let Some(Chunk { small, data, cost }) = self.0.pop_front()
        {
            length += small.len() + data.len();
            batch.cost.add(cost);
            let parts = [small.freeze(), data];
            batch.parts.extend(parts.into_iter().filter(|part| !part.is_empty()));
        }
        (!batch.parts.is_empty()).then_some(batch)
    }
}

impl Batch {
    /// Sends it as the client's window lets it; gives what it took up. `None`: the client has gone, or
    /// did not take [`PIECE`] within `limit`.
    pub(super) async fn send(
        self,
        client: Arc<ChannelWriteHalf<Msg>>,
        limit: Duration,
    ) -> Option<Cost> {
        for mut part in self.parts {
            while !part.is_empty() {
                let piece = part.split_to(part.len().min(PIECE));
                timeout(limit, client.data_bytes(piece)).await.ok()?.ok()?;
            }
        }
        Some(self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sftp::StatusCode;

    #[test]
    fn small_answers_travel_together_and_large_data_is_not_copied() {
        let status =
            || ResponseBody::Status { code: StatusCode::OK, message: Bytes::from_static(b"x") };
        let cost = Cost { read: 5, ..Cost::ONE };
        let data = Bytes::from(vec![7; 20_000]);
        let mut answers = Answers::default();
        let mut expected = BytesMut::new();
        for (id, body) in [
            (1, status()),
            (2, status()),
            (3, ResponseBody::Data(data.clone())),
            (4, ResponseBody::Data(Bytes::from_static(b"small"))),
        ] {
            Response { id, body: body.clone() }.encode(&mut expected);
            answers.push(id, body, cost);
        }
        let batch = answers.next_batch().unwrap();
        assert_eq!(batch.parts.len(), 3);
        assert_eq!(batch.parts[1].as_ptr(), data.as_ptr());
        assert_eq!(batch.parts.concat(), expected);
        assert_eq!(batch.cost, Cost { requests: 4, read: 20, ..Cost::default() });
        assert!(answers.next_batch().is_none());
    }

    #[test]
    fn a_batch_ends_where_new_answers_should_be_looked_at() {
        let mut answers = Answers::default();
        for id in 0..10 {
            let data = ResponseBody::Data(Bytes::from(vec![0; 100_000]));
            answers.push(id, data, Cost::default());
        }
        let mut batches = 0;
        while answers.next_batch().is_some() {
            batches += 1;
        }
        assert_eq!(batches, 5);
    }
}
