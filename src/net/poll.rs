use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The future's value if it is there at once; else the future is dropped, so it must be cancel safe.
/// A task that has used up its turn is told the truth, too.
pub fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(tokio::task::coop::unconstrained(future))
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
