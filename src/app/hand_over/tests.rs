//! The new process is scripted: it is this test at the link, and another process that can be killed.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc;

use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::*;
use crate::admin::RestartOutcome;
use crate::app::reload::ReloadError;
use crate::app::restart::{START_TIMEOUT, restart};
use crate::app::test_gateway::{Files, Process, expect_serving};
use crate::app::{Program, Running};

struct Next {
    link: Link,
    process: Process,
    /// Of the gateway.
    handing_over: JoinHandle<()>,
}

impl Next {
    fn ask(running: &Running) -> Self {
        let process = Process::start();
        let (own, link) = UnixStream::pair().unwrap();
        let link = Link::new(link, process.0.id());
        let handing_over = tokio::spawn(hand_over(running.reloader(), link));
        Self { link: Link::new(own, 0), process, handing_over }
    }

    async fn receive(&mut self) -> Message {
        self.link.next().await.unwrap().expect("a message")
    }

    async fn send(&mut self, message: Message) {
        self.link.send(&message).await.unwrap();
    }

    /// Until nobody accepts.
    async fn prepare(&mut self) {
        let Message::Offer { sockets, .. } = self.receive().await else { panic!("no offer") };
        self.link.receive_sockets(sockets.len() + 2).await.unwrap();
        self.send(Message::Prepared((0..sockets.len()).collect())).await;
        while let Message::Part(_) = self.receive().await {}
    }

    async fn expect_refused(mut self) -> String {
        let refusal = loop {
            match self.receive().await {
                Message::Refused(reason) => break reason,
                Message::Offer { sockets, .. } => {
                    self.link.receive_sockets(sockets.len() + 2).await.unwrap();
                }
                _ => {}
            }
        };
        self.handing_over.await.unwrap();
        refusal
    }
}

/// However it hangs or ends after it has got the sockets, and without killing it if it has said that it does not
/// serve.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_word_of_the_new_process_the_old_one_serves_alone() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Then {
        Silent,
        Closes,
        Talks,
        CannotServe,
    }
    let files = Files::new();
    let running = files.serve();
    for has_word in [false, true] {
        for then in [Then::Silent, Then::Closes, Then::Talks, Then::CannotServe] {
            let mut next = Next::ask(&running);
            next.prepare().await;
            if has_word {
                next.send(Message::Ready).await;
                assert!(matches!(next.receive().await, Message::Go));
            }
            let Next { mut link, mut process, handing_over } = next;
            match then {
                Then::Silent => {}
                Then::Closes => drop(link),
                Then::Talks => link.send(&Message::Go).await.unwrap(),
                Then::CannotServe => link.send(&Message::Failed("why".into())).await.unwrap(),
            }
            handing_over.await.unwrap();
            if then == Then::CannotServe {
                assert!(process.is_running());
            } else {
                assert_eq!(process.0.wait().unwrap().signal(), Some(9), "{then:?} {has_word}");
            }
            assert!(!running.reloader().has_handed_over());
            expect_serving(&running).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_could_not_be_killed_gets_nothing() {
    let files = Files::new();
    let running = files.serve();
    let (own, link) = UnixStream::pair().unwrap();
    let handing_over = tokio::spawn(hand_over(running.reloader(), Link::new(link, 0)));
    let (link, process) = (Link::new(own, 0), Process::start());
    let refusal = Next { link, process, handing_over }.expect_refused().await;
    assert!(refusal.contains("the same PID namespace"), "{refusal}");
    expect_serving(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_waits_for_the_end_of_a_hand_over_or_is_refused() {
    let files = Files::new();
    let running = files.serve();
    let reloader = running.reloader();
    let since = || reloader.configuration().since;
    let first = since();
    let mut next = Next::ask(&running);
    next.prepare().await;
    // As `lockgate reload` does.
    assert!(matches!(reloader.reload(), Err(ReloadError::HandingOver)));
    // As SIGHUP does.
    let awaited = tokio::spawn({
        let reloader = reloader.clone();
        async move { reloader.reload_when_settled().await.unwrap() }
    });
    next.send(Message::Failed("no".into())).await;
    awaited.await.unwrap();
    assert!(since() > first, "the reload is lost");
    // With success, the new process gets it: this one ends by the signal.
    let mut next = Next::ask(&running);
    next.prepare().await;
    let awaited = tokio::spawn({
        let reloader = reloader.clone();
        async move { reloader.reload_when_settled().await.unwrap() }
    });
    next.send(Message::Ready).await;
    next.send(Message::Serving).await;
    awaited.await.unwrap();
    assert_eq!(next.process.0.wait().unwrap().signal(), Some(1));
    next.handing_over.await.unwrap();
    assert!(matches!(reloader.reload(), Err(ReloadError::HandedOver)));
}

/// The process before has put the file in force that this one has not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_changed_since_it_was_read_is_read_again() {
    let files = Files::new();
    let running = files.serve();
    let reloader = running.reloader();
    let since = || reloader.configuration().since;
    let first = since();
    reloader.reload_if_changed().await.unwrap();
    assert_eq!(since(), first);
    files.touch();
    reloader.reload_if_changed().await.unwrap();
    assert!(since() > first, "the reload is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_hangs_does_not_hold_up_who_accepts() {
    let files = Files::new();
    let running = files.serve();
    let process = running.reloader().process().clone();
    let (release, released) = mpsc::channel::<()>();
    let (hold, held) = mpsc::channel();
    let holding = std::thread::spawn(move || {
        let change = process.change();
        hold.send(()).unwrap();
        let _ = released.recv();
        drop(change);
    });
    held.recv().unwrap();
    let reloader = running.reloader();
    let reloading = tokio::task::spawn_blocking(move || reloader.reload());
    let reloader = running.reloader();
    while timeout(Duration::from_millis(1), reloader.settled()).await.is_ok() {}
    let refusal = Next::ask(&running).expect_refused().await;
    assert!(refusal.contains("a reload that began before has not ended"), "{refusal}");
    expect_serving(&running).await;
    release.send(()).unwrap();
    reloading.await.unwrap().unwrap();
    holding.join().unwrap();
    expect_serving(&running).await;
}

/// As of `lockgate restart`, which takes longer than a start may.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_waits_for_its_own_hand_over() {
    let files = Files::new();
    let running = files.serve();
    let reloader = running.reloader();
    let launch = "test \"$1\" = check || exec cat";
    reloader.set_program(Program::of_script(files.folder.path(), launch));
    let mut restarting = tokio::spawn(restart(reloader.clone()));
    while !reloader.process().hand_over.has_launched() {
        tokio::task::yield_now().await;
    }
    let mut next = Next::ask(&running);
    let Message::Offer { sockets, .. } = next.receive().await else { panic!("no offer") };
    next.link.receive_sockets(sockets.len() + 2).await.unwrap();
    let longer = START_TIMEOUT + Duration::from_millis(500);
    assert!(timeout(longer, &mut restarting).await.is_err(), "it does not wait");
    next.send(Message::Prepared(vec![])).await;
    while let Message::Part(_) = next.receive().await {}
    next.send(Message::Ready).await;
    next.send(Message::Serving).await;
    let id = next.process.0.id();
    match restarting.await.unwrap() {
        RestartOutcome::TakenOver { process, .. } => assert_eq!(process, id),
        RestartOutcome::Failed(error) | RestartOutcome::Invalid(error) => panic!("{error}"),
    }
}

/// The process that accepts in the end gets the signal, or nobody takes over.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_the_gateway_within_a_hand_over_is_not_lost() {
    for has_word in [false, true] {
        let files = Files::new();
        let running = files.serve();
        let mut next = Next::ask(&running);
        next.prepare().await;
        if has_word {
            next.send(Message::Ready).await;
            assert!(matches!(next.receive().await, Message::Go));
        }
        let reloader = running.reloader();
        let drain = running.drain();
        let stopping = tokio::spawn(async move { running.stop().await });
        drain.announced().await;
        if has_word {
            next.send(Message::Serving).await;
        }
        let Next { link: _link, mut process, handing_over } = next;
        handing_over.await.unwrap();
        // Killed if it has not taken over.
        let signal = if has_word { 15 } else { 9 };
        assert_eq!(process.0.wait().unwrap().signal(), Some(signal));
        assert_eq!(reloader.has_handed_over(), has_word);
        stopping.abort();
    }
}
