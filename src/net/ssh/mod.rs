//! What both SSH ends share: the algorithms and the stream under russh.

mod algorithms;
mod queued;

pub use algorithms::{client, legacy_client, server};
pub use queued::{Cutter, HangUp, Queued};
