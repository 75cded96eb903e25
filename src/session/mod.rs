//! Sessions: all that fronts may use. [`Gateway::login`] authenticates a user and chooses the
//! route; each operation of [`Session`] checks the policy, calls the backend and writes one record.

mod admission;
mod client_info;
mod client_refusal;
mod core;
mod counted_users;
mod end;
mod explain;
mod gateway;
mod limits;
mod live;
mod login_basis;
mod login_hooks;
mod login_record;
mod metrics;
pub mod numbers;
mod open_uploads;
mod opened_file;
mod outages;
mod outcome_class;
mod path_masking;
mod proof;
mod record;
mod record_line;
mod relayed;
mod rewritten;
mod root;
mod rules;
mod session_info;
mod session_record;
mod size_limit;
#[cfg(test)]
mod tests;
mod transfers;
mod user_session;
mod write_limit;

pub use admission::{Admission, AdmissionPermit, Refusal};
pub use client_info::ClientInfo;
pub use client_refusal::ClientRefusal;
pub use counted_users::ShownUsers;
pub use end::{EndSlot, SessionEnd};
pub use explain::{Explained, ExplainedLogin, ExplainedPolicy, Query};
pub use gateway::{BANNED, Gateway, ListenerDemands, PasswordNeed};
pub use limits::Limits;
pub use live::{
    ByteCounters, LiveAccount, LiveSession, LiveSessions, Moved, RecentFailure, Registered,
    RunningView, SessionState, SessionView, THROUGHPUT_INTERVAL, Throughput,
};
pub use login_hooks::LoginHooks;
pub use metrics::{Channel, EndedTransfer, ListenerScope, Metrics, MetricsScope, SessionLabels};
pub use opened_file::OpenedFile;
pub use proof::{Password, Proof};
pub use relayed::RelayedDownload;
pub use transfers::{DirectoryListing, Download, Upload};
pub use user_session::Session;
