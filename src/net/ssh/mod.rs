//! What both SSH ends share: the algorithms and the stream under russh.

mod algorithms;
mod queued;

pub use algorithms::{legacy, modern};
pub use queued::{Cutter, Queued};
