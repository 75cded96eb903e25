//! The gateway's listening sockets by the address that the configuration names, so that another configuration
//! goes on with those that are open.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::Acceptor;
use super::bind::listen;

/// The open listening sockets of a process. A socket is closed when nothing accepts from it any more.
#[derive(Default)]
pub struct Sockets {
    known: Mutex<Known>,
    /// Opened by the service manager.
    inherited: Mutex<HashMap<SocketAddr, TcpListener>>,
}

/// What a socket is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SocketOwner {
    /// Control connections of any listener.
    Listeners,
    /// `metrics`.
    Metrics,
    /// The operators' address.
    Admin,
    /// Data connections of the pool of this name.
    Pool(String),
}

/// An open socket, for another process that gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSocket {
    /// What it is for.
    pub owner: SocketOwner,
    /// Where it listens.
    pub at: SocketAddr,
    key: Key,
}

/// Where the configuration leaves the port to the kernel, the owner's name and a number tell one socket from
/// another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    address: SocketAddr,
    chosen_for: Option<(SocketOwner, String, usize)>,
}

#[derive(Default)]
struct Known {
    open: HashMap<Key, Open>,
    /// The same sockets by pool and port, of which there may be many.
    of_pools: HashMap<String, BTreeMap<u16, Vec<Weak<Acceptor>>>>,
}

struct Open {
    owner: SocketOwner,
    at: SocketAddr,
    socket: Weak<Acceptor>,
}

impl Sockets {
    /// The socket at `address`: the one that is open already, or a new one. `name`: of the listener or pool;
    /// `nth`: its number among them. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be opened, or another pool, or a listener, still accepts there.
    pub fn open(
        &self,
        address: SocketAddr,
        owner: &SocketOwner,
        (name, nth): (&str, usize),
    ) -> io::Result<Arc<Acceptor>> {
        let chosen_for = (address.port() == 0).then(|| (owner.clone(), name.to_owned(), nth));
        let key = Key { address, chosen_for };
        let mut known = self.lock();
        if let Some(there) = known.open.get(&key)
            && let Some(socket) = there.socket.upgrade()
        {
            return if there.owner == *owner { Ok(socket) } else { Err(there.owner.still_uses()) };
        }
        let inherited = self.inherited().remove(&address).map_or_else(|| listen(address), Ok);
        let socket = inherited.map_err(|error| {
            let is_own = known.open.iter().any(|(key, open)| {
                key.address.port() == address.port() && open.socket.strong_count() > 0
            });
            let is_taken = error.kind() == io::ErrorKind::AddrInUse && address.port() != 0;
            if is_taken && is_own { own_address() } else { error }
        })?;
        let (at, socket) = (socket.local_addr()?, Arc::new(Acceptor::new(socket)));
        known.insert(key, Open { owner: owner.clone(), at, socket: Arc::downgrade(&socket) });
        Ok(socket)
    }

    /// All of them, with how the configuration finds them.
    pub fn all(&self) -> Vec<(OpenSocket, Arc<Acceptor>)> {
        let known = self.lock();
        let all = known.open.iter().filter_map(|(key, Open { owner, at, socket })| {
            let open = OpenSocket { owner: owner.clone(), at: *at, key: key.clone() };
            Some((open, socket.upgrade()?))
        });
        all.collect()
    }

    /// The sockets of a pool at this port.
    pub fn of_pool(&self, pool: &str, port: u16) -> Vec<Arc<Acceptor>> {
        let known = self.lock();
        let sockets = known.of_pools.get(pool).and_then(|ports| ports.get(&port));
        sockets.into_iter().flatten().filter_map(Weak::upgrade).collect()
    }

    /// The ports of a pool that are open, in their order.
    pub fn ports_of_pool(&self, pool: &str) -> Vec<u16> {
        let known = self.lock();
        let is_open = |sockets: &Vec<Weak<_>>| sockets.iter().any(|it| it.strong_count() > 0);
        let ports = known.of_pools.get(pool).into_iter().flatten();
        ports.filter(|(_, sockets)| is_open(sockets)).map(|(port, _)| *port).collect()
    }

    /// Goes on with a socket of another process, which accepts from it until [`Acceptor::resume`]. It is closed
    /// unless [`Self::open`] asks for it before what is returned is dropped. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When it is no listening TCP socket at the address that it should have.
    pub fn adopt(&self, open: OpenSocket, socket: OwnedFd) -> io::Result<Arc<Acceptor>> {
        let socket = std::net::TcpListener::from(socket);
        if socket.local_addr()? != open.at {
            return Err(io::Error::other(format!(
                "a socket that was passed is not at {}",
                open.at
            )));
        }
        // Both processes share the flag: it must never be cleared.
        socket.set_nonblocking(true)?;
        let socket = Arc::new(Acceptor::paused(TcpListener::from_std(socket)?));
        let OpenSocket { owner, at, key } = open;
        self.lock().insert(key, Open { owner, at, socket: Arc::downgrade(&socket) });
        Ok(socket)
    }

    /// The service manager has opened this socket: [`Self::open`] finds it by its address. Must be called within
    /// a tokio runtime.
    pub fn inherit(&self, socket: std::net::TcpListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let at = socket.local_addr()?;
        self.inherited().insert(at, TcpListener::from_std(socket)?);
        Ok(())
    }

    /// Closes inherited sockets that nobody has opened; returns their addresses.
    pub fn not_inherited(&self) -> Vec<SocketAddr> {
        self.inherited().drain().map(|(at, _)| at).collect()
    }

    fn inherited(&self) -> MutexGuard<'_, HashMap<SocketAddr, TcpListener>> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets closed sockets.
    pub fn forget_closed(&self) {
        let Known { open, of_pools } = &mut *self.lock();
        open.retain(|_, open| open.socket.strong_count() > 0);
        of_pools.retain(|_, ports| {
            ports.retain(|_, sockets| {
                sockets.retain(|socket| socket.strong_count() > 0);
                !sockets.is_empty()
            });
            !ports.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, key: Key, open: Open) {
        if let SocketOwner::Pool(pool) = &open.owner {
            let ports = self.of_pools.entry(pool.clone()).or_default();
            let sockets = ports.entry(open.at.port()).or_default();
            sockets.retain(|socket| socket.strong_count() > 0);
            sockets.push(open.socket.clone());
        }
        self.open.insert(key, open);
    }
}

/// As 0.0.0.0 where the gateway has an address of its own, or the other way round.
fn own_address() -> io::Error {
    let message = "the configuration in force has this port at another address; reload without the listener or \
                   port first, and again with it, or stop the gateway and start it again (`lockgate restart` \
                   cannot do that: it passes the open sockets on)";
    io::Error::new(io::ErrorKind::AddrInUse, message)
}

impl SocketOwner {
    fn still_uses(&self) -> io::Error {
        let user = match self {
            Self::Listeners => "a listener of the configuration in force has it".to_owned(),
            Self::Metrics => "metrics.address of the configuration in force has it".to_owned(),
            Self::Admin => "admin.address of the configuration in force has it".to_owned(),
            Self::Pool(pool) => format!("data_ports.{pool} of the configuration in force has it"),
        };
        let message = format!(
            "{user}; reload without this port first, and again when it is free, or stop the gateway and start it \
             again"
        );
        io::Error::new(io::ErrorKind::AddrInUse, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str) -> SocketOwner {
        SocketOwner::Pool(name.to_owned())
    }

    #[tokio::test]
    async fn an_open_socket_is_found_again_until_it_is_closed() {
        let sockets = Sockets::default();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let open = |owner, name| sockets.open(any, &owner, (name, 0)).unwrap();
        let one = open(SocketOwner::Listeners, "one");
        assert!(Arc::ptr_eq(&one, &open(SocketOwner::Listeners, "one")));
        for (owner, name) in [(SocketOwner::Listeners, "other"), (pool("one"), "one")] {
            assert!(!Arc::ptr_eq(&one, &open(owner, name)));
        }
        let address = one.local_addr().unwrap();
        drop(one);
        sockets.forget_closed();
        // It is closed: a socket at its address can be opened.
        let fixed = sockets.open(address, &SocketOwner::Listeners, ("one", 0)).unwrap();
        // Another listener may take it over.
        assert!(Arc::ptr_eq(
            &fixed,
            &sockets.open(address, &SocketOwner::Listeners, ("renamed", 7)).unwrap()
        ));
    }

    #[tokio::test]
    async fn a_data_port_is_not_taken_from_another_pool() {
        let sockets = Sockets::default();
        let free = listen("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
        let socket = sockets.open(free, &pool("a"), ("a", 0)).unwrap();
        for owner in [pool("b"), SocketOwner::Listeners] {
            let error = sockets.open(free, &owner, ("b", 0)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains("data_ports.a"), "{error}");
        }
        let everywhere = SocketAddr::new("0.0.0.0".parse().unwrap(), free.port());
        let error = sockets.open(everywhere, &pool("a"), ("a", 0)).unwrap_err();
        assert!(error.to_string().contains("at another address"), "{error}");
        // A take-over would find the same.
        assert!(error.to_string().contains("or stop the gateway and start it again"), "{error}");
        drop(socket);
        let socket = sockets.open(free, &pool("b"), ("b", 0)).unwrap();
        let of_port =
            |pool| (sockets.of_pool(pool, free.port()).len(), sockets.ports_of_pool(pool));
        assert_eq!((of_port("a"), of_port("b")), ((0, vec![]), (1, vec![free.port()])));
        drop(socket);
        assert_eq!(of_port("b"), (0, vec![]));
        sockets.forget_closed();
        assert!(sockets.lock().of_pools.is_empty());
    }
}
