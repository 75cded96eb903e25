//! What every session of an FTP listener shares.

use std::sync::Arc;

use super::settings::ListenerSettings;
use crate::data::Pool;
use crate::net::Drain;
use crate::session::{Admission, Gateway};

pub struct Shared {
    pub settings: ListenerSettings,
    pub gateway: Arc<Gateway>,
    pub admission: Arc<Admission>,
    /// Passive ports; `None`: PASV and EPSV are refused.
    pub pool: Option<Arc<Pool>>,
    pub drain: Drain,
}
