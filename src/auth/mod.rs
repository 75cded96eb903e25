//! Who somebody is.

mod identity;
mod password;
mod users;

pub use identity::Identity;
pub use password::{PasswordCheck, hash_password};
pub use users::{User, UserTable};
