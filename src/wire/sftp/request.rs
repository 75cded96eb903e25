//! Requests (draft-ietf-secsh-filexfer-02 section 6).

use bytes::{BufMut, Bytes, BytesMut};

use super::attributes::Attributes;
use super::extension::Extension;
use super::fields::{DecodeError, Fields, put_packet, put_string};
use super::flags::OpenFlags;
use super::version::INIT;

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;
const EXTENDED: u8 = 200;

/// A packet from the client, except INIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, sent back in the response.
    pub id: u32,
    /// The request's type and fields.
    pub body: RequestBody,
}

/// Offsets and lengths are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestBody {
    /// OPEN: opens a file; the response is a handle (draft section 6.3).
    Open {
        /// The file's path.
        path: Bytes,
        /// How to open it.
        flags: OpenFlags,
        /// Attributes of a new file.
        attributes: Attributes,
    },
    /// CLOSE: closes a handle of OPEN or OPENDIR (draft section 6.3).
    Close {
        /// A handle of OPEN or OPENDIR.
        handle: Bytes,
    },
    /// `length` is the client's, up to 4 GiB: the server may return less.
    Read {
        /// A handle of OPEN.
        handle: Bytes,
        /// The first byte to read.
        offset: u64,
        /// The most bytes to return.
        length: u32,
    },
    /// WRITE: writes to an open file (draft section 6.4).
    Write {
        /// A handle of OPEN.
        handle: Bytes,
        /// Where the first byte is written.
        offset: u64,
        /// The bytes to write.
        data: Bytes,
    },
    /// LSTAT
    LinkStat {
        /// The file's path; a symlink is not followed.
        path: Bytes,
    },
    /// FSTAT
    FileStat {
        /// A handle of OPEN.
        handle: Bytes,
    },
    /// SETSTAT: sets attributes by path (draft section 6.9).
    SetStat {
        /// The file's path; a symlink is followed.
        path: Bytes,
        /// The attributes to set.
        attributes: Attributes,
    },
    /// FSETSTAT
    FileSetStat {
        /// A handle of OPEN.
        handle: Bytes,
        /// The attributes to set.
        attributes: Attributes,
    },
    /// OPENDIR: opens a directory for READDIR; the response is a handle (draft section 6.7).
    OpenDir {
        /// The directory's path.
        path: Bytes,
    },
    /// READDIR: the next entries, or the status EOF after the last (draft section 6.7).
    ReadDir {
        /// A handle of OPENDIR.
        handle: Bytes,
    },
    /// REMOVE: removes a file, not a directory (draft section 6.5).
    Remove {
        /// The file's path.
        path: Bytes,
    },
    /// MKDIR: creates a directory (draft section 6.6).
    MakeDir {
        /// The new directory's path.
        path: Bytes,
        /// Attributes of the new directory.
        attributes: Attributes,
    },
    /// RMDIR: removes a directory (draft section 6.6).
    RemoveDir {
        /// The directory's path.
        path: Bytes,
    },
    /// REALPATH: makes a path absolute (draft section 6.11).
    RealPath {
        /// The path; an empty one or `.` is the login folder.
        path: Bytes,
    },
    /// STAT: attributes by path (draft section 6.8).
    Stat {
        /// The file's path; a symlink is followed.
        path: Bytes,
    },
    /// Fails if `to` exists; [`Extension::PosixRename`] replaces it.
    Rename {
        /// The file's path.
        from: Bytes,
        /// The new path.
        to: Bytes,
    },
    /// READLINK: a symlink's target (draft section 6.10).
    ReadLink {
        /// The symlink's path.
        path: Bytes,
    },
    /// The target is sent first: OpenSSH's order (its PROTOCOL, section 4.1), which others follow. In the
    /// draft the link is first.
    Symlink {
        /// The path that the symlink contains.
        target: Bytes,
        /// The new symlink's path.
        link: Bytes,
    },
    /// EXTENDED: a request of an extension (draft section 8).
    Extended(Extension),
}

use RequestBody as R;

impl Request {
    /// `packet`: without its length. INIT is an error here: it is sent once, for
    /// [`decode_init`](super::decode_init).
    pub fn decode(packet: Bytes) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(packet);
        let kind = fields.u8().filter(|kind| *kind != INIT);
        let kind = kind.ok_or(DecodeError::Broken { id: None })?;
        let id = fields.u32().ok_or(DecodeError::Broken { id: None })?;
        if !matches!(kind, OPEN..=SYMLINK | EXTENDED) {
            return Err(DecodeError::UnknownType { kind, id });
        }
        let body = RequestBody::decode(kind, fields);
        body.map(|body| Self { id, body }).ok_or(DecodeError::Broken { id: Some(id) })
    }

    /// The packet with its length.
    pub fn encode(&self, out: &mut BytesMut) {
        if let R::Write { handle, offset, data } = &self.body {
            encode_write_header(self.id, handle, *offset, data.len(), out);
            return out.put_slice(data);
        }
        put_packet(self.body.kind(), self.id, 0, out, |out| self.body.encode(out));
    }
}

/// A WRITE packet up to its data: the caller sends the `len` bytes.
pub fn encode_write_header(id: u32, handle: &[u8], offset: u64, len: usize, out: &mut BytesMut) {
    put_packet(WRITE, id, len, out, |out| {
        put_string(handle, out);
        out.put_u64(offset);
        out.put_u32(super::fields::count(len));
    });
}

impl RequestBody {
    fn decode(kind: u8, mut fields: Fields) -> Option<Self> {
        let f = &mut fields;
        Some(match kind {
            OPEN => R::Open {
                path: f.string()?,
                flags: OpenFlags(f.u32()?),
                attributes: Attributes::decode(f)?,
            },
            CLOSE => R::Close { handle: f.string()? },
            READ => R::Read { handle: f.string()?, offset: f.u64()?, length: f.u32()? },
            WRITE => R::Write { handle: f.string()?, offset: f.u64()?, data: f.string()? },
            LSTAT => R::LinkStat { path: f.string()? },
            FSTAT => R::FileStat { handle: f.string()? },
            SETSTAT => R::SetStat { path: f.string()?, attributes: Attributes::decode(f)? },
            FSETSTAT => R::FileSetStat { handle: f.string()?, attributes: Attributes::decode(f)? },
            OPENDIR => R::OpenDir { path: f.string()? },
            READDIR => R::ReadDir { handle: f.string()? },
            REMOVE => R::Remove { path: f.string()? },
            MKDIR => R::MakeDir { path: f.string()?, attributes: Attributes::decode(f)? },
            RMDIR => R::RemoveDir { path: f.string()? },
            REALPATH => R::RealPath { path: f.string()? },
            STAT => R::Stat { path: f.string()? },
            RENAME => R::Rename { from: f.string()?, to: f.string()? },
            READLINK => R::ReadLink { path: f.string()? },
            SYMLINK => R::Symlink { target: f.string()?, link: f.string()? },
            EXTENDED => R::Extended(Extension::decode(fields)?),
            _ => return None,
        })
    }

    fn kind(&self) -> u8 {
        match self {
            R::Open { .. } => OPEN,
            R::Close { .. } => CLOSE,
            R::Read { .. } => READ,
            R::Write { .. } => WRITE,
            R::LinkStat { .. } => LSTAT,
            R::FileStat { .. } => FSTAT,
            R::SetStat { .. } => SETSTAT,
            R::FileSetStat { .. } => FSETSTAT,
            R::OpenDir { .. } => OPENDIR,
            R::ReadDir { .. } => READDIR,
            R::Remove { .. } => REMOVE,
            R::MakeDir { .. } => MKDIR,
            R::RemoveDir { .. } => RMDIR,
            R::RealPath { .. } => REALPATH,
            R::Stat { .. } => STAT,
            R::Rename { .. } => RENAME,
            R::ReadLink { .. } => READLINK,
            R::Symlink { .. } => SYMLINK,
            R::Extended(_) => EXTENDED,
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            R::Open { path, flags, attributes } => {
                put_string(path, out);
                out.put_u32(flags.0);
                attributes.encode(out);
            }
            R::Read { handle, offset, length } => {
                put_string(handle, out);
                out.put_u64(*offset);
                out.put_u32(*length);
            }
            R::Write { handle, offset, data } => {
                put_string(handle, out);
                out.put_u64(*offset);
                put_string(data, out);
            }
            R::SetStat { path: name, attributes }
            | R::FileSetStat { handle: name, attributes }
            | R::MakeDir { path: name, attributes } => {
                put_string(name, out);
                attributes.encode(out);
            }
            R::Rename { from: first, to: second } | R::Symlink { target: first, link: second } => {
                put_string(first, out);
                put_string(second, out);
            }
            R::Close { handle: name }
            | R::FileStat { handle: name }
            | R::ReadDir { handle: name }
            | R::LinkStat { path: name }
            | R::OpenDir { path: name }
            | R::Remove { path: name }
            | R::RemoveDir { path: name }
            | R::RealPath { path: name }
            | R::Stat { path: name }
            | R::ReadLink { path: name } => put_string(name, out),
            R::Extended(extension) => extension.encode(out),
        }
    }
}
