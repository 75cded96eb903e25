//! Hands the sockets over to a process that asks for them (`lockgate run --take-over`). Whichever process is killed
//! or stopped (SIGSTOP), and whenever, one accepts, and never both:
//!
//! - Until all is prepared, this one accepts. Then nobody does, until the new one has got everything and `Go`, and
//!   has said `Serving`.
//! - If it does not say that in time, or ends, this one kills it, so that it cannot accept later, and goes on. Who
//!   cannot be killed, since its process id is not known here, gets no sockets.
//! - If this one is killed meanwhile, the new one sees that (pidfd) and accepts; where state is missing, with what
//!   `state_dir` has. Only where sessions of older processes go on, and it does not know yet which ports they have,
//!   it ends instead: as if the gateway had been killed before.
//! - If this one is stopped before `Go`, the new one gives up and ends, and this one goes on when it continues.
//! - If this one is stopped after `Go`, it finds `Serving`, or the end of the new one, when it continues: a time in
//!   which it was stopped does not count.

mod state;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::timeout;

use super::peers::{OpenLink, Role};
use super::phase::Phase;
use super::reload::Reloader;
use super::service_manager;
use crate::admin::{Link, Message};
use crate::net::{Acceptor, OpenSocket, ProcessHandle, SocketOwner};
use crate::policy::limits::KnownUse;

/// For a reload that was begun before; this one accepts meanwhile.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });
/// For the new process to prepare everything: it may look up names, and read files over a network.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(30);
/// For the new process to read the state that goes along, while nobody accepts.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same to go on with it, and then to accept.
const READY_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });
/// For the new process to end, once it was killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
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
    #[error(
        "the new process could not be ended if it hung ({0}): both need the same PID namespace, and Linux 5.3 or \
         later"
    )]
    NotSeen(io::Error),
    #[error(
        "a reload that began before has not ended within {0:?}: is a file of the configuration on a network that \
         does not answer?"
    )]
    Reloading(Duration),
    #[error("the new process cannot serve: {0}")]
    Failed(String),
    #[error("the new process was not ready within {0:?}")]
    NotInTime(Duration),
    #[error("the new process has ended")]
    Ended,
    #[error("the connection to the new process is broken: {0}")]
    Broken(#[from] io::Error),
}

type Wanted = Vec<(usize, OpenSocket, Arc<Acceptor>)>;

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
    match try_to_hand_over(&reloader, &mut link).await {
        Ok((known, handle)) => {
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
            process.audit.begin_forwarding();
            peers.all_at(peers.next_peer());
            let (ports, wants) = (Vec::new(), HashSet::new());
            let open = OpenLink { link, sessions: 0, known, ports, wants };
            peers.add_peers(Role::Next, vec![open]);
            // It may end from here on.
            state.handed_over(handle);
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

/// Returns what the next process knows of quotas.
async fn try_to_hand_over(
    reloader: &Reloader,
    link: &mut Link,
) -> Result<(KnownUse, ProcessHandle), NotTaken> {
    let (process, peers) = (reloader.process(), reloader.peers());
    // The number is still the process's when it sends its next message.
    let next = ProcessHandle::open(link.process()).map_err(NotTaken::NotSeen)?;
    // Its sockets belong to the offer. None begins after this.
    let settled = timeout(RELOAD_TIMEOUT, reloader.settled());
    let settled = unless_stopping(reloader, async { Ok(settled.await.is_ok()) }).await?;
    if !settled {
        return Err(NotTaken::Reloading(RELOAD_TIMEOUT));
    }
    let before = peers.before().len();
    if before >= BEFORE_MAX {
        return Err(NotTaken::TooManyBefore);
    }
    let admin = process.admin.get().and_then(Weak::upgrade).ok_or(NotTaken::NoAdminSocket)?;
    let all = process.sockets.all();
    let sockets = all.iter().map(|(open, _)| open.clone()).collect();
    let (id, keeps_admin_file) = (std::process::id(), admin.keeps_file());
    link.send(&Message::Offer { process: id, before, sockets, keeps_admin_file }).await?;
    let own = ProcessHandle::own()?;
    let mut descriptors: Vec<_> = all.iter().map(|(_, socket)| socket.as_fd()).collect();
    descriptors.extend([admin.as_fd(), own.as_fd()]);
    link.send_sockets(&descriptors).await?;
    let prepared = unless_stopping(reloader, answer(link, PREPARE_TIMEOUT)).await?;
    let Message::Prepared(wanted) = prepared else { return Err(failed(prepared)) };
    let wanted: Wanted = wanted
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
    let number = peers.next_peer();
    given.extend(peers.give_ports(&wanted, number));
    let reason = match give_away(reloader, link, given, &links).await {
        Ok(known) => return Ok((known, next)),
        Err(reason) => reason,
    };
    if !matches!(reason, NotTaken::Failed(_)) {
        end(&next).await;
    }
    process.expected.end_forwarding();
    wanted.iter().for_each(|(_, open, socket)| {
        if !matches!(open.owner, SocketOwner::Pool(_)) {
            socket.resume();
        }
    });
    admin.resume();
    peers.take_back_all(number);
    peers.add_peers(Role::Before, links);
    Err(reason)
}

/// Gives everything away, and waits until the other process accepts.
async fn give_away(
    reloader: &Reloader,
    link: &mut Link,
    given: Vec<usize>,
    links: &[OpenLink],
) -> Result<KnownUse, NotTaken> {
    let (parts, known) = state::parts(reloader, links);
    let sending = async {
        for part in parts {
            link.send(&Message::Part(part)).await?;
        }
        link.send(&Message::HandOver { given }).await?;
        let descriptors: Vec<_> = links.iter().map(|open| open.link.as_fd()).collect();
        link.send_sockets(&descriptors).await
    };
    let sending = timeout(STATE_TIMEOUT, sending);
    let sent = unless_stopping(reloader, async { Ok(sending.await) }).await?;
    sent.map_err(|_| NotTaken::NotInTime(STATE_TIMEOUT))??;
    let ready = unless_stopping(reloader, answer(link, READY_TIMEOUT)).await?;
    let Message::Ready = ready else { return Err(failed(ready)) };
    // From here on, the new process is told of the end of the gateway (`Running::stop`).
    link.send(&Message::Go).await?;
    match answer(link, READY_TIMEOUT).await? {
        Message::Serving => Ok(known),
        other => Err(failed(other)),
    }
}

/// What `step` returns, unless the gateway is to end meanwhile.
async fn unless_stopping<T>(
    reloader: &Reloader,
    step: impl Future<Output = Result<T, NotTaken>>,
) -> Result<T, NotTaken> {
    tokio::select! {
        biased;
        () = reloader.process().drain.announced() => Err(NotTaken::Stopping),
        done = step => done,
    }
}

/// Ends the new process: it must not accept later.
async fn end(next: &ProcessHandle) {
    // Without a process there is nothing to end.
    if let Err(error) = next.signal(Signal::KILL)
        && error.raw_os_error() != Some(rustix::io::Errno::SRCH.raw_os_error())
    {
        tracing::warn!(%error, "the process that did not take over cannot be killed: end it");
    }
    // Killed, it executes nothing more, also where its end takes longer.
    let _ = timeout(END_TIMEOUT, next.ended()).await;
}

async fn answer(link: &mut Link, limit: Duration) -> Result<Message, NotTaken> {
    match link.next_within(limit).await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(NotTaken::Ended),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(NotTaken::NotInTime(limit)),
        Err(error) => Err(NotTaken::Broken(error)),
    }
}

/// It has sent this instead of what was awaited.
fn failed(message: Message) -> NotTaken {
    match message {
        Message::Failed(reason) => NotTaken::Failed(reason),
        _ => NotTaken::Broken(io::Error::other("it sent an unexpected message")),
    }
}
