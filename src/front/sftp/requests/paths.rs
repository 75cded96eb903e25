//! What requests do with the paths that they name, for their order.

use bytes::Bytes;

use super::Requests;
use crate::front::sftp::order::{Use, Uses};
use crate::wire::sftp::{Extension, OpenFlags, RequestBody};

impl Requests {
    /// Nothing for what may go on beside everything else. A path that is none is refused elsewhere.
    pub(super) fn uses(&self, request: &RequestBody) -> Uses {
        use Extension as X;
        use RequestBody as R;
        match request {
            R::Open { path, flags, .. } if *flags == OpenFlags::READ => {
                self.use_of(path, Use::Looks)
            }
            R::Open { path, .. } => self.use_of(path, Use::Changes),
            R::Close { handle } => self.use_of_file(handle, Use::Looks),
            R::FileSetStat { handle, .. } => self.use_of_file(handle, Use::Changes),
            R::LinkStat { path } | R::Stat { path } | R::ReadLink { path } => {
                self.use_of(path, Use::Looks)
            }
            R::OpenDir { path } => self.use_of(path, Use::Lists),
            R::SetStat { path, .. }
            | R::Remove { path }
            | R::MakeDir { path, .. }
            | R::RemoveDir { path }
            | R::Symlink { link: path, .. }
            | R::Extended(X::LinkSetStat { path, .. }) => self.use_of(path, Use::Changes),
            R::Rename { from, to }
            | R::Extended(X::PosixRename { from, to } | X::HardLink { from, to }) => {
                let mut both = self.use_of(from, Use::Changes);
                both.extend(self.use_of(to, Use::Changes));
                both
            }
            R::Extended(X::StatVfs { path }) => self.use_of(path, Use::Looks),
            R::Read { .. }
            | R::Write { .. }
            | R::FileStat { .. }
            | R::ReadDir { .. }
            | R::RealPath { .. }
            | R::Extended(_) => Uses::new(),
        }
    }

    fn use_of(&self, path: &Bytes, what: Use) -> Uses {
        self.path(path).into_iter().map(|path| (path, what)).collect()
    }

    /// What was written under a temporary name gets its own by CLOSE.
    fn use_of_file(&self, handle: &Bytes, what: Use) -> Uses {
        let file = self.handles.file(handle);
        let written = |writes| if writes { Use::Changes } else { what };
        file.into_iter().map(|file| (file.path.clone(), written(file.writes()))).collect()
    }
}
