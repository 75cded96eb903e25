//! TLS 1.2 and 1.3 in both roles, and session tickets that name the control session they belong to.

mod certificate;
mod certificate_error;
mod certificates;
mod chain;
mod client;
mod client_auth;
mod files;
mod hello;
mod names;
mod resumption;
mod server;
mod sessions;
mod ticket;
mod ticketer;
mod trust;

pub use certificate::{CertificateSummary, calendar_date, certificate_summaries};
pub use certificates::ServerCertificates;
pub use chain::{Chain, ChainEnd, SystemAuthorities};
pub use client::{ClientTls, ClientTlsError, SessionReuse};
pub use client_auth::{
    Authority, AuthorityError, CertificateUser, CertificateUsers, ClientAuth, ClientCertificate,
    Crl, RefusedCertificate,
};
pub use files::{CertificateAndKey, PemError, load_ca};
pub use hello::{FirstFlight, OfferedSessions};
pub use names::ServerNames;
pub use resumption::ResumptionEvidence;
pub use server::{ControlTls, DataHandshake, Direction, ServerTls};
pub use ticket::SessionId;
pub use trust::{Distrust, DistrustedCertificate};
