//! A request of an open file that is in flight.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::op::Failure;

/// A request in flight. Its position in the file's queue is fixed when the call returns,
/// before it is first polled. Polling only waits for its answer. If it is dropped, the request is still
/// performed, or not at all.
#[must_use = "a request's outcome must be looked at"]
pub struct InFlight<T>(BoxFuture<'static, Result<T, Failure>>);

impl<T> InFlight<T> {
    /// The request's position must not depend on the first poll of `answer`.
    pub fn new(answer: BoxFuture<'static, Result<T, Failure>>) -> Self {
        Self(answer)
    }
}

impl<T> Future for InFlight<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}
