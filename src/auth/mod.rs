//! Authentication: passwords, public keys and certificates; the guard against guessing.

mod authorized_keys;
mod cost_sets;
mod credentials;
mod guard;
mod hash;
pub mod hook;
mod identity;
pub mod import;
mod methods;
mod password;
mod password_queue;
mod source;
mod ssh_certificates;
mod users;

pub use authorized_keys::{AuthorizedKeys, BadLine, KeyRefused};
pub use credentials::{Credentials, LoginKey, PasswordSent};
pub use guard::{Ban, CarriedGuard, GuardSettings, LoginGuard};
pub use hash::{Cost, HashError, HashKind, PASSWORD_MAX, PasswordHash, Scheme, hash_password};
pub use identity::Identity;
pub use methods::Methods;
pub use password::PasswordCheck;
pub use password_queue::Place;
pub use source::Source;
pub use ssh_certificates::{
    CertificateAuthority, CertificateRefused, CertificateRequest, CertificateSummary, KeyTrust,
    KrlError, MintError, NotAdmitted, PresentedKey, PublicKeys, Revoked, RevokedError, RevokedFile,
};
pub use users::{User, UserCertificate, UserTable};
