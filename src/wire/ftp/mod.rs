//! FTP's text formats: lines, commands, replies, host-port arguments, listings.

pub mod command;
pub mod host_port;
pub mod line;
pub mod listing;
pub mod relayed;
pub mod reply;
pub mod time;
