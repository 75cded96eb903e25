//! The types of values.

mod audit;
mod choices;
mod common;
mod expect;
mod hook;
mod limits;
mod net;
mod password;
mod policy;
mod root;
mod route;
mod ssh;

pub(super) use audit::SyslogTls;
pub(super) use choices::{
    Authenticate, BackendProtocol, BackendTlsMode, ClientCertificateMode, DataSessions,
    ListenerProtocol, ListenerTlsMode, Method, OnReload,
};
pub(super) use common::{Bytes, Count, FileName, PathName, Positive, Text, UpTo, UserGlob};
pub(super) use expect::TimeOfDay;
pub(super) use hook::{HookPath, HookUrl};
pub(super) use limits::{Bandwidth, DailyBytes};
pub(super) use net::{
    AdvertisedHost, HostPort, INDEX_PLACEHOLDER, PortOffset, PortRange, ServerNamePattern,
    parse_host,
};
pub(super) use policy::{Days, Extension, Hours, NameGlob, OperationWord};
pub(super) use ssh::{AlgorithmName, Fingerprint, RekeyBytes, Validity};
