//! FTP and FTPS at the front (RFC 959, 2228, 2389, 2428, 3659, 4217).
//!
//! `listener` accepts; each connection is one `client::Client`, whose task owns all its state:
//! the control connection, the login, the working directory, the requested data connection.
//! `commands/` has one file for each group of commands.

mod client;
mod client_state;
mod command_queue;
mod commands;
mod control;
mod data_connection;
mod handshake;
mod listener;
mod reply;
mod settings;
mod shared;

pub use listener::bind;
pub use settings::{ListenerSettings, TlsPolicy, TlsSettings};
pub use shared::Shared;
