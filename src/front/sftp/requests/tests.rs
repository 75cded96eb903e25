//! Requests on a backend whose writes end when the test says so.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use prometheus::Registry;
use tokio::sync::oneshot;

use super::*;
use crate::auth::{PasswordCheck, UserTable};
use crate::backend::{
    Abilities, Backend, BackendSession, Credentials, Listing, Login, OpenFile, ReadTransfer,
    WriteTransfer,
};
use crate::op::{Changes, Entry, EntryKind, FileSystem};
use crate::route::{Access, Match, Route, RouteTable, Target};
use crate::session::{Door, Gateway, Limits, Metrics, Proof};
use crate::wire::sftp::{Attributes, Extension, OpenFlags, StatusCode};

type Ended = Result<(), Failure>;

/// What was called, in order; and the ends of the writes.
#[derive(Default)]
struct Stub {
    calls: Mutex<Vec<String>>,
    writes: Mutex<Vec<oneshot::Sender<Ended>>>,
}

impl Stub {
    fn called(&self, what: impl Into<String>) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn end_write(&self, outcome: Ended) {
        self.writes.lock().unwrap().remove(0).send(outcome).unwrap();
    }
}

struct Shared(Arc<Stub>);

#[async_trait]
impl Backend for Shared {
    async fn login(&self, _: &Login) -> Result<Box<dyn BackendSession>, Failure> {
        Ok(Box::new(Shared(self.0.clone())))
    }
}

#[async_trait]
impl BackendSession for Shared {
    fn home(&self) -> RemotePath {
        RemotePath::resolve(&RemotePath::root(), b"/home/u").unwrap()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn perform(&self, target: &Target) -> Result<Answer, Failure> {
        match target.operation() {
            Operation::MakeDirectory { permissions, .. } => {
                self.0.called(format!("make-directory {permissions:?}"));
            }
            other => self.0.called(other.to_string()),
        }
        Ok(Answer::Done(None))
    }

    async fn list(&self, _: &Target) -> Result<Box<dyn Listing>, Failure> {
        let entries = ["a", "", "b/c", "..", "d"];
        let entries = entries.map(|name| Entry::new(name, EntryKind::File)).to_vec();
        Ok(Box::new(Once(Some(entries))))
    }

    async fn open_read(&self, _: &Target) -> Result<Box<dyn ReadTransfer>, Failure> {
        panic!("SFTP opens files")
    }

    async fn open_write(&self, _: &Target) -> Result<Box<dyn WriteTransfer>, Failure> {
        panic!("SFTP opens files")
    }

    async fn open(&self, target: &Target) -> Result<Arc<dyn OpenFile>, Failure> {
        self.0.called(target.operation().to_string());
        Ok(Arc::new(Shared(self.0.clone())))
    }

    async fn close(&self) {}
}

#[async_trait]
impl OpenFile for Shared {
    fn read_at(&self, at: u64, length: u32) -> BoxFuture<'static, Result<Option<Bytes>, Failure>> {
        self.0.called(format!("read {at} {length}"));
        Box::pin(std::future::ready(Ok(None)))
    }

    fn write_at(&self, offset: u64, _: Bytes) -> BoxFuture<'static, Ended> {
        self.0.called(format!("write {offset}"));
        let (end, ended) = oneshot::channel();
        self.0.writes.lock().unwrap().push(end);
        Box::pin(async move { ended.await.unwrap() })
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        Ok(Entry::new("x", EntryKind::File))
    }

    async fn set_attributes(&self, changes: &Changes) -> Ended {
        self.0.called(format!("size {:?}", changes.size));
        Ok(())
    }

    async fn sync(&self) -> Ended {
        Ok(())
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        Ok(FileSystem::default())
    }

    async fn copy_data(&self, from: u64, length: u64, _: &Arc<dyn OpenFile>, to: u64) -> Ended {
        self.0.called(format!("copy {from} {length} {to}"));
        match from == to {
            true => Err(Failure::client(FailureKind::InvalidArgument, "onto itself")),
            false => Ok(()),
        }
    }

    async fn close(&self) -> Ended {
        self.0.called("close");
        Ok(())
    }

    async fn abort(&self) {
        self.0.called("abort");
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct Once(Option<Vec<Entry>>);

#[async_trait]
impl Listing for Once {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        Ok(self.0.take())
    }

    async fn abort(self: Box<Self>) {}
}

async fn requests() -> (Requests, Arc<Stub>) {
    let stub = Arc::new(Stub::default());
    let backend: Arc<dyn Backend> = Arc::new(Shared(stub.clone()));
    let gateway = Gateway {
        passwords: PasswordCheck::new(UserTable::default()),
        routes: RouteTable(vec![Route {
            matches: Match::default(),
            access: Access::Backend,
            backend: "stub".into(),
            root: RemotePath::root(),
        }]),
        backends: HashMap::from([("stub".to_owned(), backend)]),
        limits: Limits::default(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
    };
    let door = Door {
        listener: "test".into(),
        protocol: "sftp",
        peer: "127.0.0.1:1".parse().unwrap(),
        session: 1,
    };
    let password = Vec::new().into();
    let credentials = Credentials { user: b"u".to_vec(), password, account: None, key: None };
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let session = gateway.login(&door, Proof::Password(credentials), soon).await.unwrap();
    (Requests::new(Arc::new(session), Drain::new()), stub)
}

impl Requests {
    async fn ask(&mut self, request: RequestBody) -> ResponseBody {
        let outcome = self.begin(request).await;
        self.answer(outcome)
    }

    async fn open_for_writing(&mut self) -> Bytes {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let path = Bytes::from_static(b"x");
        let open = RequestBody::Open { path, flags, attributes: Attributes::default() };
        match self.ask(open).await {
            ResponseBody::Handle(handle) => handle,
            other => panic!("{other:?}"),
        }
    }
}

fn code(body: ResponseBody) -> StatusCode {
    match body {
        ResponseBody::Status { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

fn write(handle: &Bytes, offset: u64) -> RequestBody {
    RequestBody::Write { handle: handle.clone(), offset, data: Bytes::from_static(b"data") }
}

#[tokio::test]
async fn a_close_waits_for_writes_and_takes_the_handle_at_once() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let first = requests.begin(write(&handle, 0));
    let second = requests.begin(write(&handle, 4));
    let mut close = requests.begin(RequestBody::Close { handle: handle.clone() });
    // Called in order, before anything was polled.
    assert_eq!(stub.calls(), ["write /home/u/x", "write 0", "write 4"]);
    assert_eq!(code(requests.ask(write(&handle, 8)).await), StatusCode::FAILURE);

    assert!((&mut close).now_or_never().is_none());
    stub.end_write(Ok(()));
    stub.end_write(Ok(()));
    assert!(second.await.is_ok());
    assert!((&mut close).now_or_never().is_none(), "the first is still under way");
    assert!(first.await.is_ok());
    assert!(close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
    assert!(requests.nothing_open());
}

#[tokio::test]
async fn a_close_behind_a_failed_write_fails_and_cuts_the_file() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let writing = requests.begin(write(&handle, 0));
    let close = requests.begin(RequestBody::Close { handle });
    stub.end_write(Err(Failure::backend(FailureKind::NoSpace, "the disk is full")));
    assert_eq!(writing.await.err().unwrap().kind, FailureKind::NoSpace);
    assert_eq!(close.await.err().unwrap().message, "the disk is full");
    assert_eq!(stub.calls().last().unwrap(), "abort");
}

#[tokio::test]
async fn a_folder_is_made_with_its_mode_in_one_step() {
    let (mut requests, stub) = requests().await;
    for permissions in [Some(0o40_700), None] {
        let attributes = Attributes { permissions, ..Attributes::default() };
        let make = RequestBody::MakeDir { path: Bytes::from_static(b"x"), attributes };
        assert_eq!(code(requests.ask(make).await), StatusCode::OK);
    }
    assert_eq!(stub.calls(), ["make-directory Some(448)", "make-directory None"]);
}

#[tokio::test]
async fn the_backend_judges_copies_within_one_file() {
    let (mut requests, stub) = requests().await;
    let flags = OpenFlags::READ | OpenFlags::WRITE;
    let path = Bytes::from_static(b"x");
    let open = RequestBody::Open { path, flags, attributes: Attributes::default() };
    let ResponseBody::Handle(handle) = requests.ask(open).await else { panic!() };
    stub.calls();
    let copy = |from_offset, to_offset| {
        RequestBody::Extended(Extension::CopyData {
            from_handle: handle.clone(),
            from_offset,
            length: 0,
            to_handle: handle.clone(),
            to_offset,
        })
    };
    assert_eq!(code(requests.ask(copy(0, 100)).await), StatusCode::OK);
    assert_eq!(code(requests.ask(copy(7, 7)).await), StatusCode::FAILURE);
    assert_eq!(stub.calls(), ["copy 0 0 100", "copy 7 0 7"]);
    // What was refused has changed nothing: the file is whole.
    assert_eq!(code(requests.ask(RequestBody::Close { handle }).await), StatusCode::OK);
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn what_a_client_leaves_open_is_cut() {
    let (mut requests, stub) = requests().await;
    requests.open_for_writing().await;
    requests.abandon().await;
    assert_eq!(stub.calls().last().unwrap(), "abort");
    assert!(requests.nothing_open());
}

#[tokio::test]
async fn reads_and_writes_need_their_mode_and_are_clamped() {
    let (mut requests, stub) = requests().await;
    let written = requests.open_for_writing().await;
    let read = |handle, length| RequestBody::Read { handle, offset: 7, length };
    assert_eq!(code(requests.ask(read(written, 1)).await), StatusCode::PERMISSION_DENIED);
    let path = Bytes::from_static(b"y");
    let (flags, attributes) = (OpenFlags::READ, Attributes::default());
    let open = requests.ask(RequestBody::Open { path, flags, attributes }).await;
    let ResponseBody::Handle(handle) = open else { panic!("{open:?}") };
    assert_eq!(code(requests.ask(write(&handle, 0)).await), StatusCode::PERMISSION_DENIED);
    assert_eq!(code(requests.ask(read(handle.clone(), 0)).await), StatusCode::EOF);
    stub.calls();
    assert_eq!(code(requests.ask(read(handle, u32::MAX)).await), StatusCode::EOF);
    assert_eq!(stub.calls(), ["read 7 261120"]);
}

#[tokio::test]
async fn a_folder_is_read_to_its_end_without_what_is_no_name() {
    let (mut requests, _) = requests().await;
    let opened = requests.ask(RequestBody::OpenDir { path: Bytes::new() }).await;
    let ResponseBody::Handle(handle) = opened else { panic!("{opened:?}") };
    let mut names = Vec::new();
    loop {
        match requests.ask(RequestBody::ReadDir { handle: handle.clone() }).await {
            ResponseBody::Names(more) => names.extend(more.into_iter().map(|name| name.name)),
            end => break assert_eq!(code(end), StatusCode::EOF),
        }
    }
    assert_eq!(names, [".", "..", "a", "d"]);
    assert_eq!(code(requests.ask(RequestBody::Close { handle }).await), StatusCode::OK);
}

#[tokio::test]
async fn paths_are_seen_from_home_and_tildes_lead_there() {
    let (mut requests, _) = requests().await;
    let mut expand = async |path: &'static str, extended: bool| {
        let path = Bytes::from_static(path.as_bytes());
        let request = match extended {
            true => RequestBody::Extended(Extension::ExpandPath { path }),
            false => RequestBody::RealPath { path },
        };
        match requests.ask(request).await {
            ResponseBody::Names(names) => String::from_utf8(names[0].name.to_vec()).unwrap(),
            other => code(other).to_string(),
        }
    };
    assert_eq!(expand(".", false).await, "/home/u");
    assert_eq!(expand("../v//w/.", false).await, "/home/v/w");
    assert_eq!(expand("~/x", false).await, "/home/u/~/x");
    assert_eq!(expand("~/x", true).await, "/home/u/x");
    assert_eq!(expand("~//etc", true).await, "/home/u/etc");
    assert_eq!(expand("~", true).await, "/home/u");
    assert_eq!(expand("/a/~", true).await, "/a/~");
    assert_eq!(expand("~root", true).await, StatusCode::OP_UNSUPPORTED.to_string());
}

#[tokio::test]
async fn while_draining_nothing_new_is_opened() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    requests.drain.token().cancel();
    let again = RequestBody::OpenDir { path: Bytes::new() };
    assert_eq!(code(requests.ask(again).await), StatusCode::FAILURE);
    let writing = requests.begin(write(&handle, 0));
    stub.end_write(Ok(()));
    assert!(writing.await.is_ok());
}
