//! What OpenSSH added (its PROTOCOL, section 4), and copy-data (draft-ietf-secsh-filexfer-extensions-00
//! section 7). Announced is what the backend can.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, Requests, Work, another_answer, at_once, done, named};
use crate::front::sftp::handles::{File, MOST};
use crate::front::sftp::room::LONGEST_DATA;
use crate::front::sftp::status;
use crate::op::escape::printable;
use crate::op::{self, Abilities, Answer, Failure, FailureKind, Onto, Operation};
use crate::wire::sftp::extension::{self as names, ANNOUNCED};
use crate::wire::sftp::{
    Extension, FileSystem, Limits, MAX_PACKET, ResponseBody, UsersGroups, VERSION, Version,
};

/// What VERSION says to a client of a backend with these abilities.
pub(in crate::front::sftp) fn announced(abilities: Abilities) -> Version {
    let can = |name: &str| match name {
        names::STAT_VFS | names::FILE_STAT_VFS => abilities.file_system,
        names::HARD_LINK => abilities.hard_link,
        names::FILE_SYNC => abilities.sync,
        names::LINK_SET_STAT => abilities.link_attributes,
        names::COPY_DATA => abilities.copy_data,
        names::USERS_GROUPS_BY_ID => abilities.account_names,
        // Without it clients take the plain RENAME, which may do.
        names::POSIX_RENAME => abilities.replacing_rename,
        _ => true,
    };
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let all = ANNOUNCED.iter().filter(|(name, _)| can(name));
    let extensions = all.map(|(name, value)| (bytes(name), bytes(value))).collect();
    Version { version: VERSION, extensions }
}

impl Requests {
    pub(super) fn extended(&self, extension: Extension) -> Result<Work, Failure> {
        use Extension as X;
        match extension {
            X::PosixRename { from, to } => self.rename(&from, &to, Onto::Replaced),
            X::StatVfs { path } => self.file_system(&path),
            X::FileStatVfs { handle } => self.file_system_of(&handle),
            X::HardLink { from, to } => self.hard_link(&from, &to),
            X::FileSync { handle } => self.sync(&handle),
            X::LinkSetStat { path, attributes } => self.set_stat(&path, &attributes, false),
            X::Limits => Ok(at_once(Ok(extended(limits().encode())))),
            X::ExpandPath { path } => self.expand_path(&path),
            X::CopyData { from_handle, from_offset, length, to_handle, to_offset } => {
                let (from, to) = (self.handles.file(&from_handle)?, self.handles.file(&to_handle)?);
                copy_data(from, from_offset, length, to, to_offset)
            }
            X::UsersGroupsById { users, groups } => Ok(self.account_names(users, groups)),
            X::Unknown { name, .. } => {
                let why = format!("{} is not known here", printable(&name));
                Err(Failure::client(FailureKind::Unsupported, why))
            }
        }
    }

    fn file_system(&self, path: &Bytes) -> Result<Work, Failure> {
        Ok(self.perform(Operation::FileSystem(self.path(path)?), |answer| match answer {
            Answer::FileSystem(told) => Ok(extended(file_system(told).encode())),
            _ => Err(another_answer()),
        }))
    }

    fn file_system_of(&self, handle: &Bytes) -> Result<Work, Failure> {
        let file = self.handles.file(handle)?;
        Ok(Box::pin(
            async move { Ok(extended(file_system(file.file.file_system().await?).encode())) },
        ))
    }

    fn sync(&self, handle: &Bytes) -> Result<Work, Failure> {
        let file = self.handles.file(handle)?;
        Ok(Box::pin(async move { file.file.sync().await.map(|()| done()) }))
    }

    /// `~` is where the login put the user; where others are, only their server could tell.
    fn expand_path(&self, path: &Bytes) -> Result<Work, Failure> {
        match path.strip_prefix(b"~") {
            None => self.real_path(path),
            Some([]) => Ok(at_once(Ok(named(self.home.as_bytes().to_vec())))),
            Some([b'/', rest @ ..]) => {
                let below = [b"./", rest].concat();
                self.real_path(&below.into())
            }
            Some(_) => {
                let why = "only your own home folder is known here: ~ or ~/...";
                Err(Failure::client(FailureKind::Unsupported, why))
            }
        }
    }

    fn account_names(&self, users: Vec<u32>, groups: Vec<u32>) -> Work {
        self.perform(Operation::AccountNames { users, groups }, |answer| match answer {
            Answer::AccountNames { users, groups } => {
                let bytes = |names: Vec<Vec<u8>>| names.into_iter().map(Bytes::from).collect();
                let answer = UsersGroups { users: bytes(users), groups: bytes(groups) };
                Ok(extended(answer.encode()))
            }
            _ => Err(another_answer()),
        })
    }
}

fn copy_data(
    from: Arc<File>,
    from_offset: u64,
    length: u64,
    to: Arc<File>,
    to_offset: u64,
) -> Result<Work, Failure> {
    if !from.mode.read || !to.writes() {
        let why = "data is copied from a file open for reading to one open for writing";
        return Err(Failure::client(FailureKind::PermissionDenied, why));
    }
    let (reading, writing) = (from.under_way(), to.under_way());
    Ok(Box::pin(async move {
        let _reading = reading;
        let copied = from.file.copy_data(from_offset, length, &to.file, to_offset).await;
        match copied {
            // As OpenSSH's server has it; the client knows that this is not all.
            Err(failure) if failure.kind == FailureKind::EndOfFile => {
                Ok(Outcome::Answer(status::end_of_file()))
            }
            // Nothing was written: the file is what it was.
            Err(failure) if was_not_begun(&failure) => Err(failure),
            copied => writing.written(copied).map(|()| done()),
        }
    }))
}

fn was_not_begun(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::InvalidArgument | FailureKind::Unsupported)
}

fn limits() -> Limits {
    Limits {
        packet: MAX_PACKET as u64,
        read: LONGEST_DATA.into(),
        write: LONGEST_DATA.into(),
        open_handles: MOST as u64,
    }
}

fn file_system(told: op::FileSystem) -> FileSystem {
    FileSystem {
        f_bsize: told.block_size,
        f_frsize: told.fragment_size,
        f_blocks: told.blocks,
        f_bfree: told.blocks_free,
        f_bavail: told.blocks_available,
        f_files: told.files,
        f_ffree: told.files_free,
        f_favail: told.files_available,
        f_fsid: told.id,
        f_flag: told.flags,
        f_namemax: told.longest_name,
    }
}

fn extended(data: Bytes) -> Outcome {
    Outcome::Answer(ResponseBody::Extended(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_backend_cannot_is_not_announced() {
        let names = |abilities| {
            let version = announced(abilities);
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
