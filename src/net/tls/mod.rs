//! TLS 1.2 and 1.3 in both roles, and the tickets that tell whose session a data connection resumes.

mod client;
mod files;
mod server;
mod ticket;

pub use client::{ClientTls, ClientTlsError, SessionReuse};
pub use files::{PemError, ServerCertificate, load_ca};
pub use server::{ControlTls, Direction, ServerTls};
