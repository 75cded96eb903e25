//! Extended replies, the content of [`ResponseBody::Extended`](super::ResponseBody::Extended) (OpenSSH
//! PROTOCOL section 4). Only the request determines the kind. `None`: malformed.

use bytes::{BufMut, Bytes, BytesMut};

use super::extension::MAX_IDS_PER_REQUEST;
use super::fields::{Fields, count, put_string};

/// The reply to statvfs and fstatvfs; fields as in statvfs(3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes.
    pub f_bsize: u64,
    /// Bytes; the unit of the three that follow.
    pub f_frsize: u64,
    /// Size of the file system in `f_frsize` units.
    pub f_blocks: u64,
    /// Free blocks in `f_frsize` units.
    pub f_bfree: u64,
    /// Free blocks for unprivileged users, in `f_frsize` units.
    pub f_bavail: u64,
    /// Inodes.
    pub f_files: u64,
    /// Free inodes.
    pub f_ffree: u64,
    /// Free inodes for unprivileged users.
    pub f_favail: u64,
    /// The file system's id.
    pub f_fsid: u64,
    /// 1: read-only, 2: no setuid.
    pub f_flag: u64,
    /// Bytes.
    pub f_namemax: u64,
}

impl FileSystem {
    /// Eleven numbers of 64 bits, in the order of the fields.
    pub fn encode(&self) -> Bytes {
        numbers([
            self.f_bsize,
            self.f_frsize,
            self.f_blocks,
            self.f_bfree,
            self.f_bavail,
            self.f_files,
            self.f_ffree,
            self.f_favail,
            self.f_fsid,
            self.f_flag,
            self.f_namemax,
        ])
    }

    /// Reads what [`Self::encode`] writes; ignores bytes after it.
    pub fn decode(data: Bytes) -> Option<Self> {
        let mut fields = Fields::new(data);
        Some(Self {
            f_bsize: fields.u64()?,
            f_frsize: fields.u64()?,
            f_blocks: fields.u64()?,
            f_bfree: fields.u64()?,
            f_bavail: fields.u64()?,
            f_files: fields.u64()?,
            f_ffree: fields.u64()?,
            f_favail: fields.u64()?,
            f_fsid: fields.u64()?,
            f_flag: fields.u64()?,
            f_namemax: fields.u64()?,
        })
    }
}

/// The reply to limits; 0: unlimited or unknown. The first three are in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of a whole packet.
    pub packet: u64,
    /// Of one READ.
    pub read: u64,
    /// Of one WRITE's data.
    pub write: u64,
    /// Handles of OPEN and OPENDIR that may be open at once.
    pub open_handles: u64,
}

impl Limits {
    /// Four numbers of 64 bits, in the order of the fields.
    pub fn encode(&self) -> Bytes {
        numbers([self.packet, self.read, self.write, self.open_handles])
    }

    /// Reads what [`Self::encode`] writes; ignores bytes after it.
    pub fn decode(data: Bytes) -> Option<Self> {
        let mut fields = Fields::new(data);
        Some(Self {
            packet: fields.u64()?,
            read: fields.u64()?,
            write: fields.u64()?,
            open_handles: fields.u64()?,
        })
    }
}

/// The reply to users-groups-by-id: a name for each requested id, in that order, empty if it has none. Up
/// to [`MAX_IDS_PER_REQUEST`] of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsersGroups {
    /// Names of the requested users.
    pub users: Vec<Bytes>,
    /// Names of the requested groups.
    pub groups: Vec<Bytes>,
}

impl UsersGroups {
    /// Two strings, users and groups, each a sequence of strings.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        for names in [&self.users, &self.groups] {
            out.put_u32(count(names.iter().map(|name| 4 + name.len()).sum()));
            names.iter().for_each(|name| put_string(name, &mut out));
        }
        out.freeze()
    }

    /// Reads what [`Self::encode`] writes; ignores bytes after it.
    pub fn decode(data: Bytes) -> Option<Self> {
        let mut fields = Fields::new(data);
        Some(Self { users: names(fields.string()?)?, groups: names(fields.string()?)? })
    }
}

fn names(list: Bytes) -> Option<Vec<Bytes>> {
    let mut fields = Fields::new(list);
    let mut names = Vec::new();
    while !fields.is_empty() {
        if names.len() == MAX_IDS_PER_REQUEST {
            return None;
        }
        names.push(fields.string()?);
    }
    Some(names)
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Bytes {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}
