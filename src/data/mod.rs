//! The data plane: the passive ports, the matching of data connections to reservations, and the moving of
//! bytes.

mod advertise;
mod ascii;
mod budget;
mod content_hash;
mod endpoint;
mod metrics;
mod ports;
mod progress;
mod relay;
mod relay_error;
mod rendezvous;
mod splice;
mod stall_timer;
mod throttle;
mod view;

pub use advertise::{Advertise, Advertised, Host, Unresolved};
pub use ascii::{FromCrlf, ToCrlf};
pub use budget::{Budget, Share};
pub use content_hash::Sha256;
pub use endpoint::{Sink, Source};
pub use metrics::PoolMetrics;
pub use ports::{BindError, Pool, PoolSettings, Pools, Ports};
pub use progress::Progress;
pub use relay::{relay, send};
pub use relay_error::{RelayError, Side};
pub use rendezvous::{ActiveGuard, Arrived, ClientMatch, Exhausted, PortRequest, Reservation};
pub use stall_timer::StallTimer;
pub use throttle::{BANDWIDTH_MAX, BANDWIDTH_MIN, Throttle};
pub use view::{BACKEND_SESSION_BASE, Owner, OwnerState, PoolView, PortView, Stray};
