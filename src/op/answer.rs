//! Results of operations, and features of backends.

use super::{Entry, FileSystem, PeerReply};

/// The result of an [`Operation`](super::Operation).
#[derive(Debug, Clone)]
pub enum Answer {
    /// Success, with the backend server's FTP reply if there is one.
    Done(Option<PeerReply>),
    /// To `Stat`.
    Entry(Entry),
    /// To `Size`, in bytes of the requested representation.
    Size(u64),
    /// To `ReadLink`: the target, unchanged.
    Link(Vec<u8>),
    /// To `FileSystem`.
    FileSystem(FileSystem),
    /// To `AccountNames`, in the requested order; empty for an id without a name.
    AccountNames {
        /// Names of users.
        users: Vec<Vec<u8>>,
        /// Names of groups.
        groups: Vec<Vec<u8>>,
    },
}

/// Optional features of a backend's session; the others are refused as unsupported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// `FileSystem`.
    pub file_system: bool,
    /// `HardLink`.
    pub hard_link: bool,
    /// Confirming that written data is on stable storage (fsync).
    pub sync: bool,
    /// `SetAttributes` of a symlink itself.
    pub link_attributes: bool,
    /// Copying between open files.
    pub copy_data: bool,
    /// `AccountNames`.
    pub account_names: bool,
    /// A rename that replaces a file (`Onto::Replaced`).
    pub replacing_rename: bool,
    /// Creating or renaming a file only if the name is free, in one step (`WriteMode::New`,
    /// `Onto::Refused`).
    pub exclusive_creation: bool,
    /// `SetAttributes` of the modification time.
    pub modified: bool,
}
