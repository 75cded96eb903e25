//! The SFTP front: SSH (RFC 4251-4254) with the one subsystem `sftp`, version 3
//! (draft-ietf-secsh-filexfer-02).
//!
//! `listener` accepts; each SSH connection is one `connection::Connection`, whose task watches
//! deadlines and the drain. russh calls `handler` for authentication (`auth`) and channels. Each
//! SFTP channel is one `channel::Channel`, whose task owns its handles and requests; all channels
//! of a connection share one session. `requests/` has one file for each group of requests;
//! `path_order` decides which of them wait for others.

mod auth;
mod budget;
mod channel;
mod channel_request;
mod connection;
mod directory;
mod groups;
mod handler;
mod handles;
mod kex_limit;
mod listener;
mod names;
mod path_order;
mod request_queue;
mod requests;
mod response_queue;
mod serve;
mod settings;
mod shared;
mod status;
#[cfg(test)]
mod tests;
mod window;

pub use listener::bind;
pub use settings::{DEFAULT_RETAINED_CHANNELS_MAX, ListenerSettings};
pub use shared::Shared;
