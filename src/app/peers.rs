//! The other processes of this gateway, while sessions of an older one go on: at each data port one of them
//! accepts, and a port that another one needs is given to it as soon as no reservation is there.
//!
//! Every older process is linked to the newest one, which it is told of, or which goes on with its link.

mod ports;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::process::Process;
use crate::admin::{Before, Link, Message, ProcessBefore};
use crate::policy::limits::KnownUse;
use crate::task;

/// Between two news of quotas and sessions; and between two requests for the same port.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);
/// Quotas in one message.
const NEWS_MAX: usize = 1000;

/// A pool's name and a port of it.
pub(super) type PoolPort = (String, u16);

/// The links to the other processes, and the ports at which they accept.
pub(super) struct Peers {
    process: Arc<Process>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    peers: HashMap<u64, Peer>,
    /// The ports that are not this process's alone.
    places: HashMap<PoolPort, Place>,
}

/// Another process.
struct Peer {
    process: u32,
    role: Role,
    sessions: usize,
    known: KnownUse,
    /// The pools that it needs a port of.
    wants: HashSet<String>,
    /// When it was last asked for a port of a pool.
    asked: HashMap<String, Instant>,
    stop: CancellationToken,
    task: Option<JoinHandle<Option<Link>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It was before this one; its sessions go on.
    Before,
    /// It has taken over.
    Next,
}

/// A link with what a process needs to go on with it.
pub(super) struct OpenLink {
    pub(super) link: Link,
    pub(super) sessions: usize,
    pub(super) known: KnownUse,
    /// The ports at which the other process accepts.
    pub(super) ports: Vec<PoolPort>,
    /// The pools that it needs a port of.
    pub(super) wants: HashSet<String>,
}

/// Who accepts at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The other process.
    At(u64),
    /// This one, as long as a reservation is there; then the other.
    Leaving(u64),
}

impl Peers {
    /// Of a process that is alone.
    pub(super) fn new(process: Arc<Process>) -> Arc<Self> {
        Arc::new(Self { process, state: Mutex::default(), changed: watch::Sender::default() })
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The processes before this one.
    pub(super) fn before(&self) -> Vec<ProcessBefore> {
        let state = self.state();
        let before = state.peers.values().filter(|peer| peer.role == Role::Before);
        before.map(|it| ProcessBefore { process: it.process, sessions: it.sessions }).collect()
    }

    /// Talks to these processes from now on, once it is known of all where they accept.
    pub(super) fn add_peers(self: &Arc<Self>, role: Role, links: Vec<OpenLink>) {
        let mut state = self.state();
        for OpenLink { link, sessions, known, ports, wants } in links {
            state.last_id += 1;
            let (id, stop) = (state.last_id, CancellationToken::new());
            for (pool, port) in ports {
                self.process.pools.withhold(&pool, &[port]);
                state.places.insert((pool, port), Place::At(id));
            }
            let (process, asked) = (link.process(), HashMap::new());
            let task = Some(task::spawn(talk(self.clone(), (id, role), link, stop.clone())));
            let peer = Peer { process, role, sessions, known, wants, asked, stop, task };
            state.peers.insert(id, peer);
        }
    }

    /// Stops to talk, and returns the links with what another process needs to go on with them.
    pub(super) async fn take_links(&self) -> Vec<OpenLink> {
        // What they do until they have stopped counts.
        let mut stopped = HashMap::new();
        for (id, task) in self.stop_talking() {
            if let Ok(Some(link)) = task.await {
                stopped.insert(id, link);
            }
        }
        let mut state = self.state();
        let State { peers, places, .. } = &mut *state;
        for ((pool, port), _) in places.extract_if(|_, it| matches!(it, Place::Leaving(_))) {
            self.process.pools.restore(&pool, &[port]);
        }
        let links = peers.drain().filter_map(|(id, peer)| {
            let Peer { sessions, known, wants, .. } = peer;
            let at = places.iter().filter(|(_, place)| **place == Place::At(id));
            let ports = at.map(|(port, _)| port.clone()).collect();
            Some(OpenLink { link: stopped.remove(&id)?, sessions, known, ports, wants })
        });
        links.collect()
    }

    fn stop_talking(&self) -> Vec<(u64, JoinHandle<Option<Link>>)> {
        let mut state = self.state();
        let tasks = state.peers.iter_mut().filter_map(|(id, peer)| {
            peer.stop.cancel();
            Some((*id, peer.task.take()?))
        });
        tasks.collect()
    }

    /// Sends the last news to the next process, which takes all ports when it reads the end.
    pub(super) async fn say_goodbye(&self) {
        let mut links = self.take_links().await;
        self.process.sockets.all().iter().for_each(|(_, socket)| socket.pause());
        for OpenLink { link, known, .. } in &mut links {
            loop {
                let news = known.news(&self.process.counters, NEWS_MAX);
                // It may have ended.
                if news.is_empty() || link.send(&Message::Used(news)).await.is_err() {
                    break;
                }
            }
            let arrivals = self.process.expected.take_forwarded();
            if !arrivals.is_empty() {
                // It may have ended.
                let _ = link.send(&Message::Arrived(arrivals)).await;
            }
            link.finish().await;
        }
    }

    /// Queues what another process should know, and gives it ports that it needs.
    fn tell(&self, id: u64, link: &mut Link, is_due: bool) -> std::io::Result<()> {
        let mut state = self.state();
        let State { peers, places, .. } = &mut *state;
        let others = peers.iter().filter(|(other, _)| **other != id);
        let others: HashSet<_> = others.flat_map(|(_, it)| it.wants.iter().cloned()).collect();
        let Some(peer) = peers.get_mut(&id) else { return Ok(()) };
        for pool in self.process.pools.names() {
            let ports = self.ports_for(&pool, id, peer, places);
            if !ports.is_empty() {
                tracing::debug!(pool, ?ports, to = peer.process, "data ports given");
                link.queue(&Message::Give { pool: pool.clone(), ports })?;
            }
            let mut there = places.iter().filter(|((of, _), _)| *of == pool);
            let has_asked = peer.asked.get(&pool).is_some_and(|at| at.elapsed() < NEWS_INTERVAL);
            if !has_asked
                && (self.process.pools.queued(&pool) > 0 || others.contains(&pool))
                && there.any(|(_, place)| *place == Place::At(id))
            {
                tracing::debug!(pool, of = peer.process, "data port wanted");
                peer.asked.insert(pool.clone(), Instant::now());
                link.queue(&Message::Want(pool))?;
            }
        }
        if is_due && !link.is_congested() {
            let news = peer.known.news(&self.process.counters, NEWS_MAX);
            if !news.is_empty() {
                link.queue(&Message::Used(news))?;
            }
            if peer.role == Role::Next {
                let arrivals = self.process.expected.take_forwarded();
                if !arrivals.is_empty() {
                    link.queue(&Message::Arrived(arrivals))?;
                }
                link.queue(&Message::Sessions(self.process.drain.sessions()))?;
            }
        }
        Ok(())
    }

    fn received(&self, id: u64, role: Role, message: Message) {
        let mut state = self.state();
        let State { peers, places, .. } = &mut *state;
        let Some(peer) = peers.get_mut(&id) else { return };
        match message {
            Message::Give { pool, ports } => {
                peer.asked.remove(&pool);
                let is_there =
                    |port: &u16| places.get(&(pool.clone(), *port)) == Some(&Place::At(id));
                let given: Vec<_> = ports.into_iter().filter(is_there).collect();
                let given: Vec<_> = given.into_iter().map(|port| (pool.clone(), port)).collect();
                drop(state);
                self.take_back(&given);
                // Another process may want it.
                self.changed.send_replace(());
            }
            Message::Want(pool) => {
                peer.wants.insert(pool);
                self.changed.send_replace(());
            }
            Message::Used(news) => peer.known.learn(news, &self.process.counters),
            Message::Arrived(arrivals) => self.process.expected.learn(arrivals),
            Message::Sessions(sessions) => peer.sessions = sessions,
            Message::Drain if role == Role::Next => self.process.drain.announce(),
            Message::Announced => self.process.announced.cancel(),
            _ => {}
        }
    }

    /// The other process has ended.
    fn ended(&self, id: u64, role: Role) {
        let mut state = self.state();
        let Some(peer) = state.peers.remove(&id) else { return };
        let Peer { process, .. } = peer;
        let of_peer =
            |place: &Place| matches!(place, Place::At(at) | Place::Leaving(at) if *at == id);
        let ports = state.places.iter().filter(|(_, place)| of_peer(place));
        let ports: Vec<_> = ports.map(|(port, _)| port.clone()).collect();
        drop(state);
        // Somebody may wait for it.
        self.changed.send_replace(());
        match role {
            Role::Before => {
                self.process.announced.cancel();
                self.take_back(&ports);
                tracing::info!(process, "the process before has ended: all of its ports are here");
            }
            Role::Next if self.process.drain.is_announced() => {}
            Role::Next => tracing::error!(
                process,
                "the process that has taken over has ended: nobody accepts new sessions; start the gateway again"
            ),
        }
    }

    /// Resolves when no process before this one is left.
    pub(super) async fn alone(&self) {
        let mut changes = self.changed.subscribe();
        while !self.before().is_empty() {
            // Its sender is there as long as the process.
            let _ = changes.changed().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the next process needs to go on with a link, without its socket.
pub(super) fn before(links: Vec<OpenLink>) -> (Vec<UnixStream>, Vec<Before>) {
    let parts = links.into_iter().map(|open| {
        let OpenLink { link, sessions, known, ports, wants } = open;
        let (stream, link) = link.into_parts();
        (stream, Before { link, sessions, ports, wants, known: known.export() })
    });
    parts.unzip()
}

/// Talks to another process until that ends, or until `stop`: the link is returned then.
async fn talk(
    peers: Arc<Peers>,
    (id, role): (u64, Role),
    mut link: Link,
    stop: CancellationToken,
) -> Option<Link> {
    let (mut changes, mut of_peers) = (peers.process.pools.changes(), peers.changed.subscribe());
    let mut ticks = interval(NEWS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_due, mut has_drained) = (false, false);
    loop {
        if peers.tell(id, &mut link, is_due).is_err() {
            break;
        }
        is_due = false;
        tokio::select! {
            () = stop.cancelled() => return Some(link),
            received = link.next() => match received {
                Ok(Some(message)) => peers.received(id, role, message),
                Ok(None) | Err(_) => break,
            },
            // Its sender is there as long as the process.
            _ = changes.changed() => {}
            _ = of_peers.changed() => {}
            _ = ticks.tick() => is_due = true,
            () = peers.process.drain.announced(), if role == Role::Before && !has_drained => {
                has_drained = true;
                if link.queue(&Message::Drain).is_err() {
                    break;
                }
            }
        }
    }
    peers.ended(id, role);
    None
}
