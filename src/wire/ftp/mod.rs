//! FTP's text: lines, commands, replies, host-port arguments, listings.

pub mod listing;
pub mod time;
