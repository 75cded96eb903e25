//! Extended requests (draft-ietf-secsh-filexfer-02 section 8; OpenSSH PROTOCOL section 4).

use bytes::{BufMut, Bytes, BytesMut};

use super::attributes::Attributes;
use super::fields::{Fields, count, put_string};

/// Rename with the semantics of rename(2) (OpenSSH PROTOCOL section 4.3).
pub const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// Statistics of the file system of a path (OpenSSH PROTOCOL section 4.4).
pub const STAT_VFS: &str = "statvfs@openssh.com";
/// Statistics of the file system of an open file (OpenSSH PROTOCOL section 4.4).
pub const FILE_STAT_VFS: &str = "fstatvfs@openssh.com";
/// Creates a hard link (OpenSSH PROTOCOL section 4.5).
pub const HARD_LINK: &str = "hardlink@openssh.com";
/// fsync(2) of an open file (OpenSSH PROTOCOL section 4.6).
pub const FILE_SYNC: &str = "fsync@openssh.com";
/// SETSTAT of a symlink itself (OpenSSH PROTOCOL section 4.7).
pub const LINK_SET_STAT: &str = "lsetstat@openssh.com";
/// The server's limits (OpenSSH PROTOCOL section 4.8).
pub const LIMITS: &str = "limits@openssh.com";
/// REALPATH with `~` (OpenSSH PROTOCOL section 4.9).
pub const EXPAND_PATH: &str = "expand-path@openssh.com";
/// Copies between open files (OpenSSH PROTOCOL section 4.10, draft-ietf-secsh-filexfer-extensions-00).
pub const COPY_DATA: &str = "copy-data";
/// Names of user and group ids (OpenSSH PROTOCOL section 4.12).
pub const USERS_GROUPS_BY_ID: &str = "users-groups-by-id@openssh.com";

/// The supported extensions with their values in VERSION.
pub const ANNOUNCED: [(&str, &str); 10] = [
    (POSIX_RENAME, "1"),
    (STAT_VFS, "2"),
    (FILE_STAT_VFS, "2"),
    (HARD_LINK, "1"),
    (FILE_SYNC, "1"),
    (LINK_SET_STAT, "1"),
    (LIMITS, "1"),
    (EXPAND_PATH, "1"),
    (COPY_DATA, "1"),
    (USERS_GROUPS_BY_ID, "1"),
];

/// The most users, and the most groups, of one request.
pub const MAX_IDS_PER_REQUEST: usize = 4096;

/// The name and data of SSH_FXP_EXTENDED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extension {
    /// rename(2): replaces `to`.
    PosixRename {
        /// The file's path.
        from: Bytes,
        /// The new path.
        to: Bytes,
    },
    /// The reply is [`FileSystem`](super::FileSystem), also of the next.
    StatVfs {
        /// A path in the file system.
        path: Bytes,
    },
    /// [`Self::StatVfs`] by handle.
    FileStatVfs {
        /// A handle of OPEN or OPENDIR.
        handle: Bytes,
    },
    /// Creates `to`.
    HardLink {
        /// The existing file's path.
        from: Bytes,
        /// The new path.
        to: Bytes,
    },
    /// The reply is OK once the file's data is on the disk.
    FileSync {
        /// A handle of OPEN.
        handle: Bytes,
    },
    /// SETSTAT that does not follow a symlink.
    LinkSetStat {
        /// The symlink's path.
        path: Bytes,
        /// The attributes to set.
        attributes: Attributes,
    },
    /// The reply is [`Limits`](super::Limits).
    Limits,
    /// REALPATH that expands `~` and `~user`.
    ExpandPath {
        /// The path to expand.
        path: Bytes,
    },
    /// Offsets and length in bytes; a length of 0 means to the end of the file.
    CopyData {
        /// The source, a handle of OPEN.
        from_handle: Bytes,
        /// The first byte to copy.
        from_offset: u64,
        /// The number of bytes to copy.
        length: u64,
        /// The destination, a handle of OPEN.
        to_handle: Bytes,
        /// Where the first byte is written.
        to_offset: u64,
    },
    /// Up to [`MAX_IDS_PER_REQUEST`] of each. The reply is [`UsersGroups`](super::UsersGroups).
    UsersGroupsById {
        /// User ids.
        users: Vec<u32>,
        /// Group ids.
        groups: Vec<u32>,
    },
    /// The reply is OP_UNSUPPORTED.
    Unknown {
        /// The extension's name.
        name: Bytes,
        /// The rest of the packet, of unknown format.
        data: Bytes,
    },
}

use Extension as X;

impl Extension {
    /// Its name in the request.
    pub fn name(&self) -> &[u8] {
        let name = match self {
            X::PosixRename { .. } => POSIX_RENAME,
            X::StatVfs { .. } => STAT_VFS,
            X::FileStatVfs { .. } => FILE_STAT_VFS,
            X::HardLink { .. } => HARD_LINK,
            X::FileSync { .. } => FILE_SYNC,
            X::LinkSetStat { .. } => LINK_SET_STAT,
            X::Limits => LIMITS,
            X::ExpandPath { .. } => EXPAND_PATH,
            X::CopyData { .. } => COPY_DATA,
            X::UsersGroupsById { .. } => USERS_GROUPS_BY_ID,
            X::Unknown { name, .. } => return name,
        };
        name.as_bytes()
    }

    pub(super) fn decode(mut fields: Fields) -> Option<Self> {
        let f = &mut fields;
        let name = f.string()?;
        Some(match std::str::from_utf8(&name).unwrap_or_default() {
            POSIX_RENAME => X::PosixRename { from: f.string()?, to: f.string()? },
            STAT_VFS => X::StatVfs { path: f.string()? },
            FILE_STAT_VFS => X::FileStatVfs { handle: f.string()? },
            HARD_LINK => X::HardLink { from: f.string()?, to: f.string()? },
            FILE_SYNC => X::FileSync { handle: f.string()? },
            LINK_SET_STAT => {
                X::LinkSetStat { path: f.string()?, attributes: Attributes::decode(f)? }
            }
            LIMITS => X::Limits,
            EXPAND_PATH => X::ExpandPath { path: f.string()? },
            COPY_DATA => X::CopyData {
                from_handle: f.string()?,
                from_offset: f.u64()?,
                length: f.u64()?,
                to_handle: f.string()?,
                to_offset: f.u64()?,
            },
            USERS_GROUPS_BY_ID => {
                X::UsersGroupsById { users: ids(f.string()?)?, groups: ids(f.string()?)? }
            }
            _ => X::Unknown { name, data: fields.rest() },
        })
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_string(self.name(), out);
        match self {
            X::PosixRename { from, to } | X::HardLink { from, to } => {
                put_string(from, out);
                put_string(to, out);
            }
            X::StatVfs { path: name }
            | X::ExpandPath { path: name }
            | X::FileStatVfs { handle: name }
            | X::FileSync { handle: name } => put_string(name, out),
            X::LinkSetStat { path, attributes } => {
                put_string(path, out);
                attributes.encode(out);
            }
            X::Limits => {}
            X::CopyData { from_handle, from_offset, length, to_handle, to_offset } => {
                put_string(from_handle, out);
                out.put_u64(*from_offset);
                out.put_u64(*length);
                put_string(to_handle, out);
                out.put_u64(*to_offset);
            }
            X::UsersGroupsById { users, groups } => {
                for ids in [users, groups] {
                    out.put_u32(count(ids.len() * 4));
                    ids.iter().for_each(|id| out.put_u32(*id));
                }
            }
            X::Unknown { data, .. } => out.put_slice(data),
        }
    }
}

fn ids(list: Bytes) -> Option<Vec<u32>> {
    let (ids, rest) = list.as_chunks::<4>();
    (rest.is_empty() && ids.len() <= MAX_IDS_PER_REQUEST)
        .then(|| ids.iter().map(|id| u32::from_be_bytes(*id)).collect())
}
