//! The other processes of this gateway, while sessions of an older one go on: at each data port one of them
//! accepts, and a port that another one needs is given to it as soon as no reservation is there.
//!
//! Every older process is linked to the newest one, which it is told of, or which goes on with its link.

mod places;
mod ports;
mod queries;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::process::Process;
use crate::admin::{Link, LinkEvent, Message, ProcessBefore};
use crate::policy::limits::KnownUse;
use crate::task;
use places::{Places, by_pool};
use queries::Queries;

/// Between two updates of quotas and sessions; and between two requests for the same port.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);
/// Quotas, or files, in one message.
const UPDATES_MAX: usize = 1000;

/// A pool's name and a port of it.
pub(super) type PoolPort = (String, u16);

/// The links to the other processes, and the ports at which they accept.
pub(super) struct Peers {
    process: Arc<Process>,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Held while the processes before are asked.
    asking: AsyncMutex<()>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    /// There were processes before this one.
    took_over: bool,
    peers: HashMap<u64, Peer>,
    places: Places,
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
    queries: Queries,
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

impl Peers {
    /// Of a process that is alone.
    pub(super) fn new(process: Arc<Process>) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), watch::Sender::default());
        Arc::new(Self { process, state, changed, asking: AsyncMutex::default() })
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The processes before this one.
    pub(super) fn before(&self) -> Vec<ProcessBefore> {
        let state = self.state();
        state.before().iter().filter_map(|id| Some(state.peers.get(id)?.view())).collect()
    }

    /// Talks to these processes from now on, once it is known of all where they accept.
    pub(super) fn add_peers(self: &Arc<Self>, role: Role, links: Vec<OpenLink>) {
        let known = self.know_peers(role, links);
        self.talk_to(role, known);
    }

    fn took_over(&self) -> bool {
        self.state().took_over
    }

    /// Does not accept at the ports of these processes; [`Self::talk_to`] must follow.
    pub(super) fn know_peers(&self, role: Role, links: Vec<OpenLink>) -> Vec<(u64, Link)> {
        let mut state = self.state();
        state.took_over |= role == Role::Before;
        let known = links.into_iter().map(|open| {
            let OpenLink { link, sessions, known, ports, wants } = open;
            state.last_id += 1;
            let (id, stop) = (state.last_id, CancellationToken::new());
            for (pool, ports) in by_pool(ports) {
                self.process.pools.withhold(&pool, &ports);
                state.places.set_at(&pool, &ports, id);
            }
            let (process, asked, queries) = (link.process(), HashMap::new(), Queries::new());
            let task = None;
            let peer = Peer { process, role, sessions, known, wants, asked, queries, stop, task };
            state.peers.insert(id, peer);
            (id, link)
        });
        known.collect()
    }

    /// Talks to processes that [`Self::know_peers`] has returned.
    pub(super) fn talk_to(self: &Arc<Self>, role: Role, known: Vec<(u64, Link)>) {
        let mut state = self.state();
        for (id, link) in known {
            if let Some(peer) = state.peers.get_mut(&id) {
                let talking = talk(self.clone(), (id, role), link, peer.stop.clone());
                peer.task = Some(task::spawn(talking));
            }
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
        for (pool, ports) in by_pool(places.keep_leaving()) {
            self.process.pools.restore(&pool, &ports);
        }
        let mut peers: Vec<_> = peers.drain().collect();
        // The oldest first, in the next process as well.
        peers.sort_unstable_by_key(|(id, _)| *id);
        let links = peers.into_iter().filter_map(|(id, peer)| {
            let Peer { sessions, known, wants, .. } = peer;
            let ports = places.at(id);
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

    /// Sends the last updates to the next process, which takes all ports when it reads the end.
    pub(super) async fn send_last_updates(&self) {
        let mut links = self.take_links().await;
        self.process.sockets.all().iter().for_each(|(_, socket)| socket.pause());
        for OpenLink { link, known, .. } in &mut links {
            loop {
                let updates = known.updates(&self.process.counters, UPDATES_MAX);
                // It may have ended.
                if updates.is_empty() || link.send(&Message::Used(updates)).await.is_err() {
                    break;
                }
            }
            loop {
                let arrivals = self.process.expected.take_forwarded(UPDATES_MAX);
                // It may have ended.
                if arrivals.is_empty() || link.send(&Message::Arrived(arrivals)).await.is_err() {
                    break;
                }
            }
            let lost = self.process.audit.take_lost();
            if !lost.is_empty() {
                // It may have ended.
                let _ = link.send(&Message::AuditLost(lost)).await;
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
            let has_asked = peer.asked.get(&pool).is_some_and(|at| at.elapsed() < UPDATE_INTERVAL);
            if !has_asked
                && (self.process.pools.queued(&pool) > 0 || others.contains(&pool))
                && places.has_any_at(&pool, id)
            {
                tracing::debug!(pool, of = peer.process, "data port wanted");
                peer.asked.insert(pool.clone(), Instant::now());
                link.queue(&Message::Want(pool))?;
            }
        }
        if is_due && !link.is_congested() {
            let updates = peer.known.updates(&self.process.counters, UPDATES_MAX);
            if !updates.is_empty() {
                link.queue(&Message::Used(updates))?;
            }
            if peer.role == Role::Next {
                let arrivals = self.process.expected.take_forwarded(UPDATES_MAX);
                if !arrivals.is_empty() {
                    link.queue(&Message::Arrived(arrivals))?;
                }
                let lost = self.process.audit.take_lost();
                if !lost.is_empty() {
                    link.queue(&Message::AuditLost(lost))?;
                }
                link.queue(&Message::Sessions(self.process.drain.sessions()))?;
            }
        }
        // Last: the rest does not wait for parts of answers.
        peer.queries.tell(link)
    }

    fn received(&self, id: u64, role: Role, message: Message) {
        let mut state = self.state();
        let State { peers, places, .. } = &mut *state;
        let Some(peer) = peers.get_mut(&id) else { return };
        peer.queries.note_heard();
        match message {
            Message::Give { pool, ports } => {
                peer.asked.remove(&pool);
                let given = ports.into_iter().filter(|port| places.is_at(&pool, *port, id));
                let given: Vec<_> = given.map(|port| (pool.clone(), port)).collect();
                drop(state);
                self.take_back(given);
                // Another process may want it.
                self.changed.send_replace(());
            }
            Message::Want(pool) => {
                peer.wants.insert(pool);
                self.changed.send_replace(());
            }
            Message::Used(updates) => peer.known.learn(updates, &self.process.counters),
            Message::Arrived(arrivals) => self.process.expected.learn(arrivals),
            Message::AuditLost(lost) if role == Role::Before => self.process.audit.learn(lost),
            Message::Sessions(sessions) => peer.sessions = sessions,
            Message::Ask { number, request } if role == Role::Next => {
                drop(state);
                self.asked(id, number, request);
            }
            Message::Answer { number, rows, count } => peer.queries.answered(number, rows, count),
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
        let ports = state.places.of(id);
        drop(state);
        // Somebody may wait for it.
        self.changed.send_replace(());
        match role {
            Role::Before => {
                self.process.announced.cancel();
                self.take_back(ports);
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
    pub(super) async fn until_alone(&self) {
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

impl State {
    /// The ids of the processes before this one, in an order that stays.
    fn before(&self) -> Vec<u64> {
        let before = self.peers.iter().filter(|(_, peer)| peer.role == Role::Before);
        let mut ids: Vec<u64> = before.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

impl Peer {
    fn view(&self) -> ProcessBefore {
        let Self { process, sessions, .. } = *self;
        ProcessBefore { process, sessions, error: self.queries.silence() }
    }
}

/// Talks to another process until that ends, or until `stop`: the link is returned then.
async fn talk(
    peers: Arc<Peers>,
    (id, role): (u64, Role),
    mut link: Link,
    stop: CancellationToken,
) -> Option<Link> {
    let (mut changes, mut of_peers) = (peers.process.pools.changes(), peers.changed.subscribe());
    let mut ticks = interval(UPDATE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_due, mut has_drained) = (false, false);
    loop {
        if peers.tell(id, &mut link, is_due).is_err() {
            break;
        }
        is_due = false;
        tokio::select! {
            () = stop.cancelled() => return Some(link),
            event = link.event() => match event {
                Ok(LinkEvent::Received(message)) => peers.received(id, role, message),
                // There may be more.
                Ok(LinkEvent::Sent) => {}
                Ok(LinkEvent::Ended) | Err(_) => break,
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
