//! The data plane: the passive ports, who owns an arriving data connection, and the moving of bytes.

mod ascii;
mod endpoint;
mod ports;

pub use ascii::{FromCrlf, ToCrlf};
pub use endpoint::{Sink, Source};
pub use ports::{Advertise, PoolSettings, Ports};
