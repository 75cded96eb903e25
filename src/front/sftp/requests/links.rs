//! READLINK, SYMLINK, hard links: draft-ietf-secsh-filexfer-02 section 6.10, OpenSSH PROTOCOL
//! sections 4.1 and 4.5.

use bytes::Bytes;

use super::{RequestFuture, Requests, done, named, unexpected_answer};
use crate::op::{Answer, Failure, FailureKind, MAX_PATH, Operation};

impl Requests {
    pub(super) fn read_link(&self, path: &Bytes) -> Result<RequestFuture, Failure> {
        Ok(self.perform(Operation::ReadLink(self.path(path)?), |answer| match answer {
            Answer::Link(target) => Ok(named(target)),
            _ => Err(unexpected_answer()),
        }))
    }

    /// The target is stored as given; it need not exist.
    pub(super) fn symlink(&self, target: &Bytes, link: &Bytes) -> Result<RequestFuture, Failure> {
        if target.is_empty() || target.contains(&0) {
            let reason = "the target of a symlink must not be empty or contain NUL";
            return Err(Failure::client(FailureKind::InvalidArgument, reason));
        }
        if target.len() > MAX_PATH {
            let reason = format!("the target of a symlink has at most {MAX_PATH} bytes");
            return Err(Failure::client(FailureKind::InvalidArgument, reason));
        }
        let (target, link) = (target.to_vec(), self.path(link)?);
        Ok(self.perform(Operation::Symlink { target, link }, |_| Ok(done())))
    }

    pub(super) fn hard_link(&self, from: &Bytes, to: &Bytes) -> Result<RequestFuture, Failure> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        Ok(self.perform(Operation::HardLink { from, to }, |_| Ok(done())))
    }
}
