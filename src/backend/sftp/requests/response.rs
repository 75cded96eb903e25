//! The response to a request, as a future.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::inner::{Inner, TimedResponse};
use crate::op::{Failure, FailureKind};
use crate::wire::sftp::{RequestBody, ResponseBody};

/// If it is dropped before the response arrives, a handle in the response is closed.
pub(in crate::backend::sftp) struct PendingResponse {
    receiver: oneshot::Receiver<Result<TimedResponse, Failure>>,
    inner: Option<Arc<Inner>>,
}

impl PendingResponse {
    pub(super) fn new(
        receiver: oneshot::Receiver<Result<TimedResponse, Failure>>,
        inner: Arc<Inner>,
    ) -> Self {
        Self { receiver, inner: Some(inner) }
    }

    /// As the future itself, and with the time when the response arrived, however late it is polled.
    pub(in crate::backend::sftp) async fn timed(mut self) -> Result<TimedResponse, Failure> {
        std::future::poll_fn(|cx| self.poll_timed(cx)).await
    }

    fn poll_timed(&mut self, cx: &mut Context<'_>) -> Poll<Result<TimedResponse, Failure>> {
        let response = ready!(Pin::new(&mut self.receiver).poll(cx));
        let inner = self.inner.take();
        Poll::Ready(response.unwrap_or_else(|_| {
            let ended = inner.and_then(|inner| inner.ended());
            Err(ended.unwrap_or_else(|| {
                let message = "the upload was aborted before this was sent";
                Failure::gateway(FailureKind::Aborted, message)
            }))
        }))
    }
}

impl Future for PendingResponse {
    type Output = Result<ResponseBody, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_timed(cx).map_ok(|(body, _)| body)
    }
}

impl Drop for PendingResponse {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        self.receiver.close();
        if let Ok(Ok((ResponseBody::Handle(handle), _))) = self.receiver.try_recv() {
            inner.enqueue(RequestBody::Close { handle }, None, None);
        }
    }
}
