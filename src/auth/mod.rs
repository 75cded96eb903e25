//! Who somebody is.

mod users;

pub use users::{User, UserTable};
