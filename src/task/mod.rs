//! Tasks whose log lines name the session that started them.
//!
//! A session's span is not carried into what it spawns by itself: every task of this crate is started
//! here (`clippy.toml` forbids the other ways).
#![allow(clippy::disallowed_methods, reason = "this is where they are wrapped")]

mod poll;
mod short_sleep;

pub use poll::poll_once;
pub use short_sleep::short_sleep;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

/// As [`tokio::spawn`], within the current span.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future.in_current_span())
}

/// As [`TaskTracker::spawn`], within the current span.
pub fn spawn_tracked<F>(tracker: &TaskTracker, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tracker.spawn(future.in_current_span())
}

/// As [`Handle::spawn`], within the current span: for what is dropped outside of a runtime's threads.
pub fn spawn_on<F>(runtime: &Handle, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime.spawn(future.in_current_span())
}

/// As [`tokio::task::spawn_blocking`], within the current span.
pub fn spawn_blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(call))
}

/// As [`Handle::spawn_blocking`], within the current span.
pub fn spawn_blocking_on<T: Send + 'static>(
    runtime: &Handle,
    call: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let span = Span::current();
    runtime.spawn_blocking(move || span.in_scope(call))
}
