//! The data plane: the passive ports, who owns an arriving data connection, and the moving of bytes.

mod advertise;
mod ascii;
mod endpoint;
mod fault;
mod metrics;
mod patience;
mod ports;
mod read_ahead;
mod relay;
mod rendezvous;
mod sequenced;
mod splice;
mod view;
mod window;
mod write_behind;

pub use advertise::{Advertise, Advertised, Host, Unresolved};
pub use ascii::{FromCrlf, ToCrlf};
pub use endpoint::{Sink, Source};
pub use fault::Fault;
pub use metrics::PoolMetrics;
pub use patience::Patience;
pub use ports::{BindError, Pool, PoolSettings, Ports};
pub use read_ahead::{LEAST_AHEAD, MOST_AHEAD, ReadAhead, ReadAt};
pub use relay::{Progress, RelayError, Side, relay, send};
pub use rendezvous::{Active, Arrived, ClientMatch, Exhausted, Reservation, Wanted};
pub use sequenced::{
    Begin, Purpose, Sequenced, SequentialFile, SequentialRead, SequentialWrite, WINDOW, WriteFrom,
};
pub use view::{OF_BACKENDS, Owner, OwnerState, PoolView, PortView, Stray};
pub use window::{Budget, Share, Window};
pub use write_behind::{Behind, WriteAt, WriteBehind};
