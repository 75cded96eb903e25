//! How to open files, and attributes to set.

use super::{Effect, Effects};

/// How to open a file, as in `open(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// Reads are allowed.
    pub read: bool,
    /// Writes are allowed.
    pub write: bool,
    /// Every write goes to the end of the file.
    pub append: bool,
    /// A file that does not exist is created.
    pub create: bool,
    /// Truncates the file to zero length.
    pub truncate: bool,
    /// With `create`: an existing file is an error.
    pub exclusive: bool,
    /// The low twelve bits of the Unix mode of a created file, before the backend's umask.
    pub permissions: Option<u32>,
}

/// Attributes to set; `None` leaves one unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// The size in bytes; truncates the file or extends it with zeros.
    pub size: Option<u64>,
    /// Numeric user and group.
    pub owner: Option<(u32, u32)>,
    /// The low twelve bits of a Unix mode.
    pub permissions: Option<u32>,
    /// Seconds since the epoch, UTC.
    pub accessed: Option<i64>,
    /// Seconds since the epoch, UTC.
    pub modified: Option<i64>,
}

/// The properties of a file system, as in `statvfs(3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// In bytes: the preferred size of a read or write.
    pub block_size: u64,
    /// In bytes: the unit of the counts of blocks.
    pub fragment_size: u64,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Blocks that are free to users without privileges.
    pub blocks_available: u64,
    /// All inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Inodes that are free to users without privileges.
    pub files_available: u64,
    /// The number of the file system.
    pub id: u64,
    /// Bit 0: read only; bit 1: set-user-ID is ignored.
    pub flags: u64,
    /// The maximum length of a name, in bytes.
    pub longest_name: u64,
}

impl OpenMode {
    /// Whether the file may be written.
    pub fn writes(&self) -> bool {
        self.write || self.append
    }

    pub(super) fn effects(&self) -> Effects {
        let conditions = [
            (self.read, Effect::Read),
            (self.create, Effect::Create),
            (self.append, Effect::Append),
            // Even without truncation a write overwrites, unless the file is new.
            (self.write && !self.append && !self.exclusive, Effect::Overwrite),
            (self.truncate, Effect::Overwrite),
        ];
        let effects = conditions.iter().filter(|(holds, _)| *holds).map(|(_, effect)| *effect);
        Effects::of(&effects.collect::<Vec<_>>())
    }

    pub(super) fn name(&self) -> &'static str {
        match (self.read, self.writes()) {
            (true, true) => "read-write",
            (_, true) if self.append => "append",
            (_, true) => "write",
            _ => "read",
        }
    }
}

impl Changes {
    pub(super) fn effects(&self) -> Effects {
        match self.size {
            Some(_) => Effects::of(&[Effect::SetAttributes, Effect::Overwrite]),
            None => Effects::of(&[Effect::SetAttributes]),
        }
    }

    /// Whether nothing but the size is set.
    pub fn is_only_size(&self) -> bool {
        *self == Self { size: self.size, ..Self::default() }
    }

    /// Sets only this time.
    pub fn modified(seconds: i64) -> Self {
        Self { modified: Some(seconds), ..Self::default() }
    }

    /// Sets only these permissions.
    pub fn permissions(mode: u32) -> Self {
        Self { permissions: Some(mode), ..Self::default() }
    }
}
