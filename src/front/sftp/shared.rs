//! What every connection of an SFTP listener shares.

use std::sync::Arc;

use super::settings::ListenerSettings;
use crate::net::Drain;
use crate::net::ssh::KeyExchangeLimiter;
use crate::session::{Admission, Gateway, LiveSessions};

/// What the connections of one SFTP listener have in common.
pub struct Shared {
    /// The listener as configured.
    pub settings: ListenerSettings,
    /// Users, routes and backends of all listeners.
    pub gateway: Arc<Gateway>,
    /// Counts and limits the sessions of all listeners together.
    pub admission: Arc<Admission>,
    /// Shows the connections of all listeners to operators.
    pub live: Arc<LiveSessions>,
    /// The expensive key exchanges that clients have left, at all listeners together.
    pub exchanges: Arc<KeyExchangeLimiter>,
    /// Ends the connections when the gateway stops.
    pub drain: Drain,
}
