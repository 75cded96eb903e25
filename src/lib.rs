//! lockgate, an FTP, FTPS and SFTP gateway: it terminates one protocol at the front and re-originates
//! each operation to a backend over another.
//!
//! # The floors
//!
//! A floor imports only floors above it in this list. `front` and `backend` never know each other.
//!
//! | floor | room |
//! |---|---|
//! | [`op`] | the neutral model: operations, paths, entries, failures; no I/O, no protocol's name |
//! | [`wire`] | sans-I/O codecs, used by fronts and backends |
//! | [`net`] | sockets, TLS, what both ends of SSH share, draining |
//! | [`data`] | the data plane: passive ports, who owns a data connection, moving bytes; between files read in order and files read anywhere |
//! | [`auth`] | who somebody is: passwords, public keys |
//! | [`policy`] | what they may do |
//! | [`route`] | where it goes |
//! | [`backend`] | the servers behind: FTP, SFTP, a local folder |
//! | [`session`] | the fronts' only doors: login and the operations, one record each |
//! | [`front`] | what clients speak: FTP, SFTP |
//! | [`admin`] | metrics and health |
//! | [`config`] | the file, compiled to each module's own settings |
//! | [`app`] | make all, bind all, then serve |
//!
//! # The walk of one RETR
//!
//! socket → [`wire::ftp::line`] → [`wire::ftp::command`] → joined with the working directory into an
//! [`op::RemotePath`] → [`session::Session::read`] → [`policy::decide`] → `Permit` →
//! [`route::Target`] → [`backend::BackendSession::open_read`] → [`data::relay`] to the connection that
//! `data::rendezvous` matched → outcome → record → reply.
//!
//! # The walk of one SFTP READ
//!
//! The OPEN before it took the same way down to [`backend::BackendSession::open`] and left a
//! [`session::OpenedFile`] under a handle, with the permit that it was opened with. Then: SSH channel
//! → [`wire::sftp`] → handle → [`session::OpenedFile::read_at`] → [`backend::OpenFile::read_at`] → DATA, in
//! whatever order answers come; CLOSE writes the record.
#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod auth;
pub mod backend;
pub mod config;
pub mod data;
pub mod demo;
pub mod front;
pub mod logging;
pub mod net;
pub mod op;
pub mod policy;
pub mod route;
pub mod session;
pub mod wire;
