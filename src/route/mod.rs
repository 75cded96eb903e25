//! Routing: the backend and root of a session, chosen at login.

mod choice;
mod root;
mod table;
mod target;

pub use choice::{Choice, Chosen, LoginRequest};
pub use root::{Root, RootSetting, USER_PLACEHOLDER, UserFolder, UserFolderError};
pub use table::{Access, Backends, Match, Mismatch, Route, RouteBackend, RouteTable};
pub use target::Target;
