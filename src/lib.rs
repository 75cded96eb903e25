//! lockgate, an FTP, FTPS and SFTP gateway: it terminates one protocol at the front and re-originates
//! each operation to a backend over another.
//!
//! # Layers
//!
//! From the top to the bottom; a module imports only from layers below its own, and `tests/layers.rs`
//! checks that. `front` and `backend` never know each other. ARCHITECTURE.md has more: the three
//! walks, who owns what, where new things go.
//!
//! | layer | what it does |
//! |---|---|
//! | [`demo`] | a server of each kind and the gateway before them, to be tried |
//! | [`app`], [`logging`] | opens all, binds all, then serves; the log |
//! | [`config`] | the file, compiled to each module's own settings |
//! | [`admin`] | metrics, health, the admin socket |
//! | [`front`] | what clients speak: FTP, SFTP |
//! | [`session`] | what fronts may call: login and the operations, one record each |
//! | [`backend`] | the servers behind: FTP, SFTP, a local folder |
//! | [`route`] | where a session goes |
//! | [`policy`] | what somebody may do |
//! | [`auth`] | who somebody is: passwords, public keys |
//! | [`data`] | the data plane: passive ports, who owns a data connection, moving bytes |
//! | [`net`] | sockets, TLS, what both ends of SSH share, draining |
//! | [`wire`] | codecs without I/O, used by fronts and backends |
//! | [`op`] | the neutral model: operations, paths, entries, failures; no I/O, no protocol's name |
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
