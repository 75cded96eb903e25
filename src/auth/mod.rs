//! Authentication: passwords and public keys.

mod authorized_keys;
mod credentials;
mod identity;
mod password;
mod users;

pub use authorized_keys::{AuthorizedKeys, BadLine, KeyRefused};
pub use credentials::Credentials;
pub use identity::Identity;
pub use password::{PasswordCheck, hash_password};
pub use users::{User, UserCertificate, UserTable};
