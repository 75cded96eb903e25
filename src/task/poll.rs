//! Polling a future once.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The future's value if it is ready; otherwise the future is dropped, so it must be cancel safe. Not
/// limited by tokio's cooperative budget.
pub fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(tokio::task::coop::unconstrained(future))
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
