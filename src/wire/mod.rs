//! Sans-I/O codecs, used by fronts and backends alike. They decide; sockets are elsewhere.

pub mod first_bytes;
pub mod ftp;
pub mod proxy;
pub mod sftp;
pub mod ssh;
