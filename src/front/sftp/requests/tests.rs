//! Requests on a backend whose writes end when the test says so.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use prometheus::Registry;
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::auth::{Credentials, PasswordCheck, UserTable};
use crate::backend::{
    Backend, BackendSession, Home, InFlight, Listing, Login, OpenFile, Origin, ReadTransfer,
    WriteTransfer,
};
use crate::front::sftp::folder;
use crate::op::{
    Abilities, Action, Changes, Entry, EntryKind, FileSystem, ListFolder, OpenHandle, ReadFile,
    WriteFile,
};
use crate::route::{Access, Match, Root, Route, RouteTable, Target};
use crate::session::{ClientInfo, Gateway, Limits, Metrics, Proof, SessionEnd};
use crate::wire::sftp::{Attributes, Extension, OpenFlags, StatusCode};

type Ended = Result<(), Failure>;

/// What was called, in order; and the ends of the writes.
#[derive(Default)]
pub(in crate::front::sftp) struct Stub {
    calls: Mutex<Vec<String>>,
    writes: Mutex<Vec<oneshot::Sender<Ended>>>,
    /// Operations on paths that contain this text wait for it.
    held: Mutex<Option<(&'static str, Arc<Notify>)>>,
    /// Files have another name until they are closed.
    temporary: AtomicBool,
    /// Operations that are held up, and the most that ever were at once.
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl Stub {
    fn called(&self, what: impl Into<String>) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    pub(in crate::front::sftp) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Holds up what is asked about paths with this text until it is told to go on.
    pub(in crate::front::sftp) fn hold(&self, text: &'static str) -> Arc<Notify> {
        let go_on = Arc::new(Notify::new());
        *self.held.lock().unwrap() = Some((text, go_on.clone()));
        go_on
    }

    async fn asked(&self, action: &impl Action) {
        let asked = format!("{} {}", action.name(), action.path());
        self.called(asked.clone());
        let held = self.held.lock().unwrap().clone();
        if let Some((text, go_on)) = held
            && asked.contains(text)
        {
            let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            go_on.notified().await;
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(in crate::front::sftp) fn most_held(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn end_write(&self, outcome: Ended) {
        self.writes.lock().unwrap().remove(0).send(outcome).unwrap();
    }
}

struct Shared(Arc<Stub>);

#[async_trait]
impl Backend for Shared {
    async fn login(&self, _: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
        Ok(Box::new(Shared(self.0.clone())))
    }
}

#[async_trait]
impl BackendSession for Shared {
    fn home(&self) -> Home {
        Home::At(RemotePath::resolve(&RemotePath::root(), b"/home/u").unwrap())
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        match target.action() {
            Operation::MakeDirectory { permissions, .. } => {
                self.0.called(format!("make-directory {permissions:?}"));
            }
            other => self.0.asked(other).await,
        }
        match target.action() {
            Operation::Stat(_) | Operation::LinkStat(_) => {
                Ok(Answer::Entry(Entry::new("x", EntryKind::File)))
            }
            _ => Ok(Answer::Done(None)),
        }
    }

    async fn list(&self, target: &Target<ListFolder>) -> Result<Box<dyn Listing>, Failure> {
        self.0.asked(target.action()).await;
        match target.action().path().as_bytes() {
            b"/large" => return Ok(Box::new(Once(Some(large())))),
            b"/endless" => return Ok(Box::new(Endless)),
            _ => {}
        }
        let entries = ["a", "", "b/c", "..", "d", ".."];
        let attributes = crate::op::Attributes { permissions: Some(0o700), ..Default::default() };
        let entry =
            |name| Entry { attributes: attributes.clone(), ..Entry::new(name, EntryKind::File) };
        let entries = entries.map(entry).to_vec();
        Ok(Box::new(Once(Some(entries))))
    }

    async fn open_read(&self, _: &Target<ReadFile>) -> Result<Box<dyn ReadTransfer>, Failure> {
        panic!("SFTP opens files")
    }

    async fn open_write(&self, _: &Target<WriteFile>) -> Result<Box<dyn WriteTransfer>, Failure> {
        panic!("SFTP opens files")
    }

    async fn open(&self, target: &Target<OpenHandle>) -> Result<Arc<dyn OpenFile>, Failure> {
        self.0.asked(target.action()).await;
        Ok(Arc::new(Shared(self.0.clone())))
    }

    async fn close(&self) {}
}

#[async_trait]
impl OpenFile for Shared {
    fn read_at(&self, at: u64, length: u32) -> InFlight<Option<Bytes>> {
        self.0.called(format!("read {at} {length}"));
        InFlight::new(Box::pin(std::future::ready(Ok(None))))
    }

    fn write_at(&self, offset: u64, _: Bytes) -> InFlight<()> {
        self.0.called(format!("write {offset}"));
        let (end, ended) = oneshot::channel();
        self.0.writes.lock().unwrap().push(end);
        InFlight::new(Box::pin(async move { ended.await.unwrap() }))
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        self.0.called("file stat");
        Ok(Entry::new("x", EntryKind::File))
    }

    async fn size(&self) -> Option<u64> {
        None
    }

    async fn set_attributes(&self, changes: &Changes) -> Ended {
        self.0.called(format!("size {:?}", changes.size));
        let held = self.0.held.lock().unwrap().clone();
        if let Some(("file", go_on)) = held {
            go_on.notified().await;
        }
        Ok(())
    }

    fn answers_for_path(&self) -> bool {
        self.0.temporary.load(Ordering::Relaxed)
    }

    async fn sync(&self) -> Ended {
        Ok(())
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        Ok(FileSystem::default())
    }

    async fn copy_data(&self, from: u64, length: u64, _: &Arc<dyn OpenFile>, to: u64) -> Ended {
        self.0.called(format!("copy {from} {length} {to}"));
        match (from, to) {
            (1000.., _) => Err(Failure::backend(FailureKind::EndOfFile, "it ends before")),
            (from, to) if from == to => {
                Err(Failure::client(FailureKind::InvalidArgument, "onto itself"))
            }
            _ => Ok(()),
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

/// Names of the greatest length.
fn large() -> Vec<Entry> {
    (0..LARGE).map(|n| Entry::new(format!("{n:0>255}"), EntryKind::File)).collect()
}

const LARGE: usize = 256;

struct Endless;

#[async_trait]
impl Listing for Endless {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        Ok(Some(large()))
    }

    async fn abort(self: Box<Self>) {}
}

struct Once(Option<Vec<Entry>>);

#[async_trait]
impl Listing for Once {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Failure> {
        Ok(self.0.take())
    }

    async fn abort(self: Box<Self>) {}
}

/// A gateway with nothing but that backend.
pub(in crate::front::sftp) fn gateway(stub: &Arc<Stub>) -> Gateway {
    let backend: Arc<dyn Backend> = Arc::new(Shared(stub.clone()));
    Gateway {
        passwords: PasswordCheck::new(UserTable::default()),
        routes: RouteTable(vec![Route {
            matches: Match::default(),
            access: Access::Backend,
            backend: "stub".into(),
            root: Root::Path(RemotePath::root()),
        }]),
        backends: HashMap::from([("stub".to_owned(), backend)]),
        limits: Limits::default(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
    }
}

async fn requests() -> (Requests, Arc<Stub>) {
    let stub = Arc::new(Stub::default());
    let gateway = gateway(&stub);
    let client_info = ClientInfo::new(
        "test",
        "sftp",
        crate::net::Endpoints {
            peer: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:22".parse().unwrap(),
        },
    );
    let password = Vec::new().into();
    let credentials = Credentials { user: b"u".to_vec(), password, account: None, key: None };
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let session = gateway.login(&client_info, Proof::Password(credentials), soon).await.unwrap();
    (Requests::new(Arc::new(session), Folders::new(), Drain::new()), stub)
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

fn gone() -> Failure {
    SessionEnd::done("the client has gone").failure()
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

/// What was read is known then, for the record.
#[tokio::test]
async fn a_close_waits_for_reads() {
    let (mut requests, stub) = requests().await;
    let (path, attributes) = (Bytes::from_static(b"x"), Attributes::default());
    let open = RequestBody::Open { path, flags: OpenFlags::READ, attributes };
    let ResponseBody::Handle(handle) = requests.ask(open).await else { panic!("not opened") };
    let read = requests.begin(RequestBody::Read { handle: handle.clone(), offset: 0, length: 1 });
    let mut close = requests.begin(RequestBody::Close { handle });
    assert!((&mut close).now_or_never().is_none());
    assert_eq!(stub.calls(), ["read /home/u/x", "read 0 1"]);
    assert!(read.await.is_ok());
    assert!(close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn a_close_waits_for_writes_and_takes_the_handle_at_once() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let first = requests.begin(write(&handle, 0));
    let mut second = requests.begin(write(&handle, 4));
    let mut close = requests.begin(RequestBody::Close { handle: handle.clone() });
    // Called in order, before anything was polled.
    assert_eq!(stub.calls(), ["write /home/u/x", "write 0", "write 4"]);
    assert_eq!(code(requests.ask(write(&handle, 8)).await), StatusCode::FAILURE);

    assert!((&mut close).now_or_never().is_none());
    stub.end_write(Ok(()));
    stub.end_write(Ok(()));
    assert!((&mut second).now_or_never().is_none(), "answered behind the first");
    assert!((&mut close).now_or_never().is_none(), "the first is still under way");
    assert!(first.await.is_ok());
    assert!(second.await.is_ok());
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

fn path(path: &'static str) -> Bytes {
    Bytes::from_static(path.as_bytes())
}

fn now(work: &mut Work) -> Option<Result<Outcome, Failure>> {
    work.now_or_never()
}

/// What sshfs sends to create a file.
#[tokio::test]
async fn what_names_a_path_waits_for_the_open_before_it_and_for_nothing_else() {
    let (mut requests, stub) = requests().await;
    let go_on = stub.hold("write /home/u/x");
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let attributes = Attributes::default();
    let mut open = requests.begin(RequestBody::Open { path: path("x"), flags, attributes });
    let mut stat = requests.begin(RequestBody::LinkStat { path: path("x") });
    let mut list = requests.begin(RequestBody::OpenDir { path: path(".") });
    let mut other = requests.begin(RequestBody::LinkStat { path: path("y") });
    let mut above = requests.begin(RequestBody::Stat { path: path("/home") });
    assert!(now(&mut open).is_none());
    assert!(now(&mut stat).is_none() && now(&mut list).is_none());
    assert!(now(&mut other).is_some() && now(&mut above).is_some());
    let called = ["write /home/u/x", "link-stat /home/u/y", "stat /home"];
    assert_eq!(stub.calls(), called);
    go_on.notify_one();
    drop(open.await.unwrap());
    assert!(stat.await.is_ok() && list.await.is_ok());
    assert_eq!(stub.calls(), ["link-stat /home/u/x", "list /home/u"]);
}

/// What sshfs and editors send to save a file: nobody waits for the answer to CLOSE.
#[tokio::test]
async fn a_rename_waits_for_the_close_before_it() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let mut writing = requests.begin(write(&handle, 0));
    assert!(now(&mut writing).is_none());
    let mut close = requests.begin(RequestBody::Close { handle });
    let mut rename = requests.begin(RequestBody::Rename { from: path("x"), to: path("y") });
    let mut stat = requests.begin(RequestBody::Stat { path: path("y") });
    stub.calls();
    assert!(now(&mut close).is_none() && now(&mut rename).is_none() && now(&mut stat).is_none());
    stub.end_write(Ok(()));
    assert!(writing.await.is_ok() && close.await.is_ok());
    assert!(rename.await.is_ok() && stat.await.is_ok());
    assert_eq!(stub.calls(), ["close", "rename /home/u/x", "stat /home/u/y"]);
}

/// What comes behind a listing of the folder waits for it, but for what is done with open files.
#[tokio::test]
async fn a_file_is_emptied_before_what_is_written_behind_that() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    stub.calls();
    let go_on = stub.hold("list");
    let mut list = requests.begin(RequestBody::OpenDir { path: path(".") });
    assert!(now(&mut list).is_none());
    let attributes = Attributes { size: Some(0), ..Attributes::default() };
    let empty = RequestBody::FileSetStat { handle: handle.clone(), attributes };
    let empty = requests.begin(empty);
    let writing = requests.begin(write(&handle, 0));
    let close = requests.begin(RequestBody::Close { handle });
    assert_eq!(stub.calls(), ["list /home/u", "size Some(0)", "write 0"]);
    go_on.notify_one();
    stub.end_write(Ok(()));
    assert!(list.await.is_ok() && empty.await.is_ok());
    assert!(writing.await.is_ok() && close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn a_close_waits_for_changes_to_the_open_file() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let go_on = stub.hold("file");
    let attributes = Attributes { permissions: Some(0o600), ..Attributes::default() };
    let change = RequestBody::FileSetStat { handle: handle.clone(), attributes };
    let mut change = requests.begin(change);
    let mut close = requests.begin(RequestBody::Close { handle });
    assert!(now(&mut change).is_none() && now(&mut close).is_none());
    assert_eq!(stub.calls(), ["write /home/u/x", "size None"]);
    go_on.notify_one();
    assert!(change.await.is_ok() && close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn a_file_without_its_name_yet_answers_for_its_path() {
    let (mut requests, stub) = requests().await;
    stub.temporary.store(true, Ordering::Relaxed);
    let handle = requests.open_for_writing().await;
    stub.calls();
    let stat = requests.ask(RequestBody::LinkStat { path: path("x") }).await;
    assert!(matches!(stat, ResponseBody::Attributes(_)), "{stat:?}");
    let attributes = Attributes { permissions: Some(0o600), ..Attributes::default() };
    let change = RequestBody::SetStat { path: path("x"), attributes };
    assert_eq!(code(requests.ask(change).await), StatusCode::OK);
    assert_eq!(stub.calls(), ["file stat", "size None"]);
    requests.ask(RequestBody::Stat { path: path("y") }).await;
    assert_eq!(code(requests.ask(RequestBody::Close { handle }).await), StatusCode::OK);
    requests.ask(RequestBody::Stat { path: path("x") }).await;
    assert_eq!(stub.calls(), ["stat /home/u/y", "close", "stat /home/u/x"]);
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
    assert_eq!(code(requests.ask(copy(1000, 0)).await), StatusCode::EOF);
    // The size is asked along with a copy to the end, for the record.
    let copies = stub.calls().into_iter().filter(|call| call.starts_with("copy"));
    assert_eq!(copies.collect::<Vec<_>>(), ["copy 0 0 100", "copy 7 0 7", "copy 1000 0 0"]);
    // What was refused has changed nothing: the file is whole.
    assert_eq!(code(requests.ask(RequestBody::Close { handle }).await), StatusCode::OK);
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn what_a_client_leaves_open_is_cut() {
    let (mut requests, stub) = requests().await;
    requests.open_for_writing().await;
    requests.abandon(&gone(), true).await;
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
    // `..` as the backend has it, but above the root; what did not come is made up.
    for (path, expected) in [
        ("", [("a", 0o700), ("..", 0o700), ("d", 0o700), (".", 0o755)]),
        ("/", [("a", 0o700), ("d", 0o700), (".", 0o755), ("..", 0o755)]),
    ] {
        let opened = requests.ask(RequestBody::OpenDir { path: path.into() }).await;
        let ResponseBody::Handle(handle) = opened else { panic!("{opened:?}") };
        let mut names = Vec::new();
        loop {
            match requests.ask(RequestBody::ReadDir { handle: handle.clone() }).await {
                ResponseBody::Names(more) => names.extend(more),
                end => break assert_eq!(code(end), StatusCode::EOF),
            }
        }
        let mode = |name: &Name| name.attributes.permissions.unwrap() & 0o777;
        let names: Vec<_> = names.iter().map(|name| (&name.name[..], mode(name))).collect();
        assert_eq!(names, expected.map(|(name, mode)| (name.as_bytes(), mode)));
        assert_eq!(code(requests.ask(RequestBody::Close { handle }).await), StatusCode::OK);
    }
}

#[tokio::test]
async fn what_open_folders_hold_is_bounded() {
    let (mut requests, stub) = requests().await;
    let open = |path: &'static str| RequestBody::OpenDir { path: path.into() };
    let mut opened = Vec::new();
    let refused = loop {
        match requests.ask(open("/large")).await {
            ResponseBody::Handle(handle) => opened.push(handle),
            refused => break refused,
        }
    };
    assert_eq!(code(refused), StatusCode::FAILURE);
    assert!((8..64).contains(&opened.len()), "{}", opened.len());
    stub.calls();
    assert_eq!(code(requests.ask(open("/small")).await), StatusCode::FAILURE);
    assert!(stub.calls().is_empty(), "no backend is asked");
    // What is read is not held any more, and what is closed neither.
    let handle = opened.pop().unwrap();
    let read = RequestBody::ReadDir { handle };
    while matches!(requests.ask(read.clone()).await, ResponseBody::Names(_)) {}
    assert!(matches!(requests.ask(open("/small")).await, ResponseBody::Handle(_)));
    for handle in opened {
        assert_eq!(code(requests.ask(RequestBody::Close { handle }).await), StatusCode::OK);
    }
    for _ in 0..100 {
        assert!(matches!(requests.ask(open("/small")).await, ResponseBody::Handle(_)));
    }
}

#[tokio::test]
async fn what_open_folders_fetch_later_is_bounded_too() {
    let (mut requests, _) = requests().await;
    let mut opened = Vec::new();
    for _ in 0..folder::OPEN {
        let open = RequestBody::OpenDir { path: "/endless".into() };
        let ResponseBody::Handle(handle) = requests.ask(open).await else { panic!() };
        let mut given = 0;
        while given < LARGE {
            let read = RequestBody::ReadDir { handle: handle.clone() };
            let ResponseBody::Names(names) = requests.ask(read).await else { panic!() };
            given += names.len();
        }
        opened.push(handle);
    }
    let (mut holding, mut refused) = (Vec::new(), Vec::new());
    for handle in opened {
        match requests.ask(RequestBody::ReadDir { handle: handle.clone() }).await {
            ResponseBody::Names(_) => holding.push(handle),
            busy => {
                assert_eq!(code(busy), StatusCode::FAILURE);
                refused.push(handle);
            }
        }
    }
    assert!(holding.len() >= 32 && !refused.is_empty(), "{} hold names", holding.len());
    // Once there is room they go on where they were.
    for handle in holding {
        assert_eq!(code(requests.ask(RequestBody::Close { handle }).await), StatusCode::OK);
    }
    let handle = refused.remove(0);
    let read = requests.ask(RequestBody::ReadDir { handle }).await;
    assert!(matches!(read, ResponseBody::Names(_)), "{read:?}");
}

/// A backend may have no connection for them before another folder was read to its end.
#[tokio::test]
async fn folders_are_read_while_others_cannot_be_opened() {
    let (mut requests, stub) = requests().await;
    let opened = requests.ask(RequestBody::OpenDir { path: "/first".into() }).await;
    let ResponseBody::Handle(handle) = opened else { panic!("{opened:?}") };
    let _never = stub.hold("list /later");
    let later = |_| requests.begin(RequestBody::OpenDir { path: "/later".into() });
    let mut later: Vec<_> = (0..32).map(later).collect();
    assert!(later.iter_mut().all(|open| now(open).is_none()));
    assert!(stub.most_held() > 0);
    let read = RequestBody::ReadDir { handle };
    loop {
        match requests.ask(read.clone()).now_or_never().expect("it waits for the others") {
            ResponseBody::Names(_) => {}
            end => break assert_eq!(code(end), StatusCode::EOF),
        }
    }
}

#[tokio::test]
async fn all_channels_of_a_connection_share_its_open_folders() {
    let (mut first, stub) = requests().await;
    let mut second = Requests::new(first.session.clone(), first.folders.clone(), Drain::new());
    let open = || RequestBody::OpenDir { path: "/small".into() };
    let mut opened = Vec::new();
    for number in 0..folder::OPEN {
        let requests = if number % 2 == 0 { &mut first } else { &mut second };
        let ResponseBody::Handle(handle) = requests.ask(open()).await else { panic!("{number}") };
        opened.push(handle);
    }
    stub.calls();
    for requests in [&mut first, &mut second] {
        let ResponseBody::Status { code, message, .. } = requests.ask(open()).await else {
            panic!()
        };
        assert_eq!(code, StatusCode::FAILURE);
        let told = String::from_utf8_lossy(&message).into_owned();
        assert!(told.contains("128 folders are open on this connection"), "{told}");
    }
    assert!(stub.calls().is_empty(), "no backend is asked");
    let handle = opened.swap_remove(0);
    assert_eq!(code(first.ask(RequestBody::Close { handle }).await), StatusCode::OK);
    assert!(matches!(second.ask(open()).await, ResponseBody::Handle(_)));
    // What a channel leaves open is given back with it.
    first.abandon(&gone(), true).await;
    assert!(matches!(second.ask(open()).await, ResponseBody::Handle(_)));
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
