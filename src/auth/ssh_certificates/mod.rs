//! OpenSSH certificates (PROTOCOL.certkeys): those of users, whom authorities vouch for, and those that the
//! gateway signs itself.

mod authority;
mod check;
mod krl;
mod minted;
mod revoked;
mod summary;
#[cfg(test)]
mod tests;
mod trust;

pub use authority::PublicKeys;
pub use check::CertificateRefused;
pub use krl::KrlError;
pub use minted::{CertificateAuthority, CertificateRequest, MintError};
pub use revoked::{Revoked, RevokedError, RevokedFile};
pub use summary::CertificateSummary;
pub use trust::{KeyTrust, NotAdmitted, PresentedKey};
