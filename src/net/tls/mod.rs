//! TLS 1.2 and 1.3 in both roles, and the tickets that tell whose session a data connection resumes.

mod certificate;
mod client;
mod files;
mod hello;
mod server;
mod sessions;
mod standing;
mod ticket;
mod ticketer;
mod trust;

pub use certificate::{CertificateSummary, calendar_date, certificate_summaries};
pub use client::{ClientTls, ClientTlsError, SessionReuse};
pub use files::{PemError, ServerCertificate, load_ca};
pub use hello::{FirstFlight, Offered};
pub use server::{ControlTls, Direction, ServerTls};
pub use standing::Standing;
pub use ticket::SessionId;
pub use trust::{Distrust, DistrustedCertificate};
