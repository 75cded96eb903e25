//! OPENDIR, READDIR, MKDIR.

use futures_util::FutureExt;

use super::stub::LARGE;
use super::*;
use crate::front::sftp::directory;

#[tokio::test]
async fn mkdir_sets_permissions_in_one_operation() {
    let (mut requests, stub) = requests().await;
    for permissions in [Some(0o40_700), None] {
        let attributes = Attributes { permissions, ..Attributes::default() };
        let make = RequestBody::MakeDir { path: Bytes::from_static(b"x"), attributes };
        assert_eq!(code(requests.send(make).await), StatusCode::OK);
    }
    assert_eq!(stub.calls(), ["make-directory Some(448)", "make-directory None"]);
}

#[tokio::test]
async fn readdir_returns_valid_names_and_the_dots_once() {
    let (mut requests, _) = requests().await;
    // `..` is as the backend lists it, except at the root; missing entries are added.
    for (path, expected) in [
        ("", [("a", 0o700), ("..", 0o700), ("d", 0o700), (".", 0o755)]),
        ("/", [("a", 0o700), ("d", 0o700), (".", 0o755), ("..", 0o755)]),
    ] {
        let opened = requests.send(RequestBody::OpenDir { path: path.into() }).await;
        let ResponseBody::Handle(handle) = opened else { panic!("{opened:?}") };
        let mut names = Vec::new();
        loop {
            match requests.send(RequestBody::ReadDir { handle: handle.clone() }).await {
                ResponseBody::Names(more) => names.extend(more),
                end => break assert_eq!(code(end), StatusCode::EOF),
            }
        }
        let mode = |name: &Name| name.attributes.permissions.unwrap() & 0o777;
        let names: Vec<_> = names.iter().map(|name| (&name.name[..], mode(name))).collect();
        assert_eq!(names, expected.map(|(name, mode)| (name.as_bytes(), mode)));
        assert_eq!(code(requests.send(RequestBody::Close { handle }).await), StatusCode::OK);
    }
}

#[tokio::test]
async fn names_buffered_by_opendir_are_bounded() {
    let (mut requests, stub) = requests().await;
    let open = |path: &'static str| RequestBody::OpenDir { path: path.into() };
    let mut opened = Vec::new();
    let refused = loop {
        match requests.send(open("/large")).await {
            ResponseBody::Handle(handle) => opened.push(handle),
            refused => break refused,
        }
    };
    assert_eq!(code(refused), StatusCode::FAILURE);
    assert!((8..64).contains(&opened.len()), "{}", opened.len());
    stub.calls();
    assert_eq!(code(requests.send(open("/small")).await), StatusCode::FAILURE);
    assert!(stub.calls().is_empty(), "the backend is called");
    // Names that were returned, and those of closed directories, are not buffered any more.
    let handle = opened.pop().unwrap();
    let read = RequestBody::ReadDir { handle };
    while matches!(requests.send(read.clone()).await, ResponseBody::Names(_)) {}
    assert!(matches!(requests.send(open("/small")).await, ResponseBody::Handle(_)));
    for handle in opened {
        assert_eq!(code(requests.send(RequestBody::Close { handle }).await), StatusCode::OK);
    }
    for _ in 0..100 {
        assert!(matches!(requests.send(open("/small")).await, ResponseBody::Handle(_)));
    }
}

#[tokio::test]
async fn names_buffered_by_readdir_are_bounded() {
    let (mut requests, _) = requests().await;
    let mut opened = Vec::new();
    for _ in 0..directory::OPEN_DIRECTORIES_MAX {
        let open = RequestBody::OpenDir { path: "/endless".into() };
        let ResponseBody::Handle(handle) = requests.send(open).await else { panic!() };
        let mut returned = 0;
        while returned < LARGE {
            let read = RequestBody::ReadDir { handle: handle.clone() };
            let ResponseBody::Names(names) = requests.send(read).await else { panic!() };
            returned += names.len();
        }
        opened.push(handle);
    }
    let (mut buffering, mut refused) = (Vec::new(), Vec::new());
    for handle in opened {
        match requests.send(RequestBody::ReadDir { handle: handle.clone() }).await {
            ResponseBody::Names(_) => buffering.push(handle),
            busy => {
                assert_eq!(code(busy), StatusCode::FAILURE);
                refused.push(handle);
            }
        }
    }
    assert!(buffering.len() >= 32 && !refused.is_empty(), "{} buffer names", buffering.len());
    // They continue once others are closed.
    for handle in buffering {
        assert_eq!(code(requests.send(RequestBody::Close { handle }).await), StatusCode::OK);
    }
    let handle = refused.remove(0);
    let read = requests.send(RequestBody::ReadDir { handle }).await;
    assert!(matches!(read, ResponseBody::Names(_)), "{read:?}");
}

/// A backend may have no free connection until another directory is read to its end.
#[tokio::test]
async fn readdir_continues_while_other_opendirs_wait() {
    let (mut requests, stub) = requests().await;
    let opened = requests.send(RequestBody::OpenDir { path: "/first".into() }).await;
    let ResponseBody::Handle(handle) = opened else { panic!("{opened:?}") };
    let _never_resumed = stub.hold("list /later");
    let later = |_| requests.start(RequestBody::OpenDir { path: "/later".into() });
    let mut later: Vec<_> = (0..32).map(later).collect();
    assert!(later.iter_mut().all(|open| poll_now(open).is_none()));
    assert!(stub.waiting_max() > 0);
    let read = RequestBody::ReadDir { handle };
    loop {
        match requests.send(read.clone()).now_or_never().expect("READDIR waits for OPENDIR") {
            ResponseBody::Names(_) => {}
            end => break assert_eq!(code(end), StatusCode::EOF),
        }
    }
}

#[tokio::test]
async fn all_channels_of_a_connection_share_the_limit_of_open_directories() {
    let (mut first, stub) = requests().await;
    let mut second =
        Requests::new(first.session.clone(), first.directories.clone(), first.live.clone());
    let open = || RequestBody::OpenDir { path: "/small".into() };
    let mut opened = Vec::new();
    for number in 0..directory::OPEN_DIRECTORIES_MAX {
        let requests = if number % 2 == 0 { &mut first } else { &mut second };
        let ResponseBody::Handle(handle) = requests.send(open()).await else { panic!("{number}") };
        opened.push(handle);
    }
    stub.calls();
    for requests in [&mut first, &mut second] {
        let ResponseBody::Status { code, message, .. } = requests.send(open()).await else {
            panic!()
        };
        assert_eq!(code, StatusCode::FAILURE);
        let message = String::from_utf8_lossy(&message).into_owned();
        assert!(message.contains("128 directories are open on this connection"), "{message}");
    }
    assert!(stub.calls().is_empty(), "the backend is called");
    let handle = opened.swap_remove(0);
    assert_eq!(code(first.send(RequestBody::Close { handle }).await), StatusCode::OK);
    assert!(matches!(second.send(open()).await, ResponseBody::Handle(_)));
    // The end of a channel closes its directories.
    first.abandon(&connection_closed(), true).await;
    assert!(matches!(second.send(open()).await, ResponseBody::Handle(_)));
}
