//! A request of an open file that is under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::op::Failure;

/// A request that is under way: it took its place among the file's requests when the call returned,
/// before it is first polled. Polling waits for its answer only; dropped, it is carried out all the same
/// or not at all.
#[must_use = "a request's outcome must be looked at"]
pub struct InFlight<T>(BoxFuture<'static, Result<T, Failure>>);

impl<T> InFlight<T> {
    /// `answer` must not put off to its first poll what decides the request's place.
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
