//! The data plane: the passive ports, who owns an arriving data connection, and the moving of bytes.

mod advertise;
mod ascii;
mod endpoint;
mod first_error;
mod metrics;
mod ports;
mod progress;
mod read_ahead;
mod relay;
mod relay_error;
mod rendezvous;
mod splice;
mod stall_timer;
mod view;
mod window;
mod write_behind;

pub use advertise::{Advertise, Advertised, Host, Unresolved};
pub use ascii::{FromCrlf, ToCrlf};
pub use endpoint::{Sink, Source};
pub use first_error::FirstError;
pub use metrics::PoolMetrics;
pub use ports::{BindError, Pool, PoolSettings, Ports};
pub use progress::Progress;
pub use read_ahead::{LEAST_AHEAD, MOST_AHEAD, ReadAhead, ReadAt};
pub use relay::{relay, send};
pub use relay_error::{RelayError, Side};
pub use rendezvous::{Active, Arrived, ClientMatch, Exhausted, Reservation, Wanted};
pub use stall_timer::StallTimer;
pub use view::{OF_BACKENDS, Owner, OwnerState, PoolView, PortView, Stray};
pub use window::{Budget, Share, Window};
pub use write_behind::{Behind, WriteAt, WriteBehind};
