//! Where an operation goes: backend and root, chosen once at login.

mod table;
mod target;

pub use table::{Access, Match, Root, Route, RouteTable};
pub use target::Target;
