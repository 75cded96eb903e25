//! The fronts' only doors: [`Gateway::login`], which finds out who somebody is and chooses the route
//! once, and the operations of [`Session`], which ask the policy, call the backend and write one
//! record each.

mod admission;
mod client_info;
mod client_refusal;
mod core;
mod end;
mod gateway;
mod limits;
mod login_record;
mod metrics;
mod opened_file;
mod outages;
mod path_masking;
mod record;
mod record_line;
mod root;
mod session_info;
mod session_record;
#[cfg(test)]
mod tests;
mod transfers;
mod unfinished;
mod user_session;

pub use admission::{Admission, AdmissionPermit, Refusal};
pub use client_info::ClientInfo;
pub use client_refusal::ClientRefusal;
pub use end::{EndSlot, SessionEnd};
pub use gateway::{Gateway, Proof};
pub use limits::Limits;
pub use metrics::{Metrics, OpenSession};
pub use opened_file::OpenedFile;
pub use transfers::{Download, FolderListing, Upload};
pub use user_session::Session;
