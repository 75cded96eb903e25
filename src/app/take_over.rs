//! Takes over from a running gateway (`lockgate run --take-over`): everything is prepared beside it, with its
//! sockets, and then this process accepts.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::peers::{OpenLink, PoolPort, Role};
use super::start::Starting;
use super::{Running, StartError};
use crate::admin::{AdminSocket, AskError, Before, Link, Message, Part, ask_to_take_over};
use crate::config::Compiled;
use crate::net::{Acceptor, OpenSocket, ProcessHandle, SocketOwner, Sockets};
use crate::policy::limits::{CarriedUse, KnownUse, UseNow};
use crate::session::numbers;

/// For the running process to offer its sockets, and to hand them over: it may be reloading.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// For it to say that this one may accept: nothing else is left to do there. Longer than it waits itself.
const GO_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 15 });
/// For its end to be seen, once its connection has ended.
const ENDED_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });
/// Parts of the state that goes along.
const PARTS_MAX: usize = 10_000;

/// Why this process does not take over. The running one goes on.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The configuration has no admin socket.
    #[error(
        "--take-over asks the running gateway over `admin.socket`, which the configuration does not have"
    )]
    NoAdminSocket,
    /// The running gateway was not asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The running gateway goes on, for this reason.
    #[error("the running gateway did not hand over: {0}")]
    Refused(String),
    /// This process cannot serve.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A socket cannot be used.
    #[error("going on with the sockets of the running gateway: {0}")]
    Sockets(io::Error),
    /// The running gateway has ended before it handed over, or sent something else.
    #[error("the running gateway broke the take-over off: {0}")]
    Broken(io::Error),
}

/// What the running process has offered.
struct Offered {
    sockets: Vec<OpenSocket>,
    descriptors: Vec<OwnedFd>,
    admin: OwnedFd,
    keeps_admin_file: bool,
    running: RunningProcess,
}

/// The process that runs.
struct RunningProcess {
    handle: ProcessHandle,
    /// Processes before it, of which this one does not know yet at which ports they accept.
    before: usize,
}

/// Starts with the sockets of the gateway that runs with the same admin socket. When it returns, this process
/// accepts. Must be called within a tokio runtime.
///
/// # Errors
/// The running one accepts then, as before.
pub async fn take_over(config: Compiled) -> Result<Running, TakeOverError> {
    let path = config.admin_socket.clone().ok_or(TakeOverError::NoAdminSocket)?;
    let link = ask_to_take_over(&path).await?;
    take_over_from(link, config, path).await
}

async fn take_over_from(
    mut link: Link,
    config: Compiled,
    path: PathBuf,
) -> Result<Running, TakeOverError> {
    let offered = receive_offer(&mut link).await?;
    match prepare(config, path, offered) {
        Ok(prepared) => prepared.take_over(link).await,
        Err(error) => {
            // It knows then why; if it has ended, nobody need know.
            let _ = link.send(&Message::Failed(error.to_string())).await;
            Err(error)
        }
    }
}

async fn receive_offer(link: &mut Link) -> Result<Offered, TakeOverError> {
    let (process, before, sockets, keeps_admin_file) = match next(link).await? {
        Message::Offer { process, before, sockets, keeps_admin_file } => {
            (process, before, sockets, keeps_admin_file)
        }
        other => return Err(refused(other)),
    };
    link.set_process(process);
    let mut descriptors =
        link.receive_sockets(sockets.len() + 2).await.map_err(TakeOverError::Broken)?;
    let ended = || TakeOverError::Broken(io::ErrorKind::UnexpectedEof.into());
    let handle = ProcessHandle::of(descriptors.pop().ok_or_else(ended)?);
    let admin = descriptors.pop().ok_or_else(ended)?;
    let running = RunningProcess { handle, before };
    Ok(Offered { sockets, descriptors, admin, keeps_admin_file, running })
}

impl RunningProcess {
    /// Whether it has ended, now that nothing comes from it any more.
    async fn has_ended(&self) -> bool {
        timeout(ENDED_TIMEOUT, self.handle.ended()).await.is_ok()
    }
}

/// A process that could serve.
struct Prepared {
    starting: Starting,
    admin: AdminSocket,
    sockets: Vec<OpenSocket>,
    acceptors: Vec<Arc<Acceptor>>,
    running: RunningProcess,
}

fn prepare(config: Compiled, path: PathBuf, offered: Offered) -> Result<Prepared, TakeOverError> {
    let Offered { sockets, descriptors, admin, keeps_admin_file, running } = offered;
    let admin =
        AdminSocket::adopt(&path, admin, keeps_admin_file).map_err(TakeOverError::Sockets)?;
    let mut acceptors = Vec::new();
    let adopt = |known: &Sockets| {
        for (open, descriptor) in sockets.iter().zip(descriptors) {
            acceptors.push(known.adopt(open.clone(), descriptor)?);
        }
        Ok(())
    };
    let starting = Starting::prepare(config, adopt).map_err(|error| match error {
        StartError::Inherited(error) => TakeOverError::Sockets(error),
        error => error.into(),
    })?;
    Ok(Prepared { starting, admin, sockets, acceptors, running })
}

/// What this process goes on with.
struct Given {
    sockets: HashSet<usize>,
    /// The processes before the running one.
    before: Vec<OpenLink>,
    /// What the running process knows of quotas.
    known: KnownUse,
}

impl Prepared {
    async fn take_over(self, mut link: Link) -> Result<Running, TakeOverError> {
        // Those that only this list has are of nothing in the configuration.
        let is_wanted = |number: &usize| Arc::strong_count(&self.acceptors[*number]) > 1;
        let wanted: Vec<usize> = (0..self.acceptors.len()).filter(is_wanted).collect();
        let received = match link.send(&Message::Prepared(wanted.clone())).await {
            Ok(()) => self.receive(&mut link).await,
            Err(error) => Err(TakeOverError::Broken(error)),
        };
        let given = match received {
            Ok(given) => given,
            Err(TakeOverError::Broken(reason)) if self.running.has_ended().await => {
                return self.serve_alone(reason);
            }
            Err(error) => return Err(error),
        };
        match self.await_go(&mut link).await {
            Ok(()) => {}
            Err(error) => {
                // It need not wait, or kill this process.
                let _ = link.send(&Message::Failed(error.to_string())).await;
                return Err(error);
            }
        }
        let Self { starting, admin, sockets, acceptors, .. } = self;
        let Given { sockets: given, mut before, known } = given;
        let elsewhere: HashSet<PoolPort> =
            before.iter().flat_map(|peer| peer.ports.iter().cloned()).collect();
        // A port that is given away below must not be resumed after that.
        given.iter().filter_map(|number| acceptors.get(*number)).for_each(|it| it.resume());
        let is_kept = |number: &usize| !given.contains(number);
        let kept = wanted.iter().copied().filter(is_kept).filter_map(|number| {
            let open = &sockets[number];
            match &open.owner {
                SocketOwner::Pool(pool) => Some((pool.clone(), open.at.port())),
                SocketOwner::Listeners | SocketOwner::Metrics | SocketOwner::Admin => None,
            }
        });
        // A port may have several sockets.
        let kept: HashSet<PoolPort> = kept.filter(|port| !elsewhere.contains(port)).collect();
        // If the other process has ended, nobody need know.
        let _ = link.queue(&Message::Serving);
        let (ports, wants) = (kept.into_iter().collect(), HashSet::new());
        before.push(OpenLink { link, sessions: 0, known, ports, wants });
        let peers = starting.peers.clone();
        let known = peers.know_peers(Role::Before, before);
        let running = starting.serve_after(admin)?;
        // Not before: without this one, the process before would have to go on with its links.
        peers.talk_to(Role::Before, known);
        Ok(running)
    }

    /// The running process accepts no more when this returns.
    async fn receive(&self, link: &mut Link) -> Result<Given, TakeOverError> {
        let (starting, process) = (&self.starting, self.starting.process());
        let (mut known, mut before) =
            (KnownUse::default(), Vec::<(Before, Vec<CarriedUse>)>::new());
        starting.prepared().put_guard_in_force(process);
        for _ in 0..PARTS_MAX {
            match next(link).await? {
                Message::Part(Part::FirstSession(number)) => numbers::begin_with(number),
                Message::Part(Part::TicketKeys(keys)) => starting.prepared().set_ticket_keys(&keys),
                Message::Part(Part::DrainedServers(names)) => {
                    starting.prepared().drain_servers(&names);
                }
                Message::Part(Part::Guard(part)) => process.guard.import(part),
                Message::Part(Part::Expected(part)) => process.expected.import(part),
                Message::Part(Part::Used(used)) => known.learn(used, &process.counters),
                Message::Part(Part::Before(one)) => before.push((one, Vec::new())),
                Message::Part(Part::Unknown(unknown)) => {
                    if let Some((_, of_last)) = before.last_mut() {
                        of_last.extend(unknown);
                    }
                }
                Message::HandOver { given } => {
                    let sockets = link.receive_sockets(before.len()).await;
                    let sockets = sockets.map_err(TakeOverError::Broken)?;
                    let used = UseNow::of(&process.counters);
                    let before = sockets.into_iter().zip(before).map(|(socket, (one, unknown))| {
                        let Before { link, sessions, ports, wants } = one;
                        let link = Link::from_parts(socket, link).map_err(TakeOverError::Broken)?;
                        let known = used.known_but(unknown);
                        Ok(OpenLink { link, sessions, known, ports, wants })
                    });
                    let before = before.collect::<Result<_, TakeOverError>>()?;
                    return Ok(Given { sockets: given.into_iter().collect(), before, known });
                }
                other => return Err(refused(other)),
            }
        }
        let message = format!("it sent more than {PARTS_MAX} parts of its state");
        Err(TakeOverError::Broken(io::Error::other(message)))
    }

    /// The word of the running process that this one may accept. It accepts no more, unless it says so: if it has
    /// ended without a word, this one must go on. If it lives, perhaps stopped, it goes on when this one ends.
    async fn await_go(&self, link: &mut Link) -> Result<(), TakeOverError> {
        let answer = match link.send(&Message::Ready).await {
            Ok(()) => link.next_within(GO_TIMEOUT).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(Some(Message::Go)) => return Ok(()),
            Ok(Some(other)) => return Err(refused(other)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(TakeOverError::Broken(error));
            }
            Ok(None) | Err(_) => {}
        }
        if !self.running.has_ended().await {
            return Err(TakeOverError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        tracing::warn!("the process before ended as it handed over; this one goes on");
        Ok(())
    }

    /// The running process has ended before it handed over: this one starts as after a kill.
    fn serve_alone(self, reason: io::Error) -> Result<Running, TakeOverError> {
        let Self { starting, admin, acceptors, running, .. } = self;
        if running.before > 0 {
            // They accept at ports that are not known.
            return Err(TakeOverError::Broken(reason));
        }
        tracing::warn!("the process before ended as it handed over; this one goes on");
        acceptors.iter().for_each(|acceptor| acceptor.resume());
        admin.resume();
        starting.process().announced.cancel();
        Ok(starting.serve(Some(admin))?)
    }
}

async fn next(link: &mut Link) -> Result<Message, TakeOverError> {
    let next = link.next_within(ANSWER_TIMEOUT).await.map_err(TakeOverError::Broken)?;
    next.ok_or_else(|| TakeOverError::Broken(io::ErrorKind::UnexpectedEof.into()))
}

fn refused(answer: Message) -> TakeOverError {
    match answer {
        Message::Refused(reason) => TakeOverError::Refused(reason),
        _ => TakeOverError::Broken(io::Error::other("it sent an unexpected message")),
    }
}
