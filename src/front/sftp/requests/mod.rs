//! The requests by group (draft-ietf-secsh-filexfer-02 section 6; OpenSSH PROTOCOL section 4).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::directory::OpenDirectories;
use super::handles::{Handle, HandleSlot, Handles};
use super::path_order::PathOrder;
use super::{names, status};
use crate::op::{Answer, Failure, FailureKind, Fault, Operation, RemotePath};
use crate::session::{LiveSession, Session};
use crate::task::poll_once;
use crate::wire::sftp::{Extension, Name, RequestBody, ResponseBody};

mod attributes;
mod directories;
mod extensions;
mod files;
mod links;
mod paths;
#[cfg(test)]
pub(super) mod tests;

pub(super) use extensions::version_packet;

/// The requests of a channel.
pub(super) struct Requests {
    session: Arc<Session>,
    home: RemotePath,
    handles: Handles,
    /// Shared by all channels of the connection.
    directories: Arc<OpenDirectories>,
    order: PathOrder,
    live: Arc<LiveSession>,
}

/// A request. Its work starts when it is polled and no earlier request conflicts with it.
pub(super) type RequestFuture = BoxFuture<'static, Result<Outcome, Failure>>;

pub(super) enum Outcome {
    Response(ResponseBody),
    /// `response` assigns its number.
    Opened(Handle, HandleSlot),
}

impl Requests {
    pub(super) fn new(
        session: Arc<Session>,
        directories: Arc<OpenDirectories>,
        live: Arc<LiveSession>,
    ) -> Self {
        Self {
            home: session.home(),
            session,
            handles: Handles::new(),
            directories,
            order: PathOrder::default(),
            live,
        }
    }

    /// Starts a request. READ, WRITE and changes of an open file's size take effect here, in the
    /// order of the packets; requests that name paths wait for those that they conflict with. A session that
    /// ends serves only what is open.
    pub(super) fn start(&mut self, request: RequestBody) -> RequestFuture {
        if self.live.drain().is_draining() && !is_of_open_handle(&request) {
            return ready(Err(self.ending()));
        }
        let uses = self.uses(&request);
        let sets_size = match &request {
            RequestBody::FileSetStat { attributes, .. } => attributes.size.is_some(),
            _ => false,
        };
        let mut work = self.dispatch(request);
        if uses.is_empty() {
            return work;
        }
        let mut guard = self.order.add(uses);
        if sets_size {
            return match poll_once(work.as_mut()) {
                Some(outcome) => ready(outcome),
                None => Box::pin(async move {
                    // Later requests wait for it.
                    let _guard = guard;
                    work.await
                }),
            };
        }
        Box::pin(async move {
            guard.wait().await;
            work.await
        })
    }

    /// The work of a request. Only READ and WRITE start before it is polled.
    fn dispatch(&mut self, request: RequestBody) -> RequestFuture {
        use RequestBody as R;
        let work = match request {
            R::Open { path, flags, attributes } => self.open(&path, flags, &attributes),
            R::Close { handle } => self.close(&handle),
            R::Read { handle, offset, length } => self.read(&handle, offset, length),
            R::Write { handle, offset, data } => self.write(&handle, offset, data),
            R::LinkStat { path } => self.stat(&path, Operation::LinkStat),
            R::Stat { path } => self.stat(&path, Operation::Stat),
            R::FileStat { handle } => self.file_stat(&handle),
            R::SetStat { path, attributes } => self.set_stat(&path, &attributes, true),
            R::FileSetStat { handle, attributes } => self.file_set_stat(&handle, &attributes),
            R::OpenDir { path } => self.open_directory(&path),
            R::ReadDir { handle } => self.read_directory(&handle),
            R::Remove { path } => self.on_path(&path, Operation::Remove),
            R::MakeDir { path, attributes } => self.make_directory(&path, &attributes),
            R::RemoveDir { path } => self.on_path(&path, Operation::RemoveDirectory),
            R::RealPath { path } => self.real_path(&path),
            R::Rename { from, to } => self.rename(&from, &to, crate::op::Onto::Refused),
            R::ReadLink { path } => self.read_link(&path),
            R::Symlink { target, link } => self.symlink(&target, &link),
            R::Extended(extension) => self.extended(extension),
        };
        work.unwrap_or_else(|failure| ready(Err(failure)))
    }

    /// The response to a request.
    pub(super) fn response(&mut self, outcome: Result<Outcome, Failure>) -> ResponseBody {
        match outcome {
            Ok(Outcome::Response(body)) => body,
            Ok(Outcome::Opened(handle, slot)) => {
                ResponseBody::Handle(self.handles.insert(handle, slot))
            }
            Err(failure) => status::of_failure(&failure),
        }
    }

    pub(super) fn has_no_handles(&self) -> bool {
        self.handles.is_empty()
    }

    /// Ends all handles without CLOSE. `answered`: every request was answered.
    pub(super) async fn abandon(&mut self, failure: &Failure, answered: bool) {
        let all = self.handles.remove_all();
        let all = all.into_iter().map(|handle| handle.abandon(failure, answered));
        futures_util::future::join_all(all).await;
    }

    /// An operation on a path that returns no data.
    fn on_path(
        &self,
        path: &Bytes,
        operation: impl FnOnce(RemotePath) -> Operation,
    ) -> Result<RequestFuture, Failure> {
        Ok(self.perform(operation(self.path(path)?), |_| Ok(done())))
    }

    /// Performs an operation and converts its answer.
    fn perform(
        &self,
        operation: Operation,
        convert: impl FnOnce(Answer) -> Result<Outcome, Failure> + Send + 'static,
    ) -> RequestFuture {
        let session = self.session.clone();
        Box::pin(async move { convert(session.perform(operation).await?) })
    }

    /// Resolves a path of the client against its home directory.
    fn path(&self, path: &Bytes) -> Result<RemotePath, Failure> {
        RemotePath::resolve(&self.home, path)
            .map_err(|error| Failure::client(FailureKind::NameRefused, error))
    }

    fn ending(&self) -> Failure {
        let end = self.live.end();
        Failure::gateway(FailureKind::Busy, format_args!("{}; connect again", end.reason()))
    }
}

/// Whether a request goes on with a file or a directory that is open. Nothing else may keep a session that
/// ends.
fn is_of_open_handle(request: &RequestBody) -> bool {
    use RequestBody as R;
    match request {
        R::Close { .. }
        | R::Read { .. }
        | R::Write { .. }
        | R::FileStat { .. }
        | R::FileSetStat { .. }
        | R::ReadDir { .. } => true,
        R::Extended(extension) => {
            matches!(extension, Extension::FileSync { .. } | Extension::CopyData { .. })
        }
        _ => false,
    }
}

fn ready(outcome: Result<Outcome, Failure>) -> RequestFuture {
    Box::pin(std::future::ready(outcome))
}

fn done() -> Outcome {
    Outcome::Response(status::ok())
}

fn named(path: Vec<u8>) -> Outcome {
    Outcome::Response(ResponseBody::Names(Vec::<Name>::from([names::path(path)])))
}

fn unexpected_answer() -> Failure {
    Failure::new(FailureKind::Internal, Fault::Gateway, "the backend returned an unexpected answer")
}
