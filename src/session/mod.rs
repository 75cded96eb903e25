//! The fronts' only doors: login and perform.

mod limits;

pub use limits::Limits;
