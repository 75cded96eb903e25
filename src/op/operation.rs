//! The operations that end in a plain answer: attributes, names, folders, links.

use std::fmt;
use std::sync::LazyLock;

use super::{Action, Changes, Effect, Effects, RemotePath, Representation};

/// What ends in a plain [`Answer`](super::Answer).
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

/// The path of what is about no path.
static NOWHERE: LazyLock<RemotePath> = LazyLock::new(RemotePath::root);

impl Action for Operation {
    fn effects(&self) -> Effects {
        use Effect::*;
        match self {
            Self::Stat(_)
            | Self::LinkStat(_)
            | Self::Size(..)
            | Self::Enter(_)
            | Self::ReadLink(_)
            | Self::FileSystem(_)
            | Self::AccountNames { .. } => Effects::of(&[List]),
            Self::Remove(_) | Self::RemoveDirectory(_) => Effects::of(&[Delete]),
            Self::MakeDirectory { .. } => Effects::of(&[MakeDirectory]),
            Self::RenameFrom(_) | Self::Rename { onto: Onto::Refused, .. } => {
                Effects::of(&[Rename])
            }
            Self::Rename { .. } => Effects::of(&[Rename, Overwrite]),
            Self::SetAttributes { changes, .. } => changes.effects(),
            Self::Symlink { .. } | Self::HardLink { .. } => Effects::of(&[Create, Link]),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Stat(_) => "stat",
            Self::LinkStat(_) => "link-stat",
            Self::Size(..) => "size",
            Self::Enter(_) => "enter",
            Self::Remove(_) => "remove",
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

    fn path(&self) -> &RemotePath {
        match self {
            Self::Stat(path)
            | Self::LinkStat(path)
            | Self::Size(path, _)
            | Self::Enter(path)
            | Self::Remove(path)
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

    fn other_path(&self) -> Option<&[u8]> {
        match self {
            Self::Rename { to, .. } => Some(to.as_bytes()),
            Self::HardLink { from, .. } => Some(from.as_bytes()),
            Self::Symlink { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The target of a symlink is no path of the backend's namespace, and stays.
    fn map_paths<E>(
        self,
        mut map: impl FnMut(RemotePath) -> Result<RemotePath, E>,
    ) -> Result<Self, E> {
        Ok(match self {
            Self::Stat(path) => Self::Stat(map(path)?),
            Self::LinkStat(path) => Self::LinkStat(map(path)?),
            Self::Size(path, representation) => Self::Size(map(path)?, representation),
            Self::Enter(path) => Self::Enter(map(path)?),
            Self::Remove(path) => Self::Remove(map(path)?),
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
