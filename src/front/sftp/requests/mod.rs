//! The requests by group (draft-ietf-secsh-filexfer-02 section 6; OpenSSH PROTOCOL section 4).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::folder::Folders;
use super::handles::{Handle, Handles, Place};
use super::order::Order;
use super::{names, status};
use crate::net::{Drain, poll_once};
use crate::op::{Answer, Failure, FailureKind, Fault, Operation, RemotePath};
use crate::session::Session;
use crate::wire::sftp::{Name, RequestBody, ResponseBody};

mod attributes;
mod extensions;
mod files;
mod folders;
mod links;
mod paths;
#[cfg(test)]
pub(super) mod tests;

pub(super) use extensions::announced;

/// What a channel's requests are about.
pub(super) struct Requests {
    session: Arc<Session>,
    home: RemotePath,
    handles: Handles,
    /// Those of all channels.
    folders: Arc<Folders>,
    order: Order,
    drain: Drain,
}

/// A request under way. What it is to do begins when it is polled, or as soon as its turn has come.
pub(super) type Work = BoxFuture<'static, Result<Outcome, Failure>>;

pub(super) enum Outcome {
    Answer(ResponseBody),
    /// To be given a number.
    Opened(Handle, Place),
}

impl Requests {
    pub(super) fn new(session: Arc<Session>, folders: Arc<Folders>, drain: Drain) -> Self {
        Self {
            home: session.home(),
            session,
            handles: Handles::new(),
            folders,
            order: Order::default(),
            drain,
        }
    }

    /// Begins a request. READ, WRITE and what changes an open file's size take effect here, in the order
    /// of the packets; what names a path waits for its turn.
    pub(super) fn begin(&mut self, request: RequestBody) -> Work {
        let uses = self.uses(&request);
        let cuts = matches!(&request, RequestBody::FileSetStat { attributes, .. } if attributes.size.is_some());
        let mut work = self.called(request);
        if uses.is_empty() {
            return work;
        }
        let mut turn = self.order.turn(uses);
        if cuts {
            return match poll_once(work.as_mut()) {
                Some(outcome) => at_once(outcome),
                None => Box::pin(async move {
                    // Those behind it wait.
                    let _turn = turn;
                    work.await
                }),
            };
        }
        Box::pin(async move {
            turn.come().await;
            work.await
        })
    }

    /// What a request is to do. Nothing but READ and WRITE has begun before it is polled.
    fn called(&mut self, request: RequestBody) -> Work {
        use RequestBody as R;
        let begun = match request {
            R::Open { path, flags, attributes } => self.open(&path, flags, &attributes),
            R::Close { handle } => self.close(&handle),
            R::Read { handle, offset, length } => self.read(&handle, offset, length),
            R::Write { handle, offset, data } => self.write(&handle, offset, data),
            R::LinkStat { path } => self.stat(&path, Operation::LinkStat),
            R::Stat { path } => self.stat(&path, Operation::Stat),
            R::FileStat { handle } => self.file_stat(&handle),
            R::SetStat { path, attributes } => self.set_stat(&path, &attributes, true),
            R::FileSetStat { handle, attributes } => self.file_set_stat(&handle, &attributes),
            R::OpenDir { path } => self.open_folder(&path),
            R::ReadDir { handle } => self.read_folder(&handle),
            R::Remove { path } => self.on_path(&path, Operation::Remove),
            R::MakeDir { path, attributes } => self.make_folder(&path, &attributes),
            R::RemoveDir { path } => self.on_path(&path, Operation::RemoveDirectory),
            R::RealPath { path } => self.real_path(&path),
            R::Rename { from, to } => self.rename(&from, &to, crate::op::Onto::Refused),
            R::ReadLink { path } => self.read_link(&path),
            R::Symlink { target, link } => self.symlink(&target, &link),
            R::Extended(extension) => self.extended(extension),
        };
        begun.unwrap_or_else(|failure| at_once(Err(failure)))
    }

    /// What to answer.
    pub(super) fn answer(&mut self, outcome: Result<Outcome, Failure>) -> ResponseBody {
        match outcome {
            Ok(Outcome::Answer(body)) => body,
            Ok(Outcome::Opened(handle, place)) => {
                ResponseBody::Handle(self.handles.opened(handle, place))
            }
            Err(failure) => status::of_failure(&failure),
        }
    }

    /// Whether nothing is open or being opened.
    pub(super) fn nothing_open(&self) -> bool {
        self.handles.is_empty()
    }

    /// What is open ends without CLOSE. `answered`: every request was answered.
    pub(super) async fn abandon(&mut self, failure: &Failure, answered: bool) {
        let all = self.handles.remove_all();
        let all = all.into_iter().map(|handle| handle.abandon(failure, answered));
        futures_util::future::join_all(all).await;
    }

    /// What ends in nothing but done or failed.
    fn on_path(
        &self,
        path: &Bytes,
        operation: impl FnOnce(RemotePath) -> Operation,
    ) -> Result<Work, Failure> {
        Ok(self.perform(operation(self.path(path)?), |_| Ok(done())))
    }

    /// An operation, and what of its answer is sent.
    fn perform(
        &self,
        operation: Operation,
        answer: impl FnOnce(Answer) -> Result<Outcome, Failure> + Send + 'static,
    ) -> Work {
        let session = self.session.clone();
        Box::pin(async move { answer(session.perform(operation).await?) })
    }

    /// A path as clients give it, relative ones seen from where the login put the user.
    fn path(&self, path: &Bytes) -> Result<RemotePath, Failure> {
        RemotePath::resolve(&self.home, path)
            .map_err(|error| Failure::client(FailureKind::NameRefused, error))
    }

    fn refuse_while_draining(&self) -> Result<(), Failure> {
        if !self.drain.is_draining() {
            return Ok(());
        }
        let why = "the gateway is shutting down; connect again";
        Err(Failure::gateway(FailureKind::Busy, why))
    }
}

fn at_once(outcome: Result<Outcome, Failure>) -> Work {
    Box::pin(std::future::ready(outcome))
}

fn done() -> Outcome {
    Outcome::Answer(status::ok())
}

fn named(path: Vec<u8>) -> Outcome {
    Outcome::Answer(ResponseBody::Names(Vec::<Name>::from([names::path(path)])))
}

/// A backend that answers something else than was asked.
fn another_answer() -> Failure {
    Failure::new(FailureKind::Internal, Fault::Gateway, "the backend answered something else")
}
