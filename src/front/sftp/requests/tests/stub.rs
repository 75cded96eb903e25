//! A backend that records its calls, and whose writes end when the test releases them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::Registry;
use tokio::sync::{Notify, oneshot};

use crate::auth::{GuardSettings, LoginGuard, PasswordCheck, UserTable};
use crate::backend::{
    Backend, BackendSession, Home, InFlight, Listing, Login, OpenFile, Origin, ReadTransfer,
    WriteTransfer,
};
use crate::op::escape::printable;
use crate::op::{
    Abilities, Action, Answer, Changes, Entry, EntryKind, Failure, FailureKind, FileSystem,
    ListDirectory, OpenHandle, Operation, ReadFile, RemotePath, WriteFile,
};
use crate::route::{
    Access, Backends, Match, Root, RootSetting, Route, RouteBackend, RouteTable, Target,
};
use crate::session::{Gateway, Limits, Metrics};

type Outcome = Result<(), Failure>;

#[derive(Default)]
pub(in crate::front::sftp) struct Stub {
    /// In order.
    calls: Mutex<Vec<String>>,
    /// Unfinished writes.
    writes: Mutex<Vec<oneshot::Sender<Outcome>>>,
    /// Operations on paths with this text wait for the notification.
    hold: Mutex<Option<(&'static str, Arc<Notify>)>>,
    /// Files have a temporary name until they are closed.
    pub(super) temporary: AtomicBool,
    /// Operations that wait, and their maximum.
    waiting: AtomicUsize,
    waiting_max: AtomicUsize,
}

impl Stub {
    fn record(&self, call: impl Into<String>) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.into());
    }

    pub(in crate::front::sftp) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Delays operations on paths with this text until the notification.
    pub(in crate::front::sftp) fn hold(&self, text: &'static str) -> Arc<Notify> {
        let resume = Arc::new(Notify::new());
        *self.hold.lock().unwrap() = Some((text, resume.clone()));
        resume
    }

    async fn perform(&self, action: &impl Action) {
        let line = format!("{} {}", action.name(), printable(action.path()));
        self.record(line.clone());
        let hold = self.hold.lock().unwrap().clone();
        if let Some((text, resume)) = hold
            && line.contains(text)
        {
            let now = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
            self.waiting_max.fetch_max(now, Ordering::Relaxed);
            resume.notified().await;
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(in crate::front::sftp) fn waiting_max(&self) -> usize {
        self.waiting_max.load(Ordering::Relaxed)
    }

    pub(super) fn end_write(&self, outcome: Outcome) {
        self.writes.lock().unwrap().remove(0).send(outcome).unwrap();
    }
}

struct StubHandle(Arc<Stub>);

#[async_trait]
impl Backend for StubHandle {
    async fn login(&self, _: &Login, _: Origin) -> Result<Box<dyn BackendSession>, Failure> {
        Ok(Box::new(StubHandle(self.0.clone())))
    }
}

#[async_trait]
impl BackendSession for StubHandle {
    fn home(&self) -> Home {
        Home::At(RemotePath::resolve(&RemotePath::root(), b"/home/u").unwrap())
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    async fn perform(&self, target: &Target<Operation>) -> Result<Answer, Failure> {
        match target.action() {
            Operation::MakeDirectory { permissions, .. } => {
                self.0.record(format!("make-directory {permissions:?}"));
            }
            other => self.0.perform(other).await,
        }
        match target.action() {
            Operation::Stat(_) | Operation::LinkStat(_) => {
                Ok(Answer::Entry(Entry::new("x", EntryKind::File)))
            }
            _ => Ok(Answer::Done(None)),
        }
    }

    async fn list(&self, target: &Target<ListDirectory>) -> Result<Box<dyn Listing>, Failure> {
        self.0.perform(target.action()).await;
        match target.action().path.as_bytes() {
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
        self.0.perform(target.action()).await;
        Ok(Arc::new(StubHandle(self.0.clone())))
    }

    async fn close(&self) {}
}

#[async_trait]
impl OpenFile for StubHandle {
    fn read_at(&self, at: u64, length: u32) -> InFlight<Option<Bytes>> {
        self.0.record(format!("read {at} {length}"));
        InFlight::new(Box::pin(std::future::ready(Ok(None))))
    }

    fn write_at(&self, offset: u64, _: Bytes) -> InFlight<()> {
        self.0.record(format!("write {offset}"));
        let (end, ended) = oneshot::channel();
        self.0.writes.lock().unwrap().push(end);
        InFlight::new(Box::pin(async move { ended.await.unwrap() }))
    }

    async fn stat(&self) -> Result<Entry, Failure> {
        self.0.record("file stat");
        Ok(Entry::new("x", EntryKind::File))
    }

    async fn size(&self) -> Option<u64> {
        None
    }

    async fn set_attributes(&self, changes: &Changes) -> Outcome {
        self.0.record(format!("size {:?}", changes.size));
        let hold = self.0.hold.lock().unwrap().clone();
        if let Some(("file", resume)) = hold {
            resume.notified().await;
        }
        Ok(())
    }

    fn answers_for_path(&self) -> bool {
        self.0.temporary.load(Ordering::Relaxed)
    }

    async fn sync(&self) -> Outcome {
        Ok(())
    }

    async fn file_system(&self) -> Result<FileSystem, Failure> {
        Ok(FileSystem::default())
    }

    async fn copy_data(&self, from: u64, length: u64, _: &Arc<dyn OpenFile>, to: u64) -> Outcome {
        self.0.record(format!("copy {from} {length} {to}"));
        match (from, to) {
            (1000.., _) => Err(Failure::backend(FailureKind::EndOfFile, "it ends before")),
            (from, to) if from == to => {
                Err(Failure::client(FailureKind::InvalidArgument, "onto itself"))
            }
            _ => Ok(()),
        }
    }

    async fn close(&self) -> Outcome {
        self.0.record("close");
        Ok(())
    }

    async fn abort(&self) {
        self.0.record("abort");
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Names of maximum length.
fn large() -> Vec<Entry> {
    (0..LARGE).map(|n| Entry::new(format!("{n:0>255}"), EntryKind::File)).collect()
}

pub(super) const LARGE: usize = 256;

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

/// A gateway whose only backend is the stub.
pub(in crate::front::sftp) fn gateway(stub: &Arc<Stub>) -> Gateway {
    let backend: Arc<dyn Backend> = Arc::new(StubHandle(stub.clone()));
    Gateway {
        passwords: Arc::new(PasswordCheck::new(UserTable::default())),
        login_hooks: Default::default(),
        guard: LoginGuard::new(GuardSettings::default(), &Registry::new()).unwrap(),
        routes: RouteTable(vec![Route {
            matches: Match::default(),
            backends: Backends::One(RouteBackend { name: "stub".into(), access: Access::Backend }),
            root: RootSetting::Same(Root::Path(RemotePath::root())),
            rewrites: Vec::new(),
            required: Default::default(),
            greeting: None,
        }]),
        backends: HashMap::from([("stub".to_owned(), backend)]),
        key_trust: HashMap::new(),
        policy: None,
        policy_limits: Default::default(),
        expected: Default::default(),
        limits: Limits::default(),
        metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
        audit: Default::default(),
    }
}
