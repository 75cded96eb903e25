//! SFTP version 3 (draft-ietf-secsh-filexfer-02, with the extensions of OpenSSH's PROTOCOL): packets,
//! requests, responses. Paths, names and handles are raw bytes.
//!
//! Decoded fields are slices of their packet and keep its memory. Bytes after a packet's last field are
//! ignored, as by OpenSSH. Encoded packets start with their length; no field may reach 4 GiB.
#![forbid(unsafe_code)]

pub mod attributes;
pub mod extension;
pub mod fields;
pub mod flags;
pub mod packet;
pub mod reply;
pub mod request;
pub mod response;
pub mod status;
#[cfg(test)]
mod tests;
pub mod version;

pub use attributes::Attributes;
pub use extension::Extension;
pub use fields::DecodeError;
pub use flags::OpenFlags;
pub use packet::{MAX_PACKET, PacketError, PacketReader};
pub use reply::{FileSystem, Limits, UsersGroups};
pub use request::{Request, RequestBody, encode_write_header};
pub use response::{Name, Response, ResponseBody, encode_data_header};
pub use status::StatusCode;
pub use version::{VERSION, Version, decode_init, encode_init};
