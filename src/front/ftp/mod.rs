//! FTP and FTPS at the front (RFC 959, 2228, 2389, 2428, 3659, 4217).

mod settings;

pub use settings::{ListenerSettings, TlsPolicy, TlsSettings};
