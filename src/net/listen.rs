//! Listening sockets of the fronts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use super::{
    Acceptor, Drain, Endpoints, ProxyHeader, ProxyProtocol, Refusal, SocketOwner, Sockets,
};

/// A front's listener whose sockets are open.
pub struct Listener {
    name: String,
    sockets: Vec<Arc<Acceptor>>,
    proxy_protocol: Option<Arc<ProxyProtocol>>,
    drain: Drain,
    handler: Arc<ConnectionHandler>,
}

/// Takes each accepted connection; must not block.
type ConnectionHandler = dyn Fn(TcpStream, Endpoints) + Send + Sync;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{listener}\" cannot listen on {address}: {reason}")]
pub struct ListenError {
    /// The listener's name in the configuration, or `metrics` or `admin`.
    pub listener: String,
    /// The address and port that was tried.
    pub address: SocketAddr,
    /// The error of the operating system.
    pub reason: io::Error,
}

impl Listener {
    /// Opens every address, or none; goes on with `sockets` that are open. With `proxy_protocol` all
    /// connections come from proxies.
    pub fn bind(
        (name, addresses): (&str, &[SocketAddr]),
        proxy_protocol: Option<ProxyProtocol>,
        sockets: &Sockets,
        drain: &Drain,
        handler: impl Fn(TcpStream, Endpoints) + Send + Sync + 'static,
    ) -> Result<Self, ListenError> {
        let open = |(nth, address): (usize, &SocketAddr)| {
            let opened = sockets.open(*address, &SocketOwner::Listeners, (name, nth));
            let (listener, address) = (name.to_owned(), *address);
            opened.map_err(|reason| ListenError { listener, address, reason })
        };
        Ok(Self {
            name: name.to_owned(),
            sockets: addresses.iter().enumerate().map(open).collect::<Result<_, _>>()?,
            proxy_protocol: proxy_protocol.map(Arc::new),
            drain: drain.clone(),
            handler: Arc::new(handler),
        })
    }

    /// The address of each socket, with the listener's name.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        let bound = self.sockets.iter().filter_map(|socket| socket.local_addr().ok());
        bound.map(|address| (self.name.clone(), address)).collect()
    }

    /// Accepts until the drain starts, or `until`: another configuration is in force, or another process has
    /// taken over.
    pub fn serve(self, until: &CancellationToken) {
        let Self { name, sockets, proxy_protocol, drain, handler } = self;
        for socket in sockets {
            let (stop, until) = (drain.token().clone(), until.clone());
            let handler = handler.clone();
            match proxy_protocol.clone() {
                None => {
                    drain.spawn_accepting(async move {
                        let accepting = until.run_until_cancelled(direct(&socket, &*handler));
                        stop.run_until_cancelled(accepting).await;
                    });
                }
                Some(proxy_protocol) => {
                    let name = name.clone();
                    let handler = move |tcp, from, received| {
                        proxied(&name, &*handler, tcp, from, received);
                    };
                    let headers = drain.accepting().clone();
                    drain.spawn_accepting(async move {
                        let until = until.cancelled();
                        let stop = (&stop, &headers);
                        proxy_protocol.accept(&socket, until, stop, handler).await;
                    });
                }
            }
        }
    }
}

async fn direct(socket: &Acceptor, handler: &ConnectionHandler) {
    loop {
        let (tcp, peer) = accept(socket).await;
        // Without an address it is closed already.
        if let Ok(endpoints) = Endpoints::of(&tcp, peer) {
            handler(tcp, endpoints);
        }
    }
}

fn proxied(
    listener: &str,
    handler: &ConnectionHandler,
    tcp: TcpStream,
    from: SocketAddr,
    received: Result<ProxyHeader, Refusal>,
) {
    match received {
        Ok(header) => handler(tcp, header.endpoints),
        Err(refusal @ Refusal::NothingSent) => {
            tracing::debug!(%from, listener, %refusal, "connection refused");
        }
        Err(refusal) => tracing::info!(%from, listener, %refusal, "connection refused"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::DrainSettings;

    #[tokio::test]
    async fn binds_every_address_or_none_and_stops_when_draining() {
        let drain = Drain::new();
        let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel();
        let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let handler = move |_, endpoints| sender.send(endpoints).unwrap();
        let (sockets, replaced) = (Sockets::default(), CancellationToken::new());
        let listener =
            Listener::bind(("l", &[loopback, loopback]), None, &sockets, &drain, handler).unwrap();
        let bound = listener.addresses();
        assert_eq!(bound.len(), 2);
        let other = ("other", &[loopback, bound[0].1][..]);
        let taken = Listener::bind(other, None, &sockets, &drain, |_, _| {});
        let error = taken.err().unwrap();
        assert_eq!((&*error.listener, error.address), ("other", bound[0].1));
        listener.serve(&replaced);
        for (name, address) in bound {
            assert_eq!(name, "l");
            let client = TcpStream::connect(address).await.unwrap();
            let peer = client.local_addr().unwrap();
            assert_eq!(accepted.recv().await.unwrap(), Endpoints { peer, local: address });
        }
        let settings = DrainSettings { accept_for: Duration::ZERO, ..DrainSettings::default() };
        assert!(!drain.drain(&settings).await);
        // The accept loops have ended, and their sockets with them.
        assert_eq!(accepted.recv().await, None);
    }
}
