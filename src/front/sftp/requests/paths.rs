//! The paths that a request uses, for `path_order`.

use bytes::Bytes;

use super::Requests;
use crate::front::sftp::path_order::{Use, Uses};
use crate::wire::sftp::{Extension, OpenFlags, RequestBody};

impl Requests {
    /// Empty for a request that may run beside all others. Invalid paths are refused elsewhere.
    pub(super) fn uses(&self, request: &RequestBody) -> Uses {
        use Extension as X;
        use RequestBody as R;
        match request {
            R::Open { path, flags, .. } if *flags == OpenFlags::READ => {
                self.use_of(path, Use::Read)
            }
            R::Open { path, .. } => self.use_of(path, Use::Modify),
            R::Close { handle } => self.use_of_file(handle, Use::Read),
            R::FileSetStat { handle, .. } => self.use_of_file(handle, Use::Modify),
            R::LinkStat { path } | R::Stat { path } | R::ReadLink { path } => {
                self.use_of(path, Use::Read)
            }
            R::OpenDir { path } => self.use_of(path, Use::List),
            R::SetStat { path, .. }
            | R::Remove { path }
            | R::MakeDir { path, .. }
            | R::RemoveDir { path }
            | R::Symlink { link: path, .. }
            | R::Extended(X::LinkSetStat { path, .. }) => self.use_of(path, Use::Modify),
            R::Rename { from, to }
            | R::Extended(X::PosixRename { from, to } | X::HardLink { from, to }) => {
                let mut both = self.use_of(from, Use::Modify);
                both.extend(self.use_of(to, Use::Modify));
                both
            }
            R::Extended(X::StatVfs { path }) => self.use_of(path, Use::Read),
            R::Read { .. }
            | R::Write { .. }
            | R::FileStat { .. }
            | R::ReadDir { .. }
            | R::RealPath { .. }
            | R::Extended(_) => Uses::new(),
        }
    }

    fn use_of(&self, path: &Bytes, of_path: Use) -> Uses {
        self.path(path).into_iter().map(|path| (path, of_path)).collect()
    }

    /// A file that was opened for writing may get its name with CLOSE.
    fn use_of_file(&self, handle: &Bytes, if_read: Use) -> Uses {
        let file = self.handles.file(handle);
        let of_path = |writes| if writes { Use::Modify } else { if_read };
        file.into_iter().map(|file| (file.path.clone(), of_path(file.writes()))).collect()
    }
}
