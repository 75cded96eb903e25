//! Sockets and TLS: what every front and backend stands on, without any protocol's words.

mod stream;
pub mod tls;

pub use stream::{Stream, prepare};
