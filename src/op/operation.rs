use std::fmt;
use std::sync::LazyLock;

use super::{Changes, Effect, Effects, OpenMode, RemotePath};

/// What a client asks for. Paths are as the client sees them until a route turns an allowed
/// operation into a `Target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// What a path is: kind, size, times; of a symlink, what it leads to.
    Stat(RemotePath),
    /// As `Stat`, of a symlink itself.
    LinkStat(RemotePath),
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
    /// Opens a file for reads and writes at any offset, as far as the backend can.
    Open {
        path: RemotePath,
        mode: OpenMode,
    },
    /// Data from one open file to another, by the backend itself.
    Copy {
        from: RemotePath,
        to: RemotePath,
        /// `to` was opened for appending.
        append: bool,
    },
    Remove(RemotePath),
    MakeDirectory {
        path: RemotePath,
        /// The low twelve bits of a Unix mode that it is to have, before the backend's umask. A backend
        /// that cannot give a narrower one than the usual 0755 makes none.
        permissions: Option<u32>,
    },
    RemoveDirectory(RemotePath),
    /// Whether a path may be renamed, as far as the backend tells beforehand (FTP's RNFR). Not being
    /// allowed to look at it is no refusal.
    RenameFrom(RemotePath),
    Rename {
        from: RemotePath,
        to: RemotePath,
        onto: Onto,
    },
    SetAttributes {
        path: RemotePath,
        changes: Changes,
        /// Of a symlink: whether what it leads to is meant, or the link itself.
        follow: bool,
    },
    /// Where a symlink leads, as it was written.
    ReadLink(RemotePath),
    /// `target` is written into the link as it is.
    Symlink {
        target: Vec<u8>,
        link: RemotePath,
    },
    HardLink {
        from: RemotePath,
        to: RemotePath,
    },
    /// The space and limits of the file system that holds a path.
    FileSystem(RemotePath),
    /// The names of numeric owners and groups.
    AccountNames {
        users: Vec<u32>,
        groups: Vec<u32>,
    },
}

/// What a rename does with a file that has the new name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// What the backend does with it (RFC 959 leaves it open).
    AsBackend,
    Refused,
    Replaced,
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

/// The path of what is about no path.
static NOWHERE: LazyLock<RemotePath> = LazyLock::new(RemotePath::root);

impl Operation {
    /// All that this operation may do. A write without append creates or overwrites: which of the
    /// two is known only when it happens.
    pub fn effects(&self) -> Effects {
        use Effect::*;
        match self {
            Self::Stat(_)
            | Self::LinkStat(_)
            | Self::Size(..)
            | Self::Enter(_)
            | Self::List(_)
            | Self::ReadLink(_)
            | Self::FileSystem(_)
            | Self::AccountNames { .. } => Effects::of(&[List]),
            Self::Read { .. } => Effects::of(&[Read]),
            Self::Write { mode: WriteMode::From { .. }, .. } => Effects::of(&[Create, Overwrite]),
            Self::Write { mode: WriteMode::Append, .. } => Effects::of(&[Create, Append]),
            Self::Write { mode: WriteMode::Unique, .. } => Effects::of(&[Create]),
            Self::Open { mode, .. } => mode.effects(),
            Self::Remove(_) | Self::RemoveDirectory(_) => Effects::of(&[Delete]),
            Self::Copy { append: false, .. } => Effects::of(&[Read, Overwrite]),
            Self::Copy { append: true, .. } => Effects::of(&[Read, Append]),
            Self::MakeDirectory { .. } => Effects::of(&[MakeDirectory]),
            Self::RenameFrom(_) | Self::Rename { onto: Onto::Refused, .. } => {
                Effects::of(&[Rename])
            }
            Self::Rename { .. } => Effects::of(&[Rename, Overwrite]),
            Self::SetAttributes { changes, .. } => changes.effects(),
            Self::Symlink { .. } | Self::HardLink { .. } => Effects::of(&[Create, Link]),
        }
    }

    /// The name in logs and metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stat(_) => "stat",
            Self::LinkStat(_) => "link-stat",
            Self::Size(..) => "size",
            Self::Enter(_) => "enter",
            Self::List(_) => "list",
            Self::Read { .. } => "read",
            Self::Write { mode: WriteMode::Append, .. } => "append",
            Self::Write { .. } => "write",
            Self::Open { mode, .. } => mode.name(),
            Self::Remove(_) => "remove",
            Self::Copy { .. } => "copy",
            Self::MakeDirectory { .. } => "make-directory",
            Self::RemoveDirectory(_) => "remove-directory",
            Self::RenameFrom(_) => "rename-from",
            Self::Rename { .. } => "rename",
            Self::SetAttributes { .. } => "set-attributes",
            Self::ReadLink(_) => "read-link",
            Self::Symlink { .. } => "symlink",
            Self::HardLink { .. } => "hard-link",
            Self::FileSystem(_) => "file-system",
            Self::AccountNames { .. } => "account-names",
        }
    }

    /// The path it is about (the old one of a rename or copy, the new one of a link).
    pub fn path(&self) -> &RemotePath {
        match self {
            Self::Stat(path)
            | Self::LinkStat(path)
            | Self::Size(path, _)
            | Self::Enter(path)
            | Self::List(path)
            | Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::Open { path, .. }
            | Self::Remove(path)
            | Self::Copy { from: path, .. }
            | Self::MakeDirectory { path, .. }
            | Self::RemoveDirectory(path)
            | Self::RenameFrom(path)
            | Self::SetAttributes { path, .. }
            | Self::ReadLink(path)
            | Self::Symlink { link: path, .. }
            | Self::HardLink { to: path, .. }
            | Self::FileSystem(path)
            | Self::Rename { from: path, .. } => path,
            Self::AccountNames { .. } => &NOWHERE,
        }
    }

    /// The other path of what has two, and where a symlink is to lead.
    pub fn other_path(&self) -> Option<&[u8]> {
        match self {
            Self::Rename { to, .. } | Self::Copy { to, .. } => Some(to.as_bytes()),
            Self::HardLink { from, .. } => Some(from.as_bytes()),
            Self::Symlink { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The same operation with every path replaced by what `map` makes of it. Where a symlink is to
    /// lead is not a path of the backend's namespace, and stays.
    pub fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(match self {
            Self::Stat(path) => Self::Stat(map(path)?),
            Self::LinkStat(path) => Self::LinkStat(map(path)?),
            Self::Size(path, representation) => Self::Size(map(path)?, representation),
            Self::Enter(path) => Self::Enter(map(path)?),
            Self::List(path) => Self::List(map(path)?),
            Self::Read { path, offset, representation } => {
                Self::Read { path: map(path)?, offset, representation }
            }
            Self::Write { path, mode, representation } => {
                Self::Write { path: map(path)?, mode, representation }
            }
            Self::Open { path, mode } => Self::Open { path: map(path)?, mode },
            Self::Remove(path) => Self::Remove(map(path)?),
            Self::Copy { from, to, append } => {
                Self::Copy { from: map(from)?, to: map(to)?, append }
            }
            Self::MakeDirectory { path, permissions } => {
                Self::MakeDirectory { path: map(path)?, permissions }
            }
            Self::RemoveDirectory(path) => Self::RemoveDirectory(map(path)?),
            Self::RenameFrom(path) => Self::RenameFrom(map(path)?),
            Self::Rename { from, to, onto } => {
                Self::Rename { from: map(from)?, to: map(to)?, onto }
            }
            Self::SetAttributes { path, changes, follow } => {
                Self::SetAttributes { path: map(path)?, changes, follow }
            }
            Self::ReadLink(path) => Self::ReadLink(map(path)?),
            Self::Symlink { target, link } => Self::Symlink { target, link: map(link)? },
            Self::HardLink { from, to } => Self::HardLink { from: map(from)?, to: map(to)? },
            Self::FileSystem(path) => Self::FileSystem(map(path)?),
            Self::AccountNames { users, groups } => Self::AccountNames { users, groups },
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.path())
    }
}
