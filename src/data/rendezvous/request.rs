//! Requests for a port: one that is free now, or the next one within the pool's `wait`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::Rendezvous;
use super::client_key::ClientKey;
use super::reservation::{Arrived, Reservation};
use super::slot::ExpectedSession;
use super::table::{Lease, NotReserved, Request};
use crate::data::metrics::WaitEnd;
use crate::net::tls::{ControlTls, ServerTls};

/// Between checks whether a quarantine has ended, while requests are queued.
const QUEUE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A request for a port.
pub struct PortRequest<'a> {
    /// Where the data connection will come from: the client, or the server in active mode.
    pub client: IpAddr,
    /// Number of the session.
    pub session: u64,
    /// The control connection's TLS, if its data connections are known to resume it: such sessions share
    /// ports.
    pub tls: Option<&'a ControlTls>,
    /// Whether a connection that does not resume it is refused.
    pub must_resume: bool,
    /// For the data connection to be made.
    pub connect_within: Duration,
    /// For a port to become free.
    pub wait: Duration,
}

/// Why no port was reserved, with the limit that was reached.
#[derive(Debug, thiserror::Error)]
pub enum Exhausted {
    /// The request waited as long as the pool's `wait` allows.
    #[error(
        "no data port became free within {}: all {ports} ports of pool \"{pool}\" wait for \
         connections from your address", humantime::format_duration(*.waited)
    )]
    NotInTime {
        /// The pool's name in the configuration.
        pool: String,
        /// The number of ports in the pool.
        ports: usize,
        /// How long the request waited.
        waited: Duration,
    },
    /// 4096 requests wait for a port of the pool, or an eighth of them for this client alone.
    #[error(
        "no data port is free, and too many requests wait for one: all {ports} ports of pool \
         \"{pool}\" wait for connections from your address"
    )]
    QueueFull {
        /// The pool's name in the configuration.
        pool: String,
        /// The number of ports in the pool.
        ports: usize,
    },
    /// The client's address has as many reservations as `reservations_per_address` allows.
    #[error(
        "your address has the maximum of {limit} data ports reserved (`reservations_per_address` of \
         pool \"{pool}\"): connect to them first"
    )]
    AddressLimit {
        /// The pool's name in the configuration.
        pool: String,
        /// The value of `reservations_per_address`.
        limit: usize,
    },
}

impl Rendezvous {
    /// Waits for a port if none is free for this client now.
    pub(in crate::data) async fn reserve(
        self: &Arc<Self>,
        request: PortRequest<'_>,
        per_address: usize,
    ) -> Result<Reservation, Exhausted> {
        let PortRequest { session, must_resume, connect_within, wait, .. } = request;
        let (now, client) = (Instant::now(), request.client.to_canonical());
        let tls = request.tls.map(|tls| ExpectedSession {
            listener: tls.listener().clone(),
            id: tls.id(),
            evidence: tls.resumption_evidence(),
            must_resume,
        });
        let deadline = now + connect_within + wait;
        let request = Request { client, session, tls, deadline };
        let waiting = self.metrics.waits.start(WaitEnd::Left);
        let leased = self.table().reserve(now, &request);
        let lease = match leased {
            Ok(lease) => lease,
            Err(NotReserved::AddressLimit) => {
                waiting.ended(WaitEnd::Refused);
                self.metrics.exhausted.inc();
                return Err(Exhausted::AddressLimit {
                    pool: self.pool.clone(),
                    limit: per_address,
                });
            }
            Err(NotReserved::NoneFree) => match self.wait_in_queue(request, wait).await {
                Ok(lease) => lease,
                Err(exhausted) => {
                    waiting.ended(match exhausted {
                        Exhausted::NotInTime { .. } => WaitEnd::Timeout,
                        Exhausted::QueueFull { .. } | Exhausted::AddressLimit { .. } => {
                            WaitEnd::Refused
                        }
                    });
                    return Err(exhausted);
                }
            },
        };
        waiting.ended(WaitEnd::Ok);
        let (rendezvous, since) = (self.clone(), Instant::now());
        let (connected, has_arrived, timed_out) = (false, false, false);
        let reservation = Reservation {
            rendezvous,
            lease,
            client,
            session,
            since,
            connected,
            has_arrived,
            timed_out,
        };
        reservation.renew(connect_within);
        self.metrics.reserved.set(self.table().reserved() as i64);
        Ok(reservation)
    }

    async fn wait_in_queue(
        self: &Arc<Self>,
        request: Request<ServerTls>,
        limit: Duration,
    ) -> Result<Lease<Arrived>, Exhausted> {
        let (pool, ports) = (self.pool.clone(), self.table().ports().len());
        let client = self.table().key(0, request.client).client;
        let queued = self.table().queue(Instant::now(), request);
        let Some(lease) = queued else {
            self.metrics.exhausted.inc();
            return Err(Exhausted::QueueFull { pool, ports });
        };
        let mut queued = Queued { rendezvous: self.clone(), client, lease };
        self.changes.send_replace(());
        self.metrics.queued.set(self.table().queued() as i64);
        let leased = timeout(limit, async {
            loop {
                tokio::select! {
                    lease = &mut queued.lease => return lease.ok(),
                    () = sleep(QUEUE_CHECK_INTERVAL) => {
                        self.table().offer(Instant::now(), client);
                    }
                }
            }
        });
        let leased = leased.await.ok().flatten();
        drop(queued);
        leased.ok_or_else(|| {
            self.metrics.exhausted.inc();
            Exhausted::NotInTime { pool, ports, waited: limit }
        })
    }
}

/// A queued request. Dropped, it releases a lease that it did not receive.
struct Queued {
    rendezvous: Arc<Rendezvous>,
    client: ClientKey,
    lease: oneshot::Receiver<Lease<Arrived>>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.lease.close();
        let mut table = self.rendezvous.table();
        if let Ok(lease) = self.lease.try_recv() {
            // The client does not know the port, so no connection is on its way: no quarantine is needed.
            table.release(Instant::now(), &lease, true);
        }
        table.offer(Instant::now(), self.client);
        self.rendezvous.metrics.queued.set(table.queued() as i64);
        self.rendezvous.metrics.reserved.set(table.reserved() as i64);
    }
}
