//! Routing: the backend and root of a session, chosen at login.

mod table;
mod target;

pub use table::{Access, Match, Root, Route, RouteTable};
pub use target::Target;
