//! The old process is scripted: it is this test at the link, and another process that can be killed.

use std::os::fd::AsFd;

use prometheus::Registry;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::app::test_gateway::{Files, Process, expect_serving};
use crate::auth::{GuardSettings, LoginGuard};

struct Old {
    link: Link,
    process: Process,
    /// The new process.
    taking_over: JoinHandle<Result<Running, TakeOverError>>,
    _files: Files,
}

impl Old {
    /// Until the new one has prepared everything.
    async fn offer(before: usize) -> Self {
        let mut old = Self::offer_only(before).await;
        assert!(matches!(old.link.next().await.unwrap(), Some(Message::Prepared(_))));
        old
    }

    async fn offer_only(before: usize) -> Self {
        let (files, process) = (Files::new(), Process::start());
        let (own, link) = UnixStream::pair().unwrap();
        let taking_over =
            tokio::spawn(take_over_from(Link::new(link, 0), files.config(), files.admin()));
        let mut link = Link::new(own, 0);
        let (id, sockets) = (process.0.id(), vec![]);
        link.send(&Message::Offer { process: id, before, sockets, keeps_admin_file: true })
            .await
            .unwrap();
        let handle = pidfd_open(Pid::from_child(&process.0), PidfdFlags::empty()).unwrap();
        link.send_sockets(&[files.listen().as_fd(), handle.as_fd()]).await.unwrap();
        Self { link, process, taking_over, _files: files }
    }

    /// Until the new one could accept.
    async fn hand_over() -> Self {
        let mut old = Self::offer(0).await;
        let servers = Message::Part(Part::DrainedServers(vec!["none".into()]));
        old.link.send(&servers).await.unwrap();
        old.link.send(&Message::HandOver { given: vec![] }).await.unwrap();
        assert!(matches!(old.link.next().await.unwrap(), Some(Message::Ready)));
        old
    }
}

fn broken(taken: Result<Running, TakeOverError>) -> String {
    match taken {
        Err(error @ TakeOverError::Broken(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it has taken over"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_accepts_when_it_does() {
    let mut old = Old::hand_over().await;
    old.link.send(&Message::Go).await.unwrap();
    assert!(matches!(old.link.next().await.unwrap(), Some(Message::Serving)));
    let running = old.taking_over.await.unwrap().unwrap();
    expect_serving(&running).await;
}

/// As many as `login_guard.max_failures` of the configuration, not of the default.
#[tokio::test(flavor = "multi_thread")]
async fn all_failed_logins_go_along() {
    let mut old = Old::offer(0).await;
    let settings = GuardSettings { max_failures: 30, ..GuardSettings::default() };
    let guard = LoginGuard::new(settings, &Registry::new()).unwrap();
    let address = "192.0.2.1".parse().unwrap();
    (0..20).for_each(|_| guard.login_refused(address, None));
    for part in guard.export() {
        old.link.send(&Message::Part(Part::Guard(part))).await.unwrap();
    }
    old.link.send(&Message::HandOver { given: vec![] }).await.unwrap();
    assert!(matches!(old.link.next().await.unwrap(), Some(Message::Ready)));
    old.link.send(&Message::Go).await.unwrap();
    let running = old.taking_over.await.unwrap().unwrap();
    let guard = &running.process.guard;
    (0..9).for_each(|_| guard.login_refused(address, None));
    assert!(!guard.is_banned(address));
    guard.login_refused(address, None);
    assert!(guard.is_banned(address));
}

/// The old one may go on when it continues.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_of_an_old_process_that_lives_it_gives_up() {
    let mut old = Old::hand_over().await;
    let error = broken(old.taking_over.await.unwrap());
    assert!(error.contains("no answer within"), "{error}");
    assert!(matches!(old.link.next().await.unwrap(), Some(Message::Failed(_))));
    // Also where the link ends.
    for before_hand_over in [true, false] {
        let old = if before_hand_over { Old::offer(0).await } else { Old::hand_over().await };
        drop(old.link);
        broken(old.taking_over.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_of_the_old_process_it_accepts() {
    for stage in 0..3 {
        let mut old = match stage {
            0 => Old::offer_only(0).await,
            1 => Old::offer(0).await,
            _ => Old::hand_over().await,
        };
        old.process.end();
        drop(old.link);
        let running = old.taking_over.await.unwrap().unwrap();
        expect_serving(&running).await;
    }
    // Not where a third one may accept at the same ports.
    let mut old = Old::offer(1).await;
    old.process.end();
    drop(old.link);
    broken(old.taking_over.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn state_without_an_end_is_refused() {
    let mut old = Old::offer(0).await;
    for _ in 0..=PARTS_MAX {
        if old.link.send(&Message::Part(Part::DrainedServers(vec![]))).await.is_err() {
            break;
        }
    }
    let error = broken(old.taking_over.await.unwrap());
    assert!(error.contains("parts of its state"), "{error}");
}
