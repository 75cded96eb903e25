//! Operations with a plain answer: on attributes, names, folders and links.

use std::fmt;
use std::sync::LazyLock;

use super::{Action, Arrival, Changes, Effect, Effects, RemotePath, Representation};

/// An action whose result is an [`Answer`](super::Answer).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// The attributes of a path; follows symlinks.
    Stat(RemotePath),
    /// As `Stat`, without following a symlink.
    LinkStat(RemotePath),
    /// The size in this representation (RFC 3659 section 4).
    Size(RemotePath, Representation),
    /// Whether a path is a folder that the user may enter.
    Enter(RemotePath),
    /// Removes a file or a link.
    Remove(RemotePath),
    /// Creates a folder.
    MakeDirectory {
        /// The new folder.
        path: RemotePath,
        /// The low twelve bits of its Unix mode, before the backend's umask. A backend that cannot set a
        /// mode narrower than 0755 does not create the folder.
        permissions: Option<u32>,
    },
    /// Removes an empty folder.
    RemoveDirectory(RemotePath),
    /// Whether a path may be renamed, as far as the backend can check beforehand (FTP's RNFR). A denied
    /// check is not a refusal.
    RenameFrom(RemotePath),
    /// Gives a file or a folder another name.
    Rename {
        /// The old path.
        from: RemotePath,
        /// The new path.
        to: RemotePath,
        /// What happens to a file with the new name.
        onto: Onto,
    },
    /// Changes attributes.
    SetAttributes {
        /// The file or folder.
        path: RemotePath,
        /// The new attributes.
        changes: Changes,
        /// Whether to follow a symlink.
        follow: bool,
    },
    /// The target of a symlink, unchanged.
    ReadLink(RemotePath),
    /// `target` is stored unchanged.
    Symlink {
        /// As it is stored in the link.
        target: Vec<u8>,
        /// The new link.
        link: RemotePath,
    },
    /// Creates another name for a file.
    HardLink {
        /// The file.
        from: RemotePath,
        /// The new name.
        to: RemotePath,
    },
    /// The space and limits of the file system that holds a path.
    FileSystem(RemotePath),
    /// The names of numeric owners and groups.
    AccountNames {
        /// User IDs.
        users: Vec<u32>,
        /// Group IDs.
        groups: Vec<u32>,
    },
}

/// What a rename does if the new name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// As the backend decides (RFC 959 does not define it).
    AsBackend,
    /// The rename is refused.
    Refused,
    /// The file is replaced.
    Replaced,
}

/// The path of operations without a path.
static NO_PATH: LazyLock<RemotePath> = LazyLock::new(RemotePath::root);

impl Operation {
    /// The main path (the old one of a rename, the new one of a link).
    pub fn path(&self) -> &RemotePath {
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
            Self::AccountNames { .. } => &NO_PATH,
        }
    }
}

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
            Self::Remove(_) => Effects::of(&[Delete]),
            Self::RemoveDirectory(_) => Effects::of(&[RemoveDirectory]),
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

    fn path(&self) -> &[u8] {
        Self::path(self).as_bytes()
    }

    fn other_path(&self) -> Option<&[u8]> {
        match self {
            Self::Rename { to, .. } => Some(to.as_bytes()),
            Self::HardLink { from, .. } => Some(from.as_bytes()),
            Self::Symlink { target, .. } => Some(target),
            _ => None,
        }
    }

    fn arrival(&self) -> Option<Arrival> {
        match self {
            Self::Rename { .. } => Some(Arrival::Renamed),
            // Some clients publish a file by a link, and remove its first name.
            Self::HardLink { .. } => Some(Arrival::Stored),
            _ => None,
        }
    }

    /// The target of a symlink is not a path of the backend's namespace, and stays unchanged.
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
