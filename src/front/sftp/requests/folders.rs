//! OPENDIR, READDIR, MKDIR, RENAME, REALPATH: draft-ietf-secsh-filexfer-02 sections 6.5 to 6.7 and 6.11.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, Requests, Work, at_once, done, named};
use crate::front::sftp::folder::Folder;
use crate::front::sftp::handles::Handle;
use crate::front::sftp::status;
use crate::op::{Failure, Onto, Operation};
use crate::wire::sftp::{Attributes, ResponseBody};

impl Requests {
    pub(super) fn open_folder(&self, path: &Bytes) -> Result<Work, Failure> {
        self.refuse_while_draining()?;
        let path = self.path(path)?;
        let place = self.handles.reserve()?;
        let (session, folders) = (self.session.clone(), self.folders.clone());
        Ok(Box::pin(async move {
            let folder = Folder::open(&session, folders, path).await?;
            Ok(Outcome::Opened(Handle::Folder(Arc::new(folder)), place))
        }))
    }

    pub(super) fn read_folder(&self, handle: &Bytes) -> Result<Work, Failure> {
        let folder = self.handles.folder(handle)?;
        Ok(Box::pin(async move {
            let names = folder.next().await?;
            Ok(Outcome::Answer(match names.is_empty() {
                true => status::end_of_file(),
                false => ResponseBody::Names(names),
            }))
        }))
    }

    pub(super) fn make_folder(
        &self,
        path: &Bytes,
        attributes: &Attributes,
    ) -> Result<Work, Failure> {
        let path = self.path(path)?;
        let permissions = attributes.permissions.map(|mode| mode & 0o7777);
        Ok(self.perform(Operation::MakeDirectory { path, permissions }, |_| Ok(done())))
    }

    pub(super) fn rename(&self, from: &Bytes, to: &Bytes, onto: Onto) -> Result<Work, Failure> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        Ok(self.perform(Operation::Rename { from, to, onto }, |_| Ok(done())))
    }

    /// Lexical: no backend is asked.
    pub(super) fn real_path(&self, path: &Bytes) -> Result<Work, Failure> {
        Ok(at_once(Ok(named(self.path(path)?.as_bytes().to_vec()))))
    }
}
