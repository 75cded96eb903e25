//! The data plane: the passive ports, who owns an arriving data connection, and the moving of bytes.

mod ascii;
mod endpoint;
mod metrics;
mod ports;
mod relay;
mod rendezvous;
mod sequenced;
mod splice;

pub use ascii::{FromCrlf, ToCrlf};
pub use endpoint::{Sink, Source};
pub use metrics::PoolMetrics;
pub use ports::{Advertise, BindError, Pool, PoolSettings, Ports};
pub use relay::{Progress, RelayError, Side, relay};
pub use rendezvous::{Active, Exhausted, Reservation};
pub use sequenced::{
    Begin, Purpose, Sequenced, SequentialFile, SequentialRead, SequentialWrite, WINDOW, WriteFrom,
};
