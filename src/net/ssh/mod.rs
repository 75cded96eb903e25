//! Shared by SFTP fronts and backends: SSH algorithms, the stream under russh, and the limit on costly key
//! exchanges.

mod algorithms;
mod limiter;
mod names;
mod queued_stream;

pub use algorithms::{AddError, Algorithms, Base, Side};
pub use limiter::{EXCHANGE_INTERVAL, EXCHANGES_MAX, KeyExchangeLimiter};
pub use names::{NamedAlgorithm, algorithm_by_name, all_algorithms};
pub use queued_stream::{AbortHandle, FirstBytes, PeerClosed, QueuedStream};
