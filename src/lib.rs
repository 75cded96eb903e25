//! lockgate, an FTP, FTPS and SFTP gateway: it terminates one protocol at the front and re-originates
//! each operation to a backend over another.
//!
//! # Layers
//!
//! From top to bottom; a module imports only from layers below its own, which `tests/layers.rs` checks.
//! `front` and `backend` do not depend on each other. See also ARCHITECTURE.md.
//!
//! | layer | what it does |
//! |---|---|
//! | [`demo`] | an FTP and an SFTP server with the gateway in front of them |
//! | [`app`], [`logging`], [`doctor`] | start-up; the log; what `check` cannot know |
//! | [`config`] | the configuration file, compiled to the settings of each module |
//! | [`admin`] | metrics, health, the admin socket and address |
//! | [`front`] | the protocols of clients: FTP, SFTP |
//! | [`session`] | the interface for fronts: login and operations, with one record each |
//! | [`audit`] | the audit's records and its outputs |
//! | [`expected`] | the files that partners are expected to deliver |
//! | [`backend`] | the servers: FTP, SFTP, a local folder |
//! | [`route`] | the backend of a session |
//! | [`policy`] | what a user may do |
//! | [`auth`] | authentication: passwords, public keys |
//! | [`data`] | the data plane: passive ports, the owners of data connections, relaying |
//! | [`net`] | sockets, TLS, SSH streams, draining |
//! | [`files`] | files that are read and written as a whole |
//! | [`wire`] | codecs without I/O, used by fronts and backends |
//! | [`op`] | the neutral model: operations, paths, entries, failures; no I/O, no protocol |
//! | [`metrics`] | registering metrics, which are kept beside what they count |
//! | [`task`] | tasks, whose log lines name the session that started them |
//!
//! # The path of a RETR
//!
//! socket → [`wire::ftp::line`] → [`wire::ftp::command`] → joined with the working directory into an
//! [`op::RemotePath`] → [`session::Session::read`] → [`policy::decide`] → `Permit` →
//! [`route::Target`] → [`backend::BackendSession::open_read`] → [`data::relay`] to the connection that
//! `data::rendezvous` matched → outcome → record → reply.
//!
//! # The path of an SFTP READ
//!
//! The OPEN before it took the same path to [`backend::BackendSession::open`] and created a handle with a
//! [`session::OpenedFile`] and its permit. Then: SSH channel → [`wire::sftp`] → handle →
//! [`session::OpenedFile::read_at`] → [`backend::OpenFile::read_at`] → DATA, in any order; CLOSE writes the
//! record.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests have no session"))]
#![cfg_attr(
    test,
    allow(
        clippy::case_sensitive_file_extension_comparisons,
        clippy::float_cmp,
        clippy::format_push_string,
        clippy::large_stack_arrays,
        clippy::too_many_lines,
        clippy::unnecessary_wraps,
        clippy::unused_async,
        reason = "tests compare what they made, and script servers"
    )
)]

pub mod admin;
pub mod app;
pub mod audit;
pub mod auth;
pub mod backend;
pub mod config;
pub mod data;
pub mod demo;
pub mod doctor;
pub mod expected;
pub mod files;
pub mod front;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod op;
pub mod policy;
pub mod route;
pub mod session;
pub mod task;
pub mod wire;
