//! One session's view, from its login to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::data::Progress;
use crate::net::{Drain, Endpoints};
use crate::op::{ListDirectory, ReadFile, RemotePath, Representation, WriteFile, WriteMode};
use crate::session::client_info::ClientInfo;
use crate::session::end::SessionEnd;
use crate::task::poll_once;

fn client(drain: &Drain) -> ClientInfo {
    let (peer, local) = ("192.0.2.1:4711".parse().unwrap(), "192.0.2.9:21".parse().unwrap());
    ClientInfo::new("public", "ftp", Endpoints { peer, local }, drain)
}

fn path(text: &str) -> RemotePath {
    RemotePath::resolve(&RemotePath::root(), text.as_bytes()).unwrap()
}

fn upload(progress: &Arc<Progress>) -> Running {
    let (mode, representation) = (WriteMode::From { offset: 0 }, Representation::Image);
    let action = WriteFile { path: path("/up"), mode, representation };
    Running::new(&action, progress.clone(), Arc::default(), None)
}

#[tokio::test(start_paused = true)]
async fn a_view_shows_what_a_session_does_and_how_fast() {
    let live = client(&Drain::new()).live;
    assert_eq!(live.view().state, SessionState::BeforeLogin);
    let account = LiveAccount { user: b"alice".to_vec(), ..LiveAccount::default() };
    live.login_begins(account.clone());
    assert_eq!(live.view().state, SessionState::LoggingIn);
    live.login_failed();
    let view = live.view();
    assert_eq!((view.state, view.account.as_ref()), (SessionState::BeforeLogin, Some(&account)));
    live.login_succeeded(account);
    tokio::time::advance(Duration::from_secs(7)).await;
    let view = live.view();
    assert_eq!((view.state, view.idle), (SessionState::Idle, Some(Duration::from_secs(7))));

    let listing =
        Running::new(&ListDirectory { path: path("/a") }, Arc::default(), Arc::default(), None);
    let listing = live.begin(listing);
    let view = live.view();
    assert_eq!((view.state, view.idle, view.operations_running), (SessionState::Busy, None, 1));
    assert_eq!((view.operations[0].operation, &view.operations[0].path[..]), ("list", &b"/a"[..]));

    let (up, down) = (Arc::<Progress>::default(), Arc::<Progress>::default());
    let uploading = live.begin(upload(&up));
    let action = ReadFile { path: path("/down"), offset: 0, representation: Representation::Image };
    let downloading = live.begin(Running::new(&action, down.clone(), Arc::default(), None));
    for _ in 0..10 {
        up.add(1000);
        down.add(500);
        tokio::time::advance(Duration::from_secs(1)).await;
        live.sample(tokio::time::Instant::now());
    }
    uploading.set_path(b"/up.1");
    let view = live.view();
    assert_eq!(view.state, SessionState::Transferring);
    assert_eq!((view.uploaded, view.downloaded), (10_000, 5000));
    assert_eq!((view.upload_rate, view.download_rate), (1000, 500));
    assert_eq!((view.transfers_running, view.transfers.len()), (2, 2));
    assert_eq!((&view.transfers[0].path[..], view.transfers[0].rate), (&b"/up.1"[..], 1000));
    assert_eq!(view.transfers[1].duration, Duration::from_secs(10));

    // What has moved still counts once it has ended.
    drop((uploading, downloading, listing));
    let view = live.view();
    assert_eq!((view.state, view.transfers_running), (SessionState::Idle, 0));
    assert_eq!((view.uploaded, view.upload_rate), (10_000, 1000));
    live.logged_out();
    assert_eq!((live.view().state, live.view().account), (SessionState::BeforeLogin, None));
}

/// Each byte once, whenever the counters are looked at, and whatever moves at the very end.
#[tokio::test]
async fn bytes_of_running_transfers_are_added_to_the_counters_once() {
    let live = client(&Drain::new()).live;
    let (progress, read_back) = (Arc::<Progress>::default(), Arc::<Progress>::default());
    let counter = || prometheus::IntCounter::new("bytes", "Bytes").unwrap();
    let (up, down) = (counter(), counter());
    let counters = ByteCounters { uploaded: up.clone(), downloaded: down.clone(), user: None };
    let (mode, representation) = (WriteMode::From { offset: 0 }, Representation::Image);
    let action = WriteFile { path: path("/up"), mode, representation };
    let running = Running::new(&action, progress.clone(), read_back.clone(), Some(counters));
    let running = live.begin(running);
    for round in 1..=3 {
        progress.add(10);
        read_back.add(1);
        for _ in 0..2 {
            live.sample(tokio::time::Instant::now());
            assert_eq!((up.get(), down.get()), (round * 10, round));
        }
    }
    progress.add(5);
    drop(running);
    assert_eq!((up.get(), down.get()), (35, 3));
    live.sample(tokio::time::Instant::now());
    assert_eq!(up.get(), 35);
}

#[tokio::test]
async fn what_is_listed_is_bounded_and_what_is_counted_is_not() {
    let live = client(&Drain::new()).live;
    let progress = Arc::<Progress>::default();
    let running: Vec<_> = (0..300).map(|_| live.begin(upload(&progress))).collect();
    progress.add(7);
    let view = live.view();
    assert_eq!((view.transfers.len(), view.transfers_running), (20, 300));
    assert_eq!(view.uploaded, 2100);
    drop(running);
    assert_eq!(live.view().transfers_running, 0);
}

#[tokio::test]
async fn one_session_is_ended_and_the_gateway_goes_on() {
    let drain = Drain::new();
    let (kicked, gentle, other) = (client(&drain).live, client(&drain).live, client(&drain).live);
    kicked.end_now(SessionEnd::by_operator());
    assert_eq!(kicked.forced().await.reason(), "an operator ended the session");
    assert!(kicked.drain().is_draining());
    assert_eq!(kicked.view().state, SessionState::Ending);

    gentle.end_after_transfers(SessionEnd::done("no longer admitted"));
    gentle.end_after_transfers(SessionEnd::done("another reason"));
    assert!(gentle.drain().is_draining());
    assert!(poll_once(Box::pin(gentle.forced())).is_none(), "it was forced");
    assert_eq!(gentle.end().reason(), "no longer admitted");
    assert_eq!(gentle.view().ending.as_deref(), Some("no longer admitted"));
    assert_eq!(gentle.view().state, SessionState::BeforeLogin);
    // What is to end is no safer from an operator than others.
    gentle.end_now(SessionEnd::by_operator());
    assert_eq!(gentle.forced().await.reason(), "an operator ended the session");
    assert_eq!(gentle.end().reason(), "an operator ended the session");

    assert!(!drain.is_draining() && !other.drain().is_draining());
    assert_eq!(other.view().ending, None);
    drain.force();
    assert!(other.forced().await.is_shutdown());
}

#[tokio::test]
async fn sessions_are_listed_while_they_are_registered() {
    let (sessions, drain) = (LiveSessions::new(), Drain::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (first, second) = (client(&drain).live, client(&drain).live);
    let registered = sessions.register(&first, &tcp);
    let _registered = sessions.register(&second, &tcp);
    let numbers = || sessions.all().iter().map(|it| it.number()).collect::<Vec<_>>();
    assert_eq!(numbers(), [first.number(), second.number()]);
    // The connection comes from another address than the client.
    assert_eq!(first.view().proxy, Some(listener.local_addr().unwrap()));
    drop(registered);
    assert_eq!((numbers(), sessions.len()), (vec![second.number()], 1));
}
