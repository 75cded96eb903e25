//! What every session of an FTP listener shares.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::settings::ListenerSettings;
use crate::data::Pool;
use crate::net::Drain;
use crate::session::{Admission, Gateway, LiveSessions};

/// What the sessions of one FTP listener have in common.
pub struct Shared {
    /// The listener as configured.
    pub settings: ListenerSettings,
    /// Users, routes and backends of all listeners.
    pub gateway: Arc<Gateway>,
    /// Counts and limits the sessions of all listeners together.
    pub admission: Arc<Admission>,
    /// Shows the sessions of all listeners to operators.
    pub live: Arc<LiveSessions>,
    /// Passive ports; `None`: PASV and EPSV are refused.
    pub pool: Option<Arc<Pool>>,
    /// Cancelled when another configuration is in force.
    pub replaced: CancellationToken,
    /// Ends the sessions when the gateway stops.
    pub drain: Drain,
}
