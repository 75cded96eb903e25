//! READLINK, SYMLINK, hard links: draft-ietf-secsh-filexfer-02 section 6.10, OpenSSH PROTOCOL
//! sections 4.1 and 4.5.

use bytes::Bytes;

use super::{Requests, Work, another_answer, done, named};
use crate::op::{Answer, Failure, FailureKind, MAX_PATH, Operation};

impl Requests {
    pub(super) fn read_link(&self, path: &Bytes) -> Result<Work, Failure> {
        Ok(self.perform(Operation::ReadLink(self.path(path)?), |answer| match answer {
            Answer::Link(target) => Ok(named(target)),
            _ => Err(another_answer()),
        }))
    }

    /// Where it leads is written down as it was given: it need not be there.
    pub(super) fn symlink(&self, target: &Bytes, link: &Bytes) -> Result<Work, Failure> {
        if target.is_empty() || target.contains(&0) {
            let why = "a symlink leads to a name that is not empty and has no NUL";
            return Err(Failure::client(FailureKind::InvalidArgument, why));
        }
        if target.len() > MAX_PATH {
            let why = format!("a symlink leads to a name of at most {MAX_PATH} bytes");
            return Err(Failure::client(FailureKind::InvalidArgument, why));
        }
        let (target, link) = (target.to_vec(), self.path(link)?);
        Ok(self.perform(Operation::Symlink { target, link }, |_| Ok(done())))
    }

    pub(super) fn hard_link(&self, from: &Bytes, to: &Bytes) -> Result<Work, Failure> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        Ok(self.perform(Operation::HardLink { from, to }, |_| Ok(done())))
    }
}
