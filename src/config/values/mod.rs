//! The kinds of values that keys have.

mod common;
mod net;
mod ssh;
mod words;

pub(super) use common::{Argon2id, Bytes, Count, FileName, Positive, Text, UpTo, UserGlob};
pub(super) use net::{HostPort, PortOffset, PortRange};
pub(super) use ssh::{AlgorithmName, Fingerprint, RekeyBytes};
pub(super) use words::{
    Authenticate, BackendProtocol, BackendTlsMode, DataSessions, ListenerProtocol, ListenerTlsMode,
};
