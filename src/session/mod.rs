//! The fronts' only doors: [`Gateway::login`], which finds out who somebody is and chooses the route
//! once, and the operations of [`Session`], which ask the policy, call the backend and write one
//! record each.

mod admission;
mod client_refusal;
mod end;
mod gateway;
mod limits;
mod opened_file;
mod outages;
mod record;
mod root;
#[cfg(test)]
mod tests;
mod transfers;
mod unfinished;
mod user_session;
mod veil;

pub use admission::{Admission, Refusal, Seat};
pub use client_refusal::ClientRefusal;
pub use end::{EndSlot, SessionEnd};
pub use gateway::{Door, Gateway, Proof};
pub use limits::Limits;
pub use opened_file::OpenedFile;
pub use record::{Metrics, OpenSession};
pub use transfers::{Download, FolderListing, Upload};
pub use user_session::Session;
