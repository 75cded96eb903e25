//! Between two processes of the gateway: how a new one gets the sockets of the running one, over the admin
//! socket, and what they tell each other while sessions of the old one go on.
//!
//! The new one asks by an HTTP upgrade. After that both send messages: four bytes of length, then JSON. Sockets
//! follow the message that announces them.

mod client;
mod link;
mod message;
mod request;

pub use client::{AskError, ask_to_take_over};
pub use link::{Link, LinkEvent};
pub use message::{Before, LinkParts, Message, Part};
pub use request::PeerRequest;

/// Changes with the messages: processes of different releases understand each other if it is the same.
pub(super) const PROTOCOL_VERSION: &str = "3";
/// The request's header with the version.
pub(super) const VERSION_HEADER: &str = "lockgate-take-over-version";
/// The protocol of the upgrade.
pub(super) const UPGRADE: &str = "lockgate-take-over";
