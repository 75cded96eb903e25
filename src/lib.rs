//! lockgate, an FTP and FTPS gateway: it terminates one protocol at the front and re-originates each
//! operation to a backend over another.
//!
//! # The floors
//!
//! A floor imports only floors above it in this list. `front` and `backend` never know each other.
//!
//! | floor | room |
//! |---|---|
//! | [`op`] | the neutral model: operations, paths, entries, failures; no I/O, no protocol's name |
//! | [`wire`] | sans-I/O codecs, used by fronts and backends |
//! | [`net`] | sockets, TLS, draining |
//! | [`data`] | the data plane: passive ports, who owns a data connection, moving bytes |
//! | [`auth`] | who somebody is |
//! | [`policy`] | what they may do |
//! | [`route`] | where it goes |
//! | [`backend`] | the servers behind: FTP, a local folder |
//! | [`session`] | the fronts' only doors: login and the operations, one record each |
//! | [`front`] | what clients speak |
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
