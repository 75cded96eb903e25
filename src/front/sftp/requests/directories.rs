//! OPENDIR, READDIR, MKDIR, RENAME, REALPATH: draft-ietf-secsh-filexfer-02 sections 6.5 to 6.7 and
//! 6.11.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outcome, RequestFuture, Requests, done, named, ready};
use crate::front::sftp::directory::Directory;
use crate::front::sftp::handles::Handle;
use crate::front::sftp::status;
use crate::op::{Failure, Onto, Operation};
use crate::wire::sftp::{Attributes, ResponseBody};

impl Requests {
    pub(super) fn open_directory(&self, path: &Bytes) -> Result<RequestFuture, Failure> {
        let path = self.path(path)?;
        let slot = self.handles.reserve()?;
        let (session, directories) = (self.session.clone(), self.directories.clone());
        Ok(Box::pin(async move {
            let directory = Directory::open(&session, directories, path).await?;
            Ok(Outcome::Opened(Handle::Directory(Arc::new(directory)), slot))
        }))
    }

    pub(super) fn read_directory(&self, handle: &Bytes) -> Result<RequestFuture, Failure> {
        let directory = self.handles.directory(handle)?;
        Ok(Box::pin(async move {
            let names = directory.next().await?;
            Ok(Outcome::Response(if names.is_empty() {
                status::end_of_file()
            } else {
                ResponseBody::Names(names)
            }))
        }))
    }

    pub(super) fn make_directory(
        &self,
        path: &Bytes,
        attributes: &Attributes,
    ) -> Result<RequestFuture, Failure> {
        let path = self.path(path)?;
        let permissions = attributes.permissions.map(|mode| mode & 0o7777);
        Ok(self.perform(Operation::MakeDirectory { path, permissions }, |_| Ok(done())))
    }

    pub(super) fn rename(
        &self,
        from: &Bytes,
        to: &Bytes,
        onto: Onto,
    ) -> Result<RequestFuture, Failure> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        Ok(self.perform(Operation::Rename { from, to, onto }, |_| Ok(done())))
    }

    /// Lexical: the backend is not involved.
    pub(super) fn real_path(&self, path: &Bytes) -> Result<RequestFuture, Failure> {
        Ok(ready(Ok(named(self.path(path)?.as_bytes().to_vec()))))
    }
}
