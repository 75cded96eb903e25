//! What both SSH ends share: the algorithms and the stream under russh; and the bound on costly key
//! exchanges.

mod algorithms;
mod exchanges;
mod names;
mod queued;

pub use algorithms::{Algorithms, Base, NotAdded, Side};
pub use exchanges::{EXCHANGE_INTERVAL, EXCHANGES_MAX, Exchanges};
pub use names::{Named, every, named};
pub use queued::{Cutter, FirstBytes, HangUp, Queued};
