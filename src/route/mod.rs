//! Routing: the backend and root of a session, chosen at login.

mod root;
mod table;
mod target;

pub use root::{Root, RootSetting, USER_PLACEHOLDER, UserFolder, UserFolderError};
pub use table::{Access, Match, Route, RouteTable};
pub use target::Target;
