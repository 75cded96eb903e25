//! STAT, LSTAT, FSTAT, SETSTAT, FSETSTAT: draft-ietf-secsh-filexfer-02 sections 6.8 and 6.9.

use bytes::Bytes;

use super::{Outcome, RequestFuture, Requests, done, ready, unexpected_answer};
use crate::front::sftp::names;
use crate::op::{Answer, Changes, Failure, Operation, RemotePath};
use crate::wire::sftp::{Attributes, ResponseBody};

impl Requests {
    pub(super) fn stat(
        &self,
        path: &Bytes,
        operation: fn(RemotePath) -> Operation,
    ) -> Result<RequestFuture, Failure> {
        Ok(self.perform(operation(self.path(path)?), |answer| match answer {
            Answer::Entry(entry) => {
                Ok(Outcome::Response(ResponseBody::Attributes(names::attributes(&entry))))
            }
            _ => Err(unexpected_answer()),
        }))
    }

    pub(super) fn file_stat(&self, handle: &Bytes) -> Result<RequestFuture, Failure> {
        let file = self.handles.file(handle)?;
        Ok(Box::pin(async move {
            let entry = file.file.stat().await?;
            Ok(Outcome::Response(ResponseBody::Attributes(names::attributes(&entry))))
        }))
    }

    pub(super) fn set_stat(
        &self,
        path: &Bytes,
        attributes: &Attributes,
        follow: bool,
    ) -> Result<RequestFuture, Failure> {
        let (path, changes) = (self.path(path)?, names::changes(attributes));
        if changes == Changes::default() {
            return Ok(ready(Ok(done())));
        }
        Ok(self.perform(Operation::SetAttributes { path, changes, follow }, |_| Ok(done())))
    }

    pub(super) fn file_set_stat(
        &self,
        handle: &Bytes,
        attributes: &Attributes,
    ) -> Result<RequestFuture, Failure> {
        let (file, changes) = (self.handles.file(handle)?, names::changes(attributes));
        if changes == Changes::default() {
            return Ok(ready(Ok(done())));
        }
        Ok(Box::pin(async move { file.file.set_attributes(changes).await.map(|()| done()) }))
    }
}
