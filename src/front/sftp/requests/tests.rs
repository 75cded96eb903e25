//! Requests of one channel, on a scripted backend.

use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use zeroize::Zeroizing;

use super::*;
use crate::session::{ClientInfo, Proof, SessionEnd};
use crate::wire::sftp::{Attributes, Extension, OpenFlags, StatusCode};

mod directories;
mod stub;

pub(in crate::front::sftp) use stub::{Stub, gateway};

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
        &crate::net::Drain::new(),
    );
    let password = Zeroizing::new(Vec::new());
    let proof = Proof::password(b"u".to_vec(), password.into());
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let session = gateway.login(&client_info, proof, soon).await.unwrap();
    (Requests::new(Arc::new(session), OpenDirectories::new(), client_info.live), stub)
}

impl Requests {
    async fn send(&mut self, request: RequestBody) -> ResponseBody {
        let outcome = self.start(request).await;
        self.response(outcome)
    }

    async fn open_for_writing(&mut self) -> Bytes {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let path = Bytes::from_static(b"x");
        let open = RequestBody::Open { path, flags, attributes: Attributes::default() };
        match self.send(open).await {
            ResponseBody::Handle(handle) => handle,
            other => panic!("{other:?}"),
        }
    }
}

fn connection_closed() -> Failure {
    SessionEnd::done("the client closed the connection").failure()
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

/// The record includes what was read.
#[tokio::test]
async fn a_close_waits_for_reads() {
    let (mut requests, stub) = requests().await;
    let (path, attributes) = (Bytes::from_static(b"x"), Attributes::default());
    let open = RequestBody::Open { path, flags: OpenFlags::READ, attributes };
    let ResponseBody::Handle(handle) = requests.send(open).await else { panic!("not opened") };
    let read = requests.start(RequestBody::Read { handle: handle.clone(), offset: 0, length: 1 });
    let mut close = requests.start(RequestBody::Close { handle });
    assert!((&mut close).now_or_never().is_none());
    assert_eq!(stub.calls(), ["read /home/u/x", "read 0 1"]);
    assert!(read.await.is_ok());
    assert!(close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn a_close_waits_for_writes_and_invalidates_the_handle_at_once() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let first = requests.start(write(&handle, 0));
    let mut second = requests.start(write(&handle, 4));
    let mut close = requests.start(RequestBody::Close { handle: handle.clone() });
    // The backend is called in order, before anything is polled.
    assert_eq!(stub.calls(), ["write /home/u/x", "write 0", "write 4"]);
    assert_eq!(code(requests.send(write(&handle, 8)).await), StatusCode::FAILURE);

    assert!((&mut close).now_or_never().is_none());
    stub.end_write(Ok(()));
    stub.end_write(Ok(()));
    assert!((&mut second).now_or_never().is_none(), "answered before the first");
    assert!((&mut close).now_or_never().is_none(), "the first is unfinished");
    assert!(first.await.is_ok());
    assert!(second.await.is_ok());
    assert!(close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
    assert!(requests.has_no_handles());
}

#[tokio::test]
async fn a_close_after_a_failed_write_fails_and_aborts_the_file() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let writing = requests.start(write(&handle, 0));
    let close = requests.start(RequestBody::Close { handle });
    stub.end_write(Err(Failure::backend(FailureKind::NoSpace, "the disk is full")));
    assert_eq!(writing.await.err().unwrap().kind, FailureKind::NoSpace);
    assert_eq!(close.await.err().unwrap().message, "the disk is full");
    assert_eq!(stub.calls().last().unwrap(), "abort");
}

fn path(path: &'static str) -> Bytes {
    Bytes::from_static(path.as_bytes())
}

fn poll_now(work: &mut RequestFuture) -> Option<Result<Outcome, Failure>> {
    work.now_or_never()
}

/// What sshfs sends to create a file.
#[tokio::test]
async fn requests_wait_for_an_earlier_open_of_their_path_only() {
    let (mut requests, stub) = requests().await;
    let resume = stub.hold("write /home/u/x");
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let attributes = Attributes::default();
    let mut open = requests.start(RequestBody::Open { path: path("x"), flags, attributes });
    let mut stat = requests.start(RequestBody::LinkStat { path: path("x") });
    let mut list = requests.start(RequestBody::OpenDir { path: path(".") });
    let mut other = requests.start(RequestBody::LinkStat { path: path("y") });
    let mut above = requests.start(RequestBody::Stat { path: path("/home") });
    assert!(poll_now(&mut open).is_none());
    assert!(poll_now(&mut stat).is_none() && poll_now(&mut list).is_none());
    assert!(poll_now(&mut other).is_some() && poll_now(&mut above).is_some());
    let called = ["write /home/u/x", "link-stat /home/u/y", "stat /home"];
    assert_eq!(stub.calls(), called);
    resume.notify_one();
    drop(open.await.unwrap());
    assert!(stat.await.is_ok() && list.await.is_ok());
    assert_eq!(stub.calls(), ["link-stat /home/u/x", "list /home/u"]);
}

/// What sshfs and editors send to save a file, without waiting for the response to CLOSE.
#[tokio::test]
async fn a_rename_waits_for_an_earlier_close() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let mut writing = requests.start(write(&handle, 0));
    assert!(poll_now(&mut writing).is_none());
    let mut close = requests.start(RequestBody::Close { handle });
    let mut rename = requests.start(RequestBody::Rename { from: path("x"), to: path("y") });
    let mut stat = requests.start(RequestBody::Stat { path: path("y") });
    stub.calls();
    assert!(
        poll_now(&mut close).is_none()
            && poll_now(&mut rename).is_none()
            && poll_now(&mut stat).is_none()
    );
    stub.end_write(Ok(()));
    assert!(writing.await.is_ok() && close.await.is_ok());
    assert!(rename.await.is_ok() && stat.await.is_ok());
    assert_eq!(stub.calls(), ["close", "rename /home/u/x", "stat /home/u/y"]);
}

/// A listing delays later requests about its directory, but not those on open files.
#[tokio::test]
async fn fsetstat_truncates_a_file_before_later_writes() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    stub.calls();
    let resume = stub.hold("list");
    let mut list = requests.start(RequestBody::OpenDir { path: path(".") });
    assert!(poll_now(&mut list).is_none());
    let attributes = Attributes { size: Some(0), ..Attributes::default() };
    let empty = RequestBody::FileSetStat { handle: handle.clone(), attributes };
    let empty = requests.start(empty);
    let writing = requests.start(write(&handle, 0));
    let close = requests.start(RequestBody::Close { handle });
    assert_eq!(stub.calls(), ["list /home/u", "size Some(0)", "write 0"]);
    resume.notify_one();
    stub.end_write(Ok(()));
    assert!(list.await.is_ok() && empty.await.is_ok());
    assert!(writing.await.is_ok() && close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn a_close_waits_for_changes_to_the_open_file() {
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let resume = stub.hold("file");
    let attributes = Attributes { permissions: Some(0o600), ..Attributes::default() };
    let change = RequestBody::FileSetStat { handle: handle.clone(), attributes };
    let mut change = requests.start(change);
    let mut close = requests.start(RequestBody::Close { handle });
    assert!(poll_now(&mut change).is_none() && poll_now(&mut close).is_none());
    assert_eq!(stub.calls(), ["write /home/u/x", "size None"]);
    resume.notify_one();
    assert!(change.await.is_ok() && close.await.is_ok());
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn an_open_file_with_a_temporary_name_serves_stat_and_setstat_of_its_path() {
    let (mut requests, stub) = requests().await;
    stub.temporary.store(true, Ordering::Relaxed);
    let handle = requests.open_for_writing().await;
    stub.calls();
    let stat = requests.send(RequestBody::LinkStat { path: path("x") }).await;
    assert!(matches!(stat, ResponseBody::Attributes(_)), "{stat:?}");
    let attributes = Attributes { permissions: Some(0o600), ..Attributes::default() };
    let change = RequestBody::SetStat { path: path("x"), attributes };
    assert_eq!(code(requests.send(change).await), StatusCode::OK);
    assert_eq!(stub.calls(), ["file stat", "size None"]);
    requests.send(RequestBody::Stat { path: path("y") }).await;
    assert_eq!(code(requests.send(RequestBody::Close { handle }).await), StatusCode::OK);
    requests.send(RequestBody::Stat { path: path("x") }).await;
    assert_eq!(stub.calls(), ["stat /home/u/y", "close", "stat /home/u/x"]);
}

#[tokio::test]
async fn the_backend_decides_about_copies_within_one_file() {
    let (mut requests, stub) = requests().await;
    let flags = OpenFlags::READ | OpenFlags::WRITE;
    let path = Bytes::from_static(b"x");
    let open = RequestBody::Open { path, flags, attributes: Attributes::default() };
    let ResponseBody::Handle(handle) = requests.send(open).await else { panic!() };
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
    assert_eq!(code(requests.send(copy(0, 100)).await), StatusCode::OK);
    assert_eq!(code(requests.send(copy(7, 7)).await), StatusCode::FAILURE);
    assert_eq!(code(requests.send(copy(1000, 0)).await), StatusCode::EOF);
    // A copy to the end also requests the size, for the record.
    let copies = stub.calls().into_iter().filter(|call| call.starts_with("copy"));
    assert_eq!(copies.collect::<Vec<_>>(), ["copy 0 0 100", "copy 7 0 7", "copy 1000 0 0"]);
    // A refused copy does not affect the file.
    assert_eq!(code(requests.send(RequestBody::Close { handle }).await), StatusCode::OK);
    assert_eq!(stub.calls(), ["close"]);
}

#[tokio::test]
async fn files_left_open_are_aborted() {
    let (mut requests, stub) = requests().await;
    requests.open_for_writing().await;
    requests.abandon(&connection_closed(), true).await;
    assert_eq!(stub.calls().last().unwrap(), "abort");
    assert!(requests.has_no_handles());
}

#[tokio::test]
async fn reads_and_writes_need_their_flags_and_read_lengths_are_limited() {
    let (mut requests, stub) = requests().await;
    let written = requests.open_for_writing().await;
    let read = |handle, length| RequestBody::Read { handle, offset: 7, length };
    assert_eq!(code(requests.send(read(written, 1)).await), StatusCode::PERMISSION_DENIED);
    let path = Bytes::from_static(b"y");
    let (flags, attributes) = (OpenFlags::READ, Attributes::default());
    let open = requests.send(RequestBody::Open { path, flags, attributes }).await;
    let ResponseBody::Handle(handle) = open else { panic!("{open:?}") };
    assert_eq!(code(requests.send(write(&handle, 0)).await), StatusCode::PERMISSION_DENIED);
    assert_eq!(code(requests.send(read(handle.clone(), 0)).await), StatusCode::EOF);
    stub.calls();
    assert_eq!(code(requests.send(read(handle, u32::MAX)).await), StatusCode::EOF);
    assert_eq!(stub.calls(), ["read 7 261120"]);
}

#[tokio::test]
async fn realpath_and_expand_path_resolve_against_the_home_directory() {
    let (mut requests, _) = requests().await;
    let mut expand = async |path: &'static str, extended: bool| {
        let path = Bytes::from_static(path.as_bytes());
        let request = if extended {
            RequestBody::Extended(Extension::ExpandPath { path })
        } else {
            RequestBody::RealPath { path }
        };
        match requests.send(request).await {
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
async fn a_session_that_ends_only_finishes_open_files() {
    use RequestBody as R;
    let (mut requests, stub) = requests().await;
    let handle = requests.open_for_writing().await;
    let list = requests.send(R::OpenDir { path: Bytes::new() }).await;
    let ResponseBody::Handle(directory) = list else { panic!("{list:?}") };
    requests.live.end_after_transfers(SessionEnd::done("its time is over"));
    stub.calls();
    let flags = OpenFlags::READ;
    let attributes = Attributes::default;
    for refused in [
        R::OpenDir { path: Bytes::new() },
        R::Open { path: path("x"), flags, attributes: attributes() },
        R::Stat { path: path("y") },
        R::SetStat { path: path("y"), attributes: attributes() },
        R::Remove { path: path("y") },
        R::MakeDir { path: path("y"), attributes: attributes() },
        R::Rename { from: path("y"), to: path("z") },
        R::RealPath { path: path(".") },
        R::Extended(Extension::PosixRename { from: path("y"), to: path("z") }),
    ] {
        let shown = format!("{refused:?}");
        let failure = requests.start(refused).await.err().expect(&shown);
        assert_eq!(failure.message, "its time is over; connect again", "{shown}");
    }
    assert!(stub.calls().is_empty());
    let writing = requests.start(write(&handle, 0));
    stub.end_write(Ok(()));
    assert!(writing.await.is_ok());
    for served in [
        R::FileStat { handle: handle.clone() },
        R::FileSetStat { handle: handle.clone(), attributes: attributes() },
        R::ReadDir { handle: directory.clone() },
        R::Close { handle: directory },
        R::Close { handle },
    ] {
        let shown = format!("{served:?}");
        assert!(requests.start(served).await.is_ok(), "{shown}");
    }
    assert!(requests.has_no_handles());
}
