//! Takes over from a running gateway (`lockgate run --take-over`): everything is prepared beside it, with its
//! sockets, and then this process accepts.

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
use crate::admin::{AdminSocket, AskError, Before, Carried, Link, Message, ask_to_take_over};
use crate::config::Compiled;
use crate::net::{Acceptor, OpenSocket, SocketOwner, Sockets};
use crate::policy::limits::KnownUse;
use crate::session::numbers;

/// For the running process to offer its sockets, and to hand them over: it may be reloading.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

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
}

/// Starts with the sockets of the gateway that runs with the same admin socket. When it returns, this process
/// accepts. Must be called within a tokio runtime.
///
/// # Errors
/// The running one accepts then, as before.
pub async fn take_over(config: Compiled) -> Result<Running, TakeOverError> {
    let path = config.admin_socket.clone().ok_or(TakeOverError::NoAdminSocket)?;
    let mut link = ask_to_take_over(&path).await?;
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
    let (process, sockets, keeps_admin_file) = match next(link).await? {
        Some(Message::Offer { process, sockets, keeps_admin_file }) => {
            (process, sockets, keeps_admin_file)
        }
        other => return Err(refused(other)),
    };
    link.set_process(process);
    let mut descriptors =
        link.receive_sockets(sockets.len() + 1).await.map_err(TakeOverError::Broken)?;
    let admin = descriptors.pop().ok_or_else(|| refused(None))?;
    Ok(Offered { sockets, descriptors, admin, keeps_admin_file })
}

/// A process that could serve.
struct Prepared {
    starting: Starting,
    admin: AdminSocket,
    sockets: Vec<OpenSocket>,
    acceptors: Vec<Arc<Acceptor>>,
}

fn prepare(config: Compiled, path: PathBuf, offered: Offered) -> Result<Prepared, TakeOverError> {
    let Offered { sockets, descriptors, admin, keeps_admin_file } = offered;
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
    Ok(Prepared { starting, admin, sockets, acceptors })
}

impl Prepared {
    async fn take_over(self, mut link: Link) -> Result<Running, TakeOverError> {
        let Self { starting, admin, sockets, acceptors } = self;
        // Those that only this list has are of nothing in the configuration.
        let is_wanted = |number: &usize| Arc::strong_count(&acceptors[*number]) > 1;
        let wanted: Vec<usize> = (0..acceptors.len()).filter(is_wanted).collect();
        send(&mut link, Message::Prepared(wanted.clone())).await?;
        let (given, before, carried) = match next(&mut link).await? {
            Some(Message::HandOver { given, before, carried }) => (given, before, carried),
            other => return Err(refused(other)),
        };
        let links = link.receive_sockets(before.len()).await.map_err(TakeOverError::Broken)?;
        let peers = links.into_iter().zip(before).map(|(link, before)| {
            let Before { link: parts, sessions, ports, wants, known } = before;
            let link = Link::from_parts(link, parts).map_err(TakeOverError::Broken)?;
            Ok(OpenLink { link, sessions, known: KnownUse::import(known), ports, wants })
        });
        let mut peers: Vec<_> = peers.collect::<Result<_, TakeOverError>>()?;
        let mut known = KnownUse::default();
        let Carried { first_session, ticket_keys, guard, drained_servers, used, expected } =
            carried;
        numbers::begin_with(first_session);
        starting.prepared().set_ticket_keys(&ticket_keys);
        starting.prepared().drain_servers(&drained_servers);
        starting.process().guard.import(guard);
        known.learn(used, &starting.process().counters);
        starting.process().expected.import(expected);
        send(&mut link, Message::Ready).await?;
        match link.next().await {
            Ok(Some(Message::Refused(reason))) => return Err(TakeOverError::Refused(reason)),
            Ok(Some(Message::Go)) => {}
            // The other process accepts no more, and has not taken that back: it has ended.
            _ => tracing::warn!("the process before ended as it handed over; this one goes on"),
        }
        // If the other process has ended, nobody need know.
        let _ = link.send(&Message::Serving).await;
        let elsewhere: HashSet<PoolPort> =
            peers.iter().flat_map(|peer| peer.ports.iter().cloned()).collect();
        let given = HashSet::<usize>::from_iter(given);
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
        let (ports, wants) = (kept.into_iter().collect(), HashSet::new());
        peers.push(OpenLink { link, sessions: 0, known, ports, wants });
        starting.peers.add_peers(Role::Before, peers);
        Ok(starting.serve_after(admin)?)
    }
}

async fn send(link: &mut Link, message: Message) -> Result<(), TakeOverError> {
    link.send(&message).await.map_err(TakeOverError::Broken)
}

async fn next(link: &mut Link) -> Result<Option<Message>, TakeOverError> {
    match timeout(ANSWER_TIMEOUT, link.next()).await {
        Ok(message) => message.map_err(TakeOverError::Broken),
        Err(_) => {
            let message = format!("no answer within {ANSWER_TIMEOUT:?}");
            Err(TakeOverError::Broken(io::Error::new(io::ErrorKind::TimedOut, message)))
        }
    }
}

fn refused(answer: Option<Message>) -> TakeOverError {
    match answer {
        Some(Message::Refused(reason)) => TakeOverError::Refused(reason),
        Some(_) => TakeOverError::Broken(io::Error::other("it sent an unexpected message")),
        None => TakeOverError::Broken(io::ErrorKind::UnexpectedEof.into()),
    }
}
