//! The kinds of values that keys have.

mod common;
mod net;
mod words;

pub(super) use common::{Argon2id, Count, FileName, Positive, Text, UserGlob};
pub(super) use net::{HostPort, PortRange};
pub(super) use words::{
    Authenticate, BackendProtocol, BackendTlsMode, DataSessions, ListenerProtocol, ListenerTlsMode,
};
