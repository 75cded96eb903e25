//! Authentication: passwords, public keys and certificates.

mod authorized_keys;
mod credentials;
mod identity;
mod methods;
mod password;
mod ssh_certificates;
mod users;

pub use authorized_keys::{AuthorizedKeys, BadLine, KeyRefused};
pub use credentials::{Credentials, LoginKey};
pub use identity::Identity;
pub use methods::Methods;
pub use password::{PasswordCheck, hash_password};
pub use ssh_certificates::{
    CertificateAuthority, CertificateRefused, CertificateRequest, CertificateSummary, KeyTrust,
    KrlError, MintError, NotAdmitted, PresentedKey, PublicKeys, Revoked, RevokedError, RevokedFile,
};
pub use users::{User, UserTable};
