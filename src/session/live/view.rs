//! What operators see of an open session.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::account::LiveAccount;
use crate::net::Protection;
use crate::op::Direction;

/// Operations, and transfers, that are listed for one session; the counts include all.
pub(super) const LISTED_MAX: usize = 20;

/// An open session at one moment. Names and paths are the client's: not escaped, not cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its number in the log and in the audit.
    pub session: u64,
    /// The listener's name in the configuration.
    pub listener: String,
    /// `ftp`, `ftps`, `sftp`.
    pub protocol: &'static str,
    /// The client's address and port; from the PROXY protocol header where the listener requires one.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The proxy that the connection comes from.
    pub proxy: Option<SocketAddr>,
    /// Version and algorithms of TLS or SSH; `None`: in clear, or not negotiated yet.
    pub encryption: Option<Protection>,
    /// The client program, from its SSH identification.
    pub software: Option<String>,
    /// That the client sent under TLS (SNI).
    pub server_name: Option<String>,
    /// Since when it is connected.
    pub since: SystemTime,
    /// The same, as a duration.
    pub duration: Duration,
    /// What it does.
    pub state: SessionState,
    /// How long it has done nothing; `None` while it does something.
    pub idle: Option<Duration>,
    /// Whether a login has succeeded.
    pub logged_in: bool,
    /// The user; before the login has succeeded, whom the client last tried to be.
    pub account: Option<LiveAccount>,
    /// Operations that are not transfers of files, oldest first, at most twenty.
    pub operations: Vec<RunningView>,
    /// All of them.
    pub operations_running: usize,
    /// Transfers of files, and files that are open, oldest first, at most twenty.
    pub transfers: Vec<RunningView>,
    /// All of them.
    pub transfers_running: usize,
    /// Bytes of files from the client, since it connected.
    pub uploaded: u64,
    /// Bytes of files to the client.
    pub downloaded: u64,
    /// Bytes a second from the client, over the last seconds.
    pub upload_rate: u64,
    /// Bytes a second to the client.
    pub download_rate: u64,
    /// Why it is going to end, in words.
    pub ending: Option<String>,
}

/// An open session, for metrics.
pub(in crate::session) struct SessionSummary {
    /// `ftp`, `ftps`, `sftp`.
    pub(in crate::session) protocol: &'static str,
    pub(in crate::session) state: SessionState,
    /// The backend's name; empty before the login.
    pub(in crate::session) backend: String,
    /// `None` before the login.
    pub(in crate::session) user: Option<Vec<u8>>,
    /// Running transfers, and open files.
    pub(in crate::session) uploads: usize,
    pub(in crate::session) downloads: usize,
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// No login has succeeded yet, and none is tried at the moment.
    BeforeLogin,
    /// A login is being checked, by the gateway or the backend.
    LoggingIn,
    /// Logged in; nothing is running.
    Idle,
    /// At least one operation is running, and no transfer.
    Busy,
    /// At least one transfer is running, or file is open.
    Transferring,
    /// It ends at once.
    Ending,
}

/// An operation or a transfer at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningView {
    /// The name in the log.
    pub operation: &'static str,
    /// As the client sees it.
    pub path: Vec<u8>,
    /// The second path, or the target of a symlink.
    pub to: Option<Vec<u8>>,
    /// Of file data; `None` without.
    pub direction: Option<Direction>,
    /// Bytes that it will have moved at its end, where the backend has told.
    pub size: Option<u64>,
    /// Since when it runs.
    pub since: SystemTime,
    /// The same, as a duration.
    pub duration: Duration,
    /// Bytes moved so far, in its direction.
    pub bytes: u64,
    /// Bytes read from a file that is open for reading and writing.
    pub bytes_read: u64,
    /// Bytes a second, over the last seconds.
    pub rate: u64,
}

impl SessionState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::BeforeLogin,
        Self::LoggingIn,
        Self::Idle,
        Self::Busy,
        Self::Transferring,
        Self::Ending,
    ];

    /// The name for operators.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeLogin => "before-login",
            Self::LoggingIn => "logging-in",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Transferring => "transferring",
            Self::Ending => "ending",
        }
    }
}
