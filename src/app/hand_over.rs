//! Hands the sockets over to a process that asks for them (`lockgate run --take-over`). Until the last message
//! this one can go on as if nothing had been asked.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::peers::{OpenLink, Role, before};
use super::phase::Phase;
use super::reload::Reloader;
use super::service_manager;
use crate::admin::{Before, Carried, Link, Message};
use crate::net::{Acceptor, OpenSocket, SocketOwner};
use crate::policy::limits::KnownUse;
use crate::task;

/// For the new process to prepare everything: it may look up names, and read files over a network.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(30);
/// For the new process to go on with what it was given, while nobody accepts.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// Older processes that may have sessions still.
const BEFORE_MAX: usize = 16;

/// The other process does not take over.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("the gateway is stopping")]
    Stopping,
    #[error(
        "{BEFORE_MAX} processes before this one have sessions still: wait for them, or end them (`lockgate status` \
         shows them)"
    )]
    TooManyBefore,
    #[error("the gateway has no admin socket any more")]
    NoAdminSocket,
    #[error("the new process cannot serve: {0}")]
    Failed(String),
    #[error("the new process was not ready within {0:?}")]
    NotInTime(Duration),
    #[error("the new process has ended")]
    Ended,
    #[error("the connection to the new process is broken: {0}")]
    Broken(#[from] std::io::Error),
}

type Sockets = Vec<(usize, OpenSocket, Arc<Acceptor>)>;

/// Hands over to the process at the other end, or says why not, there and in the log.
pub(super) async fn hand_over(reloader: Arc<Reloader>, mut link: Link) {
    let (process, peers) = (reloader.process().clone(), reloader.peers().clone());
    let state = &process.hand_over;
    if !state.begin() {
        let reason = "another process is taking over, or has done so".to_owned();
        // It may have ended.
        let _ = link.send(&Message::Refused(reason)).await;
        return;
    }
    let next = link.process();
    tracing::info!(process = next, "another process asks for the sockets");
    // A reload that is running now must be done: its sockets belong to the offer.
    let reloading = reloader.clone();
    let _ = task::spawn_blocking(move || reloading.settled()).await;
    match try_to_hand_over(&reloader, &mut link).await {
        Ok(known) => {
            reloader.stop_listening();
            // Also those that the next process does not have: another may want them.
            process.addresses_end.cancel();
            let sessions = process.drain.sessions();
            tracing::info!(
                process = next,
                sessions,
                "another process has taken over; this one ends with its last session"
            );
            if let Some(launcher) = state.launcher() {
                launcher.release().await;
            }
            service_manager::handed_over(next);
            let _ = link.queue(&Message::Announced);
            peers.all_at(peers.next_peer());
            let (ports, wants) = (Vec::new(), HashSet::new());
            let open = OpenLink { link, sessions: 0, known, ports, wants };
            peers.add_peers(Role::Next, vec![open]);
            // It may end from here on.
            state.enter(Phase::HandedOver);
            state.end(Ok(next));
        }
        Err(reason) => {
            state.enter(Phase::Serving);
            let _ = link.send(&Message::Refused(reason.to_string())).await;
            tracing::error!(
                process = next,
                %reason,
                "another process wanted to take over and did not: this one goes on (--take-over)"
            );
            state.end(Err(reason.to_string()));
        }
    }
}

async fn try_to_hand_over(reloader: &Reloader, link: &mut Link) -> Result<KnownUse, NotTaken> {
    let (process, peers) = (reloader.process(), reloader.peers());
    if process.drain.is_announced() {
        return Err(NotTaken::Stopping);
    }
    if peers.before().len() >= BEFORE_MAX {
        return Err(NotTaken::TooManyBefore);
    }
    let admin = process.admin.get().and_then(Weak::upgrade).ok_or(NotTaken::NoAdminSocket)?;
    let all = process.sockets.all();
    let sockets = all.iter().map(|(open, _)| open.clone()).collect();
    let (id, keeps_admin_file) = (std::process::id(), admin.keeps_file());
    link.send(&Message::Offer { process: id, sockets, keeps_admin_file }).await?;
    let mut descriptors: Vec<_> = all.iter().map(|(_, socket)| socket.as_fd()).collect();
    descriptors.push(admin.as_fd());
    link.send_sockets(&descriptors).await?;
    let prepared = tokio::select! {
        prepared = answer(link, PREPARE_TIMEOUT) => prepared?,
        () = process.drain.announced() => return Err(NotTaken::Stopping),
    };
    let wanted = match prepared {
        Message::Prepared(wanted) => wanted,
        Message::Failed(reason) => return Err(NotTaken::Failed(reason)),
        _ => return Err(NotTaken::Failed("it sent an unexpected message".into())),
    };
    let wanted: Sockets = wanted
        .into_iter()
        .filter_map(|number| {
            let (open, socket) = all.get(number)?.clone();
            Some((number, open, socket))
        })
        .collect();

    // From here on nobody accepts, until the other process does, or this one again.
    let control = wanted.iter().filter(|(_, open, _)| !matches!(open.owner, SocketOwner::Pool(_)));
    let mut given: Vec<usize> =
        control.inspect(|(_, _, socket)| socket.pause()).map(|(number, ..)| *number).collect();
    admin.pause();
    let links = peers.take_links().await;
    let next = peers.next_peer();
    given.extend(peers.give_ports(&wanted, next));
    let outcome = commit(reloader, link, given, links).await;
    let (links, reason) = match outcome {
        Ok(known) => return Ok(known),
        Err(failed) => failed,
    };
    if matches!(reason, NotTaken::NotInTime(_)) {
        // It must not accept later.
        let process = i32::try_from(link.process()).ok().and_then(Pid::from_raw);
        process.into_iter().for_each(|process| {
            let _ = kill_process(process, Signal::KILL);
        });
    }
    wanted.iter().for_each(|(_, open, socket)| {
        if !matches!(open.owner, SocketOwner::Pool(_)) {
            socket.resume();
        }
    });
    admin.resume();
    peers.take_back_all(next);
    peers.add_peers(Role::Before, links);
    Err(reason)
}

/// Gives everything away. After an error the links to the processes before are still this one's.
async fn commit(
    reloader: &Reloader,
    link: &mut Link,
    given: Vec<usize>,
    links: Vec<OpenLink>,
) -> Result<KnownUse, (Vec<OpenLink>, NotTaken)> {
    let process = reloader.process();
    let mut known = KnownUse::default();
    let carried = Carried {
        ticket_keys: reloader.ticket_keys(),
        guard: process.guard.export(),
        drained_servers: reloader.drained_servers(),
        used: known.news(&process.counters, usize::MAX),
        expected: process.expected.begin_forwarding(),
    };
    let (mut streams, mut parts) = before(links);
    let message = Message::HandOver { given, before: parts, carried };
    let sending = async {
        link.send(&message).await?;
        let descriptors: Vec<_> = streams.iter().map(AsFd::as_fd).collect();
        link.send_sockets(&descriptors).await?;
        match answer(link, READY_TIMEOUT).await? {
            Message::Ready => link.send(&Message::Go).await?,
            Message::Failed(reason) => return Err(NotTaken::Failed(reason)),
            _ => return Err(NotTaken::Failed("it sent an unexpected message".into())),
        }
        match answer(link, READY_TIMEOUT).await {
            // It may accept already, however slow it is.
            Ok(_) | Err(NotTaken::NotInTime(_)) => Ok(()),
            Err(ended) => Err(ended),
        }
    };
    let sent = sending.await;
    let Err(reason) = sent else { return Ok(known) };
    process.expected.end_forwarding();
    parts = match message {
        Message::HandOver { before, .. } => before,
        _ => Vec::new(),
    };
    let links = streams.drain(..).zip(parts).map(|(stream, before)| {
        let Before { link, sessions, ports, wants, known } = before;
        let (link, known) = (Link::of_stream(stream, link), KnownUse::import(known));
        OpenLink { link, sessions, known, ports, wants }
    });
    Err((links.collect(), reason))
}

async fn answer(link: &mut Link, limit: Duration) -> Result<Message, NotTaken> {
    match timeout(limit, link.next()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(NotTaken::Ended),
        Ok(Err(error)) => Err(NotTaken::Broken(error)),
        Err(_) => Err(NotTaken::NotInTime(limit)),
    }
}
