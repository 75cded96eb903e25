//! The SFTP front: SSH (RFC 4251-4254) with the one subsystem `sftp`, version 3.

mod settings;

pub use settings::ListenerSettings;
