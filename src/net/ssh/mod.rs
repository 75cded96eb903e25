//! What both SSH ends share: the algorithms and the stream under russh.

mod algorithms;
mod queued;

pub use algorithms::{client, describe, is_modern_signature, legacy_client, server};
pub use queued::{Cutter, FirstBytes, HangUp, Queued};
