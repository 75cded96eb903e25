//! Sockets, TLS, SSH streams and draining, shared by fronts and backends; no file transfer protocol.

mod accept;
mod bind;
mod buffered;
mod connect;
mod drain;
mod file_stamp;
mod listen;
mod listening;
mod poll;
mod protection;
mod proxy_protocol;
mod round_trip;
mod short_sleep;
mod sockets;
pub mod ssh;
mod stream;
pub mod task;
pub mod tls;
mod undelivered;
mod weak_map;

pub use accept::accept;
pub use bind::{bind, listen};
pub use connect::{Connector, Connectors, connect_from};
pub use drain::{Drain, DrainPhase, DrainSettings};
pub use file_stamp::FileStamp;
pub use listen::{ListenError, Listener};
pub use listening::{ListeningSocket, listening_sockets};
pub use poll::poll_once;
pub use protection::{Peer, Protection, Protocol};
pub use proxy_protocol::{Endpoints, HeaderKind, ProxyHeader, ProxyProtocol, Refusal};
pub use round_trip::round_trip;
pub use short_sleep::short_sleep;
pub use sockets::{SocketOwner, Sockets};
pub use stream::{Stream, prepare, reset_on_drop};
pub use undelivered::undelivered;
pub use weak_map::WeakMap;
