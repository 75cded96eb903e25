//! The data plane: the passive ports, who owns an arriving data connection, and the moving of bytes.

mod endpoint;
mod ports;

pub use endpoint::{Sink, Source};
pub use ports::{Advertise, PoolSettings, Ports};
