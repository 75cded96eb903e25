//! The SFTP front: SSH (RFC 4251-4254) with the one subsystem `sftp`, version 3
//! (draft-ietf-secsh-filexfer-02).
//!
//! `listener` accepts; each SSH connection is one `connection::Connection`, watched by one task:
//! deadlines, drain, its end. russh asks `handler` who may log in (`auth`) and what a channel may do.
//! Each SFTP channel is one `channel::Channel`, whose task owns its handles and requests; all channels
//! of a connection share one session. `requests/` has one file a group of requests; `order` says which
//! of them wait for others.

mod answers;
mod auth;
mod channel;
mod connection;
mod folder;
mod gate;
mod groups;
mod handler;
mod handles;
mod incoming;
mod listener;
mod names;
mod opening;
mod order;
mod requests;
mod room;
mod serve;
mod settings;
mod shared;
mod status;
#[cfg(test)]
mod tests;
mod window;

pub use listener::bind;
pub use settings::ListenerSettings;
pub use shared::Shared;
