//! Authentication: passwords and public keys; the guard against guessing.

mod authorized_keys;
mod cost_sets;
mod credentials;
mod guard;
mod hash;
pub mod hook;
mod identity;
pub mod import;
mod live_gauge;
mod password;
mod password_queue;
mod source;
mod users;

pub use authorized_keys::{AuthorizedKeys, BadLine, KeyRefused};
pub use credentials::Credentials;
pub use guard::{Ban, GuardSettings, LoginGuard};
pub use hash::{Cost, HashError, HashKind, PasswordHash, Scheme, hash_password};
pub use identity::Identity;
pub use password::PasswordCheck;
pub use password_queue::Place;
pub use source::Source;
pub use users::{User, UserCertificate, UserTable};
