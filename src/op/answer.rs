use super::{Entry, FileSystem, PeerReply};

/// What an operation that ends in a plain answer brings.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It is done; the peer's own words where it has any.
    Done(Option<PeerReply>),
    /// To `Stat`.
    Entry(Entry),
    /// To `Size`, in bytes of the representation asked for.
    Size(u64),
    /// To `ReadLink`: where it leads, as it is written there.
    Link(Vec<u8>),
    /// To `FileSystem`.
    FileSystem(FileSystem),
    /// To `AccountNames`, in the order asked for; empty where an id has no name.
    AccountNames { users: Vec<Vec<u8>>, groups: Vec<Vec<u8>> },
}

/// What a backend's session can beyond the basics; the rest is refused as unsupported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    pub file_system: bool,
    pub hard_link: bool,
    /// Saying that what was written is safe.
    pub sync: bool,
    /// `SetAttributes` of a symlink itself.
    pub link_attributes: bool,
    /// Copying between open files.
    pub copy_data: bool,
    pub account_names: bool,
    /// A rename that replaces a file (`Onto::Replaced`).
    pub replacing_rename: bool,
    /// `SetAttributes` of the time when a file was last changed.
    pub modified: bool,
}
