//! Responses to a client, combined into fewer SSH packets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::time::timeout;

use super::budget::Usage;
use crate::wire::sftp::{Response, ResponseBody, encode_data_header};

/// Larger file data is sent without a copy.
const COPIED_DATA_MAX: usize = 8 * 1024;
/// Small responses are combined up to this size.
const CHUNK_SIZE: usize = 32 * 1024;
/// What a client must accept within the stall timeout: a slow client is not a stalled one.
const WRITE_SIZE: usize = 64 * 1024;
/// Bytes that are sent before new responses are considered.
const BATCH_SIZE: usize = 128 * 1024;

#[derive(Default)]
pub(super) struct ResponseQueue(VecDeque<Chunk>);

/// Consecutive responses: headers and small ones, then the data of the last one, if it is large.
#[derive(Default)]
struct Chunk {
    small: BytesMut,
    data: Bytes,
    usage: Usage,
}

/// Responses that are sent together.
pub(super) struct Batch {
    parts: Vec<Bytes>,
    usage: Usage,
}

impl ResponseQueue {
    pub(super) fn push(&mut self, id: u32, body: ResponseBody, usage: Usage) {
        let chunk = match self.0.back_mut() {
            Some(chunk) if chunk.data.is_empty() && chunk.small.len() < CHUNK_SIZE => chunk,
            _ => {
                self.0.push_back(Chunk::default());
                let Some(chunk) = self.0.back_mut() else { return };
                chunk
            }
        };
        chunk.usage.add(usage);
        match body {
            ResponseBody::Data(data) if data.len() > COPIED_DATA_MAX => {
                encode_data_header(id, data.len(), &mut chunk.small);
                chunk.data = data;
            }
            body => Response { id, body }.encode(&mut chunk.small),
        }
    }

    /// Adds the VERSION packet, which responses no request.
    pub(super) fn push_version(&mut self, small: BytesMut) {
        self.0.push_back(Chunk { small, ..Chunk::default() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Batch { parts: Vec::new(), usage: Usage::default() };
        let mut length = 0;
        while length < BATCH_SIZE
            && let Some(Chunk { small, data, usage }) = self.0.pop_front()
        {
            length += small.len() + data.len();
            batch.usage.add(usage);
            let parts = [small.freeze(), data];
            batch.parts.extend(parts.into_iter().filter(|part| !part.is_empty()));
        }
        (!batch.parts.is_empty()).then_some(batch)
    }
}

/// Why a response was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSent {
    /// The channel or the connection has ended.
    Closed,
    /// The client did not accept [`WRITE_SIZE`] bytes within the limit.
    Stalled,
}

impl Batch {
    /// Sends the batch as the client's window allows, and returns its usage.
    pub(super) async fn send(
        self,
        client: Arc<ChannelWriteHalf<Msg>>,
        limit: Duration,
    ) -> Result<Usage, NotSent> {
        for mut part in self.parts {
            while !part.is_empty() {
                let data = part.split_to(part.len().min(WRITE_SIZE));
                let sent = timeout(limit, client.data_bytes(data)).await;
                sent.map_err(|_| NotSent::Stalled)?.map_err(|_| NotSent::Closed)?;
            }
        }
        Ok(self.usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::sftp::StatusCode;

    #[test]
    fn small_responses_are_combined_and_large_data_is_not_copied() {
        let status =
            || ResponseBody::Status { code: StatusCode::OK, message: Bytes::from_static(b"x") };
        let usage = Usage { response_bytes: 5, ..Usage::ONE_REQUEST };
        let data = Bytes::from(vec![7; 20_000]);
        let mut responses = ResponseQueue::default();
        let mut expected = BytesMut::new();
        for (id, body) in [
            (1, status()),
            (2, status()),
            (3, ResponseBody::Data(data.clone())),
            (4, ResponseBody::Data(Bytes::from_static(b"small"))),
        ] {
            Response { id, body: body.clone() }.encode(&mut expected);
            responses.push(id, body, usage);
        }
        let batch = responses.next_batch().unwrap();
        assert_eq!(batch.parts.len(), 3);
        assert_eq!(batch.parts[1].as_ptr(), data.as_ptr());
        assert_eq!(batch.parts.concat(), expected);
        assert_eq!(batch.usage, Usage { requests: 4, response_bytes: 20, ..Usage::default() });
        assert!(responses.next_batch().is_none());
    }

    #[test]
    fn a_batch_ends_at_the_batch_size() {
        let mut responses = ResponseQueue::default();
        for id in 0..10 {
            let data = ResponseBody::Data(Bytes::from(vec![0; 100_000]));
            responses.push(id, data, Usage::default());
        }
        let mut batches = 0;
        while responses.next_batch().is_some() {
            batches += 1;
        }
        assert_eq!(batches, 5);
    }
}
