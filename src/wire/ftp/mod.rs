//! FTP's text: lines, commands, replies, host-port arguments, listings.
