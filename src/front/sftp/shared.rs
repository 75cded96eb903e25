//! What every connection of an SFTP listener shares.

use std::sync::Arc;

use super::settings::ListenerSettings;
use crate::net::Drain;
use crate::net::ssh::KeyExchangeLimiter;
use crate::session::{Admission, Gateway};

pub struct Shared {
    pub settings: ListenerSettings,
    pub gateway: Arc<Gateway>,
    pub admission: Arc<Admission>,
    /// The expensive key exchanges that clients have left, at all listeners together.
    pub exchanges: Arc<KeyExchangeLimiter>,
    pub drain: Drain,
}
