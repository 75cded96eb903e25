//! A route's `rewrite` as configured.

use std::fmt;

use super::path_map::Rewrite;
use super::root::{UserFolder, UserFolderError};
use crate::op::RemotePath;

/// One entry of a route's `rewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteSetting {
    /// The client's path of the folder.
    pub from: RemotePath,
    /// The backend's path of the folder, below the root.
    pub to: FolderSetting,
}

/// A folder as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderSetting {
    /// The same for all users of the route.
    Same(RemotePath),
    /// A folder for each user (`{user}`).
    EachUser(UserFolder),
}

impl RewriteSetting {
    /// The rewrite for a user's login.
    pub fn of(&self, user: &[u8]) -> Result<Rewrite, UserFolderError> {
        Ok(Rewrite { from: self.from.clone(), to: self.to.of(user)? })
    }
}

impl FolderSetting {
    /// The folder for a user's login.
    pub fn of(&self, user: &[u8]) -> Result<RemotePath, UserFolderError> {
        match self {
            Self::Same(path) => Ok(path.clone()),
            Self::EachUser(folder) => folder.of(user),
        }
    }
}

/// As configured.
impl fmt::Display for FolderSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(path) => path.fmt(f),
            Self::EachUser(folder) => folder.fmt(f),
        }
    }
}
