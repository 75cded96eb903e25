use std::fmt;

use super::RemotePath;

/// What a client asks for. Paths are as the client sees them until a route turns an allowed
/// operation into a `Target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// What a path is: kind, size, times.
    Stat(RemotePath),
    /// Size as the peer counts it in this representation (RFC 3659 section 4).
    Size(RemotePath, Representation),
    /// Whether a path is a folder that can be worked in.
    Enter(RemotePath),
    List(RemotePath),
    Read {
        path: RemotePath,
        offset: u64,
        representation: Representation,
    },
    Write {
        path: RemotePath,
        mode: WriteMode,
        representation: Representation,
    },
    Remove(RemotePath),
    MakeDirectory(RemotePath),
    RemoveDirectory(RemotePath),
    Rename {
        from: RemotePath,
        to: RemotePath,
    },
    /// Seconds since the epoch, UTC.
    SetModified {
        path: RemotePath,
        seconds: i64,
    },
    SetPermissions {
        path: RemotePath,
        mode: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// From `offset`; what the file had from there on is gone. 0 replaces the file.
    From {
        offset: u64,
    },
    Append,
    /// A new name in the folder `path`, chosen by the backend (STOU).
    Unique,
}

/// RFC 959's TYPE: how bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Representation {
    /// TYPE I and L 8: as they are.
    Image,
    /// TYPE A: lines end in CRLF on the wire.
    Ascii,
}

/// One thing an operation does to the namespace or to data; policy speaks of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Effect {
    Read = 1,
    List = 2,
    Create = 4,
    Overwrite = 8,
    Append = 16,
    Delete = 32,
    Rename = 64,
    MakeDirectory = 128,
    SetAttributes = 256,
}

/// A set of [`Effect`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u16);

impl Effects {
    pub fn of(effects: &[Effect]) -> Self {
        Self(effects.iter().fold(0, |set, e| set | *e as u16))
    }

    /// Whether nothing is changed: reads and listings only.
    pub fn read_only(self) -> bool {
        self.0 & !(Effect::Read as u16 | Effect::List as u16) == 0
    }
}

impl Operation {
    /// All that this operation may do. A write without append creates or overwrites: which of the
    /// two is known only when it happens.
    pub fn effects(&self) -> Effects {
        use Effect::*;
        match self {
            Self::Stat(_) | Self::Size(..) | Self::Enter(_) | Self::List(_) => Effects::of(&[List]),
            Self::Read { .. } => Effects::of(&[Read]),
            Self::Write { mode: WriteMode::From { .. }, .. } => Effects::of(&[Create, Overwrite]),
            Self::Write { mode: WriteMode::Append, .. } => Effects::of(&[Create, Append]),
            Self::Write { mode: WriteMode::Unique, .. } => Effects::of(&[Create]),
            Self::Remove(_) | Self::RemoveDirectory(_) => Effects::of(&[Delete]),
            Self::MakeDirectory(_) => Effects::of(&[MakeDirectory]),
            Self::Rename { .. } => Effects::of(&[Rename, Overwrite]),
            Self::SetModified { .. } | Self::SetPermissions { .. } => Effects::of(&[SetAttributes]),
        }
    }

    /// The name in logs and metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stat(_) => "stat",
            Self::Size(..) => "size",
            Self::Enter(_) => "enter",
            Self::List(_) => "list",
            Self::Read { .. } => "read",
            Self::Write { mode: WriteMode::Append, .. } => "append",
            Self::Write { .. } => "write",
            Self::Remove(_) => "remove",
            Self::MakeDirectory(_) => "make-directory",
            Self::RemoveDirectory(_) => "remove-directory",
            Self::Rename { .. } => "rename",
            Self::SetModified { .. } => "set-modified",
            Self::SetPermissions { .. } => "set-permissions",
        }
    }

    /// The path it is about (the old one of a rename).
    pub fn path(&self) -> &RemotePath {
        match self {
            Self::Stat(path)
            | Self::Size(path, _)
            | Self::Enter(path)
            | Self::List(path)
            | Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::Remove(path)
            | Self::MakeDirectory(path)
            | Self::RemoveDirectory(path)
            | Self::SetModified { path, .. }
            | Self::SetPermissions { path, .. }
            | Self::Rename { from: path, .. } => path,
        }
    }

    /// The same operation with every path replaced by what `map` makes of it.
    pub fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(match self {
            Self::Stat(path) => Self::Stat(map(path)?),
            Self::Size(path, representation) => Self::Size(map(path)?, representation),
            Self::Enter(path) => Self::Enter(map(path)?),
            Self::List(path) => Self::List(map(path)?),
            Self::Read { path, offset, representation } => {
                Self::Read { path: map(path)?, offset, representation }
            }
            Self::Write { path, mode, representation } => {
                Self::Write { path: map(path)?, mode, representation }
            }
            Self::Remove(path) => Self::Remove(map(path)?),
            Self::MakeDirectory(path) => Self::MakeDirectory(map(path)?),
            Self::RemoveDirectory(path) => Self::RemoveDirectory(map(path)?),
            Self::Rename { from, to } => Self::Rename { from: map(from)?, to: map(to)? },
            Self::SetModified { path, seconds } => Self::SetModified { path: map(path)?, seconds },
            Self::SetPermissions { path, mode } => Self::SetPermissions { path: map(path)?, mode },
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.path())
    }
}
