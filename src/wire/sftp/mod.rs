//! SFTP version 3 (draft-ietf-secsh-filexfer-02, with the extensions of OpenSSH's PROTOCOL): packets,
//! requests, responses. Paths, names and handles are raw bytes.
//!
//! What is decoded are slices of the packet: a handle or name that is kept keeps its packet's memory.
//! Bytes behind a message's last field are passed over, as OpenSSH does. What is encoded begins with
//! the packet's length; no field may reach 4 GiB.
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
