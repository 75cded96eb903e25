//! Sessions of a route with a `root`, on a folder.

mod expected;
mod model;
mod policy;

use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use prometheus::Registry;
use tempfile::TempDir;

use super::core::SessionCore;
use super::root::Root;
use super::rules::SessionRules;
use super::session_info::SessionInfo;
use super::session_record::SessionRecord;
use super::*;
use crate::backend::local::{LocalBackend, Settings};
use crate::backend::{Backend, BackendSession, Home, Login, Origin, PartialUploads};
use crate::net::{Drain, Endpoints};
use crate::op::{
    Action, Answer, Changes, EntryKind, Failure, FailureKind, Fault, ListDirectory, Onto, OpenMode,
    Operation, RemotePath, Representation, WriteMode,
};
use crate::policy::{Names, SessionPolicy};
use crate::route;

mod rewrites;

const READ: OpenMode = OpenMode {
    read: true,
    write: false,
    append: false,
    create: false,
    truncate: false,
    exclusive: false,
    permissions: None,
};

fn path(given: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), given.as_bytes()).unwrap()
}

/// Below `/customers/acme` of a folder: a file, a folder, and symlinks.
async fn below_a_root() -> (TempDir, Arc<Session>, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let acme = folder.path().join("customers/acme");
    std::fs::create_dir_all(acme.join("inbox")).unwrap();
    std::fs::write(acme.join("file"), "content").unwrap();
    symlink("/customers/acme/file", acme.join("absolute")).unwrap();
    symlink("file", acme.join("relative")).unwrap();
    symlink("/customers/other", acme.join("out")).unwrap();
    symlink("../../../customers/acme/file", acme.join("inbox/climbs")).unwrap();
    let (session, registry) = session_on(folder.path(), "/customers/acme", Vec::new()).await;
    (folder, session, registry)
}

fn live() -> Arc<LiveSession> {
    let peer = "127.0.0.1:1".parse().unwrap();
    ClientInfo::new("test", "sftp", Endpoints { peer, local: peer }, &Drain::new()).live
}

/// A session at the backend of this name.
fn session(
    name: &str,
    backend: Box<dyn BackendSession>,
    root: Root,
    policy: Option<SessionPolicy>,
    registry: &Registry,
) -> Session {
    let info = Arc::new(SessionInfo {
        session: 1,
        peer: "127.0.0.1:1".parse().unwrap(),
        local: "127.0.0.1:2".parse().unwrap(),
        listener: "test".into(),
        protocol: "sftp",
        name: "u".into(),
        route_backend: name.into(),
        login: Default::default(),
        granted: Default::default(),
        established: Default::default(),
        audit: Default::default(),
        minted: Default::default(),
        end: EndSlot::default(),
        totals: Default::default(),
        live: live(),
    });
    Session::new(SessionCore {
        span: tracing::Span::none(),
        rules: Arc::new(SessionRules::new(policy)),
        limits: Default::default(),
        record: SessionRecord::new(info.clone()),
        info,
        metrics: Arc::new(Metrics::register(registry).unwrap()),
        open_uploads: Default::default(),
        root,
        greeting: None,
        backend,
    })
}

/// A session with this root and `rewrite`.
async fn session_on(
    folder: &std::path::Path,
    root: &str,
    rewrites: Vec<route::Rewrite>,
) -> (Arc<Session>, Registry) {
    let settings = Settings { folder: folder.into(), partial_uploads: PartialUploads::Keep };
    let backend = LocalBackend::open(&settings).unwrap();
    let registry = Registry::new();
    let root =
        Root::new(&route::Root::Path(path(root)), rewrites, Names::Exact, &Home::At(path("/")));
    let backend = backend.login(&Login::Authenticated(None), Origin::ANY).await.unwrap();
    let session = session("local", backend, root, None, &registry);
    (Arc::new(session), registry)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Collects what is logged at `info` until the guard is dropped.
    fn collect(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let log = tracing_subscriber::fmt().with_ansi(false);
        tracing::subscriber::set_default(log.with_writer(move || writer.clone()).finish())
    }

    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

/// At the level `info`.
#[tokio::test]
async fn failed_reads_of_metadata_are_logged_unless_they_are_routine() {
    let (_folder, session, _) = below_a_root().await;
    let lines = Lines::default();
    let _log = lines.collect();
    let failure = |fault, kind| Failure::new(kind, fault, "why");
    for (outcome, logged) in [
        (None, false),
        (Some(failure(Fault::Backend, FailureKind::NotFound)), false),
        (Some(failure(Fault::Client, FailureKind::InvalidArgument)), false),
        (Some(failure(Fault::Policy, FailureKind::PermissionDenied)), true),
        (Some(failure(Fault::Backend, FailureKind::PermissionDenied)), true),
        (Some(failure(Fault::Backend, FailureKind::Unavailable)), true),
        (Some(failure(Fault::Gateway, FailureKind::Internal)), true),
    ] {
        let admitted = session.core.admit(ListDirectory { path: path("/inbox") }).await;
        let record = admitted.ok().unwrap().record;
        match &outcome {
            None => record.done(),
            Some(failure) => record.failed(failure),
        }
        let line = lines.take();
        assert_eq!(line.contains("event=\"operation\""), logged, "{outcome:?}: {line}");
        assert_eq!(line.contains("reason=\"why\""), logged, "{line}");
    }
}

fn masked<T>(outcome: Result<T, Failure>) -> FailureKind {
    let failure = outcome.err().unwrap();
    assert!(!failure.message.contains("customers"), "{failure}");
    assert!(failure.status.is_none() && failure.peer.is_none());
    failure.kind
}

#[tokio::test]
async fn no_failure_of_a_backend_shows_the_root() {
    let (_folder, session, _) = below_a_root().await;
    assert_eq!(masked(session.open(path("inbox"), READ).await), FailureKind::IsADirectory);
    let read = session.read(path("inbox"), 0, Representation::Image).await;
    assert_eq!(masked(read), FailureKind::IsADirectory);
    let far = session.read(path("file"), 1000, Representation::Image).await;
    assert_eq!(masked(far), FailureKind::InvalidArgument);
    assert_eq!(masked(session.list(path("missing")).await), FailureKind::NotFound);
    let no_link = session.perform(Operation::ReadLink(path("file"))).await;
    assert_eq!(masked(no_link), FailureKind::InvalidArgument);

    let file = session.open(path("file"), READ).await.unwrap();
    assert_eq!(masked(file.write_at(0, "x".into()).await), FailureKind::PermissionDenied);
    let emptied = file.set_attributes(Changes { size: Some(0), ..Changes::default() }).await;
    assert_eq!(masked(emptied), FailureKind::PermissionDenied);
    file.close().await.unwrap();
    masked(file.stat().await);
    masked(file.read_at(0, 1).await);
}

#[tokio::test]
async fn copies_are_recorded_with_their_bytes() {
    let (folder, session, registry) = below_a_root().await;
    let new = OpenMode { write: true, create: true, ..READ };
    let from = session.open(path("file"), READ).await.unwrap();
    let to = session.open(path("copy"), new).await.unwrap();
    from.copy_data(3, 0, &to, 0).await.unwrap();
    from.copy_data(0, 2, &to, 4).await.unwrap();
    assert_eq!(masked(to.copy_data(0, 0, &from, 0).await), FailureKind::PermissionDenied);
    to.close().await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("customers/acme/copy")).unwrap(), b"tentco");
    assert_eq!(counted(&registry, "lockgate_transfer_bytes_total", "copy"), 6.0);
    assert_eq!(counted(&registry, "lockgate_operations_total", "copy"), 3.0);
}

#[tokio::test]
async fn a_file_that_is_copied_to_its_end_is_a_complete_download() {
    for (length, outcome) in [(0, "ok"), (7, "ok"), (6, "partial")] {
        let (_folder, session, registry) = below_a_root().await;
        let new = OpenMode { write: true, create: true, ..READ };
        let from = session.open(path("file"), READ).await.unwrap();
        let to = session.open(path("copy"), new).await.unwrap();
        from.copy_data(0, length, &to, 0).await.unwrap();
        from.close().await.unwrap();
        assert_eq!(downloads(&registry, outcome), 1.0, "{length} bytes of 7");
    }
}

/// lftp never closes the last file that it reads.
#[tokio::test]
async fn a_file_left_open_is_partial_unless_all_reads_were_answered() {
    for (length, answered, outcome) in
        [(7, true, "ok"), (7, false, "partial"), (6, true, "partial")]
    {
        let (_folder, session, registry) = below_a_root().await;
        let file = session.open(path("file"), READ).await.unwrap();
        file.read_at(0, length).await.unwrap();
        let closed = Failure::client(FailureKind::Aborted, "why");
        file.end_without_close(&closed, answered).await;
        assert_eq!(downloads(&registry, outcome), 1.0, "{length} bytes of 7, {answered}");
    }
}

#[tokio::test]
async fn a_failed_read_does_not_fail_an_upload() {
    let (_folder, session, registry) = below_a_root().await;
    let file = session.open(path("file"), OpenMode { write: true, ..READ }).await.unwrap();
    file.write_at(0, "whole".into()).await.unwrap();
    file.read_at(u64::MAX, 1).await.unwrap_err();
    file.close().await.unwrap();
    assert_eq!(counted(&registry, "lockgate_transfers_total", "ok"), 1.0);
    let file = session.open(path("file"), READ).await.unwrap();
    file.read_at(u64::MAX, 1).await.unwrap_err();
    file.close().await.unwrap();
    assert_eq!(counted(&registry, "lockgate_transfers_total", "ok"), 1.0);
}

#[tokio::test]
async fn the_record_of_a_session_counts_files_with_transferred_bytes() {
    let lines = Lines::default();
    let _log = lines.collect();
    let (_folder, session, _) = below_a_root().await;
    session.open(path("missing"), READ).await.err().unwrap();
    session.read(path("missing"), 0, Representation::Image).await.err().unwrap();
    session.write(path("inbox"), WriteMode::Append, Representation::Image).await.err().unwrap();
    // Some clients open a file to check their permission.
    session.open(path("file"), READ).await.unwrap().close().await.unwrap();
    let file = session.open(path("file"), READ).await.unwrap();
    file.read_at(0, 3).await.unwrap();
    file.abort(&Failure::client(FailureKind::Aborted, "why")).await;
    drop((file, session));
    let lines = lines.take();
    let ended = lines.lines().find(|line| line.contains("event=\"session\"")).unwrap();
    let counts = "uploads=0 uploaded_bytes=0 downloads=1 downloaded_bytes=3";
    assert!(ended.contains(counts), "{ended}");
}

fn downloads(registry: &Registry, outcome: &str) -> f64 {
    let families = registry.gather();
    let name = "lockgate_transfers_total";
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let expected = [("direction", "download"), ("outcome", outcome)];
    let ours = family.get_metric().iter().filter(|metric| {
        let labels = metric.get_label();
        let has = |(name, value)| labels.iter().any(|l| l.name() == name && l.value() == value);
        expected.into_iter().all(has)
    });
    ours.map(|metric| metric.get_counter().get_value()).sum()
}

/// The sum over all series with this value of some label.
fn counted(registry: &Registry, name: &str, label: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let ours = family
        .get_metric()
        .iter()
        .filter(|metric| metric.get_label().iter().any(|pair| pair.value() == label));
    ours.map(|metric| metric.get_counter().get_value()).sum()
}

#[tokio::test]
async fn targets_of_symlinks_are_as_the_client_sees_them() {
    let (_folder, session, _) = below_a_root().await;
    for (name, target) in [
        ("absolute", Some("/file")),
        ("relative", Some("file")),
        ("out", None),
        ("inbox/climbs", Some("/file")),
    ] {
        let expected = target.map(|target| target.as_bytes().to_vec());
        match session.perform(Operation::ReadLink(path(name))).await {
            Ok(Answer::Link(target)) => assert_eq!(Some(target), expected, "{name}"),
            refused => {
                assert_eq!(masked(refused), FailureKind::PermissionDenied);
                assert_eq!(expected, None, "{name}");
            }
        }
        match session.perform(Operation::LinkStat(path(name))).await.unwrap() {
            Answer::Entry(entry) => assert_eq!(entry.kind, EntryKind::Symlink(expected), "{name}"),
            other => panic!("{other:?}"),
        }
    }
    let mut listing = session.list(path("/")).await.unwrap();
    let mut links: Vec<_> = listing.next().await.unwrap().unwrap();
    listing.finish();
    links.retain(|entry| matches!(entry.kind, EntryKind::Symlink(_)));
    links.sort_by(|a, b| a.name.cmp(&b.name));
    let kinds: Vec<_> = links.into_iter().map(|entry| entry.kind).collect();
    let link = |target: Option<&str>| EntryKind::Symlink(target.map(|t| t.as_bytes().to_vec()));
    assert_eq!(kinds, [link(Some("/file")), link(None), link(Some("file"))]);
}

#[tokio::test]
async fn the_root_cannot_be_removed_renamed_or_made_inaccessible() {
    let (folder, session, _) = below_a_root().await;
    let acme = folder.path().join("customers/acme");
    for name in ["file", "absolute", "relative", "out"] {
        std::fs::remove_file(acme.join(name)).unwrap();
    }
    std::fs::remove_dir_all(acme.join("inbox")).unwrap();
    let closed = Changes { permissions: Some(0), ..Changes::default() };
    for operation in [
        Operation::RemoveDirectory(path("/")),
        Operation::RemoveDirectory(path("inbox/..")),
        Operation::Remove(path("/")),
        Operation::Rename { from: path("/"), to: path("/other"), onto: Onto::Refused },
        Operation::SetAttributes { path: path("/"), changes: closed, follow: true },
    ] {
        let name = operation.name();
        let refused = masked(session.perform(operation).await);
        assert_eq!(refused, FailureKind::PermissionDenied, "{name}");
    }
    assert!(std::fs::read_dir(acme).is_ok());
}
