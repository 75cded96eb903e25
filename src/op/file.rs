use super::{Effect, Effects};

/// How a file is opened, as `open(2)` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenMode {
    pub read: bool,
    pub write: bool,
    /// Every write goes to the end, whatever its offset.
    pub append: bool,
    pub create: bool,
    /// What the file had is gone.
    pub truncate: bool,
    /// With `create`: a file that is there already is an error.
    pub exclusive: bool,
    /// The low twelve bits of a Unix mode that a created file is to have, before the backend's umask.
    pub permissions: Option<u32>,
}

/// Attributes to be set; what is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Bytes; cuts the file off or fills it up with zeros.
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

/// What `statvfs(3)` tells of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSystem {
    pub block_size: u64,
    pub fragment_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub files_available: u64,
    pub id: u64,
    pub flags: u64,
    pub longest_name: u64,
}

impl OpenMode {
    /// Whether anything may be written.
    pub fn writes(&self) -> bool {
        self.write || self.append
    }

    pub(super) fn effects(&self) -> Effects {
        let said = [
            (self.read, Effect::Read),
            (self.create, Effect::Create),
            (self.append, Effect::Append),
            // Even without truncation a write changes what is there, unless the file is new.
            (self.write && !self.append && !self.exclusive, Effect::Overwrite),
            (self.truncate, Effect::Overwrite),
        ];
        let effects = said.iter().filter(|(is, _)| *is).map(|(_, effect)| *effect);
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

    /// Only this time.
    pub fn modified(seconds: i64) -> Self {
        Self { modified: Some(seconds), ..Self::default() }
    }

    /// Only these permissions.
    pub fn permissions(mode: u32) -> Self {
        Self { permissions: Some(mode), ..Self::default() }
    }
}
