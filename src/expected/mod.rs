//! Files that partners are expected to deliver (`expect`): what has arrived in each window, and what is
//! overdue.

mod carried;
mod entry;
mod expectation;
mod file_key;
mod files;
mod metrics;
mod saved;
mod schedule;
mod state_file;
mod tally;
#[cfg(test)]
mod tests;
mod view;

pub use carried::{CarriedArrival, CarriedFiles};
pub use expectation::Expectation;
pub use files::{ExpectedFiles, SessionFiles};
pub use metrics::register_metrics;
pub use schedule::Schedule;
pub use tally::{FILES_MAX, LastFile, State};
pub use view::ExpectedView;
