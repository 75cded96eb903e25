//! Extensions of OpenSSH (its PROTOCOL, section 4), and copy-data
//! (draft-ietf-secsh-filexfer-extensions-00 section 7). Only those that the backend supports are
//! announced.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, RequestFuture, Requests, done, named, ready, unexpected_answer};
use crate::front::sftp::budget::DATA_MAX;
use crate::front::sftp::handles::{File, HANDLES_MAX};
use crate::front::sftp::status;
use crate::op::escape::printable;
use crate::op::{self, Abilities, Answer, Failure, FailureKind, Onto, Operation};
use crate::wire::sftp::extension::{self as names, ANNOUNCED};
use crate::wire::sftp::{
    Extension, FileSystem, Limits, MAX_PACKET, ResponseBody, UsersGroups, VERSION, Version,
};

/// The VERSION packet for a backend with these abilities.
pub(in crate::front::sftp) fn version_packet(abilities: Abilities) -> Version {
    let supports = |name: &str| match name {
        names::STAT_VFS | names::FILE_STAT_VFS => abilities.file_system,
        names::HARD_LINK => abilities.hard_link,
        names::FILE_SYNC => abilities.sync,
        names::LINK_SET_STAT => abilities.link_attributes,
        names::COPY_DATA => abilities.copy_data,
        names::USERS_GROUPS_BY_ID => abilities.account_names,
        // Without it clients send the plain RENAME, which may work.
        names::POSIX_RENAME => abilities.replacing_rename,
        _ => true,
    };
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let all = ANNOUNCED.iter().filter(|(name, _)| supports(name));
    let extensions = all.map(|(name, value)| (bytes(name), bytes(value))).collect();
    Version { version: VERSION, extensions }
}

impl Requests {
    pub(super) fn extended(&self, extension: Extension) -> Result<RequestFuture, Failure> {
        use Extension as X;
        match extension {
            X::PosixRename { from, to } => self.rename(&from, &to, Onto::Replaced),
            X::StatVfs { path } => self.file_system(&path),
            X::FileStatVfs { handle } => self.file_system_of(&handle),
            X::HardLink { from, to } => self.hard_link(&from, &to),
            X::FileSync { handle } => self.sync(&handle),
            X::LinkSetStat { path, attributes } => self.set_stat(&path, &attributes, false),
            X::Limits => Ok(ready(Ok(extended(limits().encode())))),
            X::ExpandPath { path } => self.expand_path(&path),
            X::CopyData { from_handle, from_offset, length, to_handle, to_offset } => {
                let (from, to) = (self.handles.file(&from_handle)?, self.handles.file(&to_handle)?);
                copy_data(from, from_offset, length, to, to_offset)
            }
            X::UsersGroupsById { users, groups } => Ok(self.account_names(users, groups)),
            X::Unknown { name, .. } => {
                let reason = format!("unknown extension {}", printable(&name));
                Err(Failure::client(FailureKind::Unsupported, reason))
            }
        }
    }

    fn file_system(&self, path: &Bytes) -> Result<RequestFuture, Failure> {
        Ok(self.perform(Operation::FileSystem(self.path(path)?), |answer| match answer {
            Answer::FileSystem(answer) => Ok(extended(file_system(answer).encode())),
            _ => Err(unexpected_answer()),
        }))
    }

    fn file_system_of(&self, handle: &Bytes) -> Result<RequestFuture, Failure> {
        let file = self.handles.file(handle)?;
        Ok(Box::pin(
            async move { Ok(extended(file_system(file.file.file_system().await?).encode())) },
        ))
    }

    fn sync(&self, handle: &Bytes) -> Result<RequestFuture, Failure> {
        let file = self.handles.file(handle)?;
        Ok(Box::pin(async move { file.file.sync().await.map(|()| done()) }))
    }

    /// `~` is the home directory; those of other users are not known.
    fn expand_path(&self, path: &Bytes) -> Result<RequestFuture, Failure> {
        match path.strip_prefix(b"~") {
            None => self.real_path(path),
            Some([]) => Ok(ready(Ok(named(self.home.as_bytes().to_vec())))),
            Some([b'/', rest @ ..]) => {
                let below = [b"./", rest].concat();
                self.real_path(&below.into())
            }
            Some(_) => {
                let reason = "only your own home directory is known: ~ or ~/...";
                Err(Failure::client(FailureKind::Unsupported, reason))
            }
        }
    }

    fn account_names(&self, users: Vec<u32>, groups: Vec<u32>) -> RequestFuture {
        self.perform(Operation::AccountNames { users, groups }, |answer| match answer {
            Answer::AccountNames { users, groups } => {
                let bytes = |names: Vec<Vec<u8>>| names.into_iter().map(Bytes::from).collect();
                let answer = UsersGroups { users: bytes(users), groups: bytes(groups) };
                Ok(extended(answer.encode()))
            }
            _ => Err(unexpected_answer()),
        })
    }
}

fn copy_data(
    from: Arc<File>,
    from_offset: u64,
    length: u64,
    to: Arc<File>,
    to_offset: u64,
) -> Result<RequestFuture, Failure> {
    if !from.mode.read || !to.writes() {
        let reason = "copy-data needs a file open for reading and a file open for writing";
        return Err(Failure::client(FailureKind::PermissionDenied, reason));
    }
    let (read_guard, write_guard) = (from.start_request(), to.start_request());
    Ok(Box::pin(async move {
        let _read_guard = read_guard;
        let copied = from.file.copy_data(from_offset, length, &to.file, to_offset).await;
        match copied {
            // As in OpenSSH's server; the client knows that the copy is incomplete.
            Err(failure) if failure.kind == FailureKind::EndOfFile => {
                Ok(Outcome::Response(status::end_of_file()))
            }
            // Nothing was written: the file is not affected.
            Err(failure) if was_not_started(&failure) => Err(failure),
            copied => write_guard.finish_write(copied).map(|()| done()),
        }
    }))
}

fn was_not_started(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::InvalidArgument | FailureKind::Unsupported)
}

fn limits() -> Limits {
    Limits {
        packet: MAX_PACKET as u64,
        read: DATA_MAX.into(),
        write: DATA_MAX.into(),
        open_handles: HANDLES_MAX as u64,
    }
}

fn file_system(from: op::FileSystem) -> FileSystem {
    FileSystem {
        f_bsize: from.block_size,
        f_frsize: from.fragment_size,
        f_blocks: from.blocks,
        f_bfree: from.blocks_free,
        f_bavail: from.blocks_available,
        f_files: from.files,
        f_ffree: from.files_free,
        f_favail: from.files_available,
        f_fsid: from.id,
        f_flag: from.flags,
        f_namemax: from.longest_name,
    }
}

fn extended(data: Bytes) -> Outcome {
    Outcome::Response(ResponseBody::Extended(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_extensions_are_not_announced() {
        let names = |abilities| {
            let version = version_packet(abilities);
            version.extensions.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        let always = [names::LIMITS, names::EXPAND_PATH];
        assert_eq!(names(Abilities::default()), always);
        let some = names(Abilities { hard_link: true, ..Abilities::default() });
        assert!(some.contains(&Bytes::from_static(names::HARD_LINK.as_bytes())));
        assert_eq!(some.len(), always.len() + 1);
        let some = names(Abilities { replacing_rename: true, ..Abilities::default() });
        assert!(some.contains(&Bytes::from_static(names::POSIX_RENAME.as_bytes())));
    }
}
