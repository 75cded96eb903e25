use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The future's value if it is there at once; else the future is dropped, so it must be cancel safe.
pub fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
