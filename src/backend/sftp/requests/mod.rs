//! Many requests in flight over one channel (draft-ietf-secsh-filexfer-02 section 3: responses may arrive
//! in any order, requests for one file take effect in the order in which they were sent).

mod inner;
mod response;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::write_state::WriteEffect;
use crate::op::{Failure, FailureKind};
use crate::task;
use crate::wire::sftp::{PacketReader, RequestBody};
use inner::{Inner, ResponseSender};

pub(super) use response::PendingResponse;

/// Source of the server's bytes.
pub(super) trait Incoming: Send + 'static {
    /// The next bytes, or why there are no more. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Result<Bytes, String>> + Send;
}

/// Sink of the bytes for the server.
pub(super) trait Outgoing: Send + 'static {
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), String>> + Send;
}

/// Sends requests to the server. The channel is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Requests {
    inner: Arc<Inner>,
    ended: CancellationToken,
    _alive: Arc<DropGuard>,
}

impl Requests {
    /// Starts the channel's two tasks, after INIT and VERSION; `packets` may hold what arrived after
    /// VERSION. `limit`: how long the server may take for the oldest request. `ended` is cancelled when
    /// the channel has ended, and ends the channel when it is cancelled.
    pub(super) fn start(
        incoming: impl Incoming,
        outgoing: impl Outgoing,
        packets: PacketReader,
        limit: Duration,
        ended: CancellationToken,
    ) -> Self {
        let (sender, queue) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner::new(sender));
        task::spawn(tasks::send_all(outgoing, queue, inner.clone(), ended.clone()));
        task::spawn(tasks::receive_all(incoming, packets, inner.clone(), limit, ended.clone()));
        let alive = Arc::new(ended.clone().drop_guard());
        Self { inner, ended, _alive: alive }
    }

    /// Sends a request with the call.
    pub(super) fn send(&self, body: RequestBody) -> PendingResponse {
        self.send_with_effect(body, None)
    }

    /// As [`Requests::send`].
    pub(super) fn send_with_effect(
        &self,
        body: RequestBody,
        effect: Option<WriteEffect>,
    ) -> PendingResponse {
        let (request, response) = self.prepare();
        request.send(body, effect);
        response
    }

    /// As [`Requests::send`], of a request that is sent later.
    pub(super) fn prepare(&self) -> (PreparedRequest, PendingResponse) {
        let (sender, receiver) = oneshot::channel();
        let request = PreparedRequest { inner: self.inner.clone(), response: sender };
        (request, PendingResponse::new(receiver, self.inner.clone()))
    }

    /// Sends a request and ignores its response.
    pub(super) fn send_and_forget(&self, body: RequestBody) {
        self.inner.enqueue(body, None, None);
    }

    /// The pending requests may stay without a response: the channel does not end because of them.
    pub(super) fn make_pending_optional(&self) {
        self.inner.make_pending_optional();
    }

    /// The shortest round trip measured. Before the first one, a guess for a near server.
    pub(super) fn round_trip(&self) -> Duration {
        self.inner.round_trip().unwrap_or(Duration::from_millis(1))
    }

    /// Ends the channel: all pending requests fail.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }
}

/// A request that is not sent yet.
pub(super) struct PreparedRequest {
    inner: Arc<Inner>,
    response: ResponseSender,
}

impl PreparedRequest {
    pub(super) fn send(self, body: RequestBody, effect: Option<WriteEffect>) {
        self.inner.enqueue(body, Some(self.response), effect);
    }
}

pub(super) fn lost(detail: impl std::fmt::Display) -> Failure {
    Failure::backend(
        FailureKind::Unavailable,
        "the connection to the backend server is lost; log in again",
    )
    .with_detail(detail)
}
