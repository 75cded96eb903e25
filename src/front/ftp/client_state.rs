//! What a client's session remembers between commands.

use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::data_connection::RequestedConnection;
use crate::op::{RemotePath, Representation};
use crate::session::Session;
use crate::wire::ftp::relayed::DataForm;

/// The state of the login (RFC 959 section 6).
pub(super) enum LoginState {
    Initial,
    /// Waits for PASS.
    User(Vec<u8>),
    /// Waits for ACCT, which the backend requires.
    Account(Vec<u8>, Zeroizing<Vec<u8>>),
    LoggedIn(Box<LoggedIn>),
}

pub(super) struct LoggedIn {
    pub(super) session: Session,
    pub(super) directory: RemotePath,
    pub(super) rename_from: Option<RemotePath>,
    pub(super) relayed: RelayedState,
    /// Without PASS.
    pub(super) by_certificate: bool,
}

/// What is known of the state of an opaque server.
#[derive(Default)]
pub(super) struct RelayedState {
    /// The argument of an RNFR that was the last command.
    pub(super) rename_from: Option<Vec<u8>>,
    pub(super) form: DataForm,
}

/// The parameters of the next transfer.
pub(super) struct TransferState {
    pub(super) representation: Representation,
    pub(super) restart: u64,
    pub(super) requested: Option<RequestedConnection>,
    /// EPSV ALL (RFC 2428 section 4).
    pub(super) epsv_only: bool,
    /// The data connection of the last download, of which all is sent; the client may still receive.
    pub(super) sent: Option<TcpStream>,
}

impl Default for TransferState {
    fn default() -> Self {
        // RFC 959 section 5.1: the default is ASCII.
        Self {
            representation: Representation::Ascii,
            restart: 0,
            requested: None,
            epsv_only: false,
            sent: None,
        }
    }
}

/// Whether the session continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Close,
}
