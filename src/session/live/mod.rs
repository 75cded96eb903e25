//! The open sessions, for operators: who does what at which rate, and how a session is ended from outside.
//! What a transfer counts is its [`Progress`](crate::data::Progress), which is read from here: nothing is
//! done, or locked, for its bytes.

mod account;
mod failures;
mod judge_slot;
mod rate;
mod registry;
mod running;
mod session;
#[cfg(test)]
mod tests;
mod throughput;
mod view;

pub use account::LiveAccount;
pub use failures::RecentFailure;
pub use registry::{LiveSessions, Registered};
pub use running::{ByteCounters, Moved};
pub use session::LiveSession;
pub use throughput::{THROUGHPUT_INTERVAL, Throughput};
pub use view::{RunningView, SessionState, SessionView};

pub(super) use failures::LOGIN;
pub(super) use running::Running;
pub(super) use session::{Connection, RunningGuard};
pub(super) use view::SessionSummary;
