//! Codecs without I/O, used by fronts and backends.

pub mod first_bytes;
pub mod ftp;
pub mod proxy;
pub mod sftp;
pub mod ssh;
pub mod ssh_disconnect;
