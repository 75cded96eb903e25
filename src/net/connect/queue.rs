//! The connection attempts to one address: so many at once, and the others wait in FIFO order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::metrics::OfBackend;
use crate::task;

/// An established connection may still be in the server's backlog. It holds its slot until the server's
/// first byte, at most for so long.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(1);

/// The slots of one address (`connects_at_once`).
pub(super) struct Queue {
    slots: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    slots: usize,
    /// When the last connection was established.
    last_connect: Option<Instant>,
}

/// Permission to connect.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _in_progress: GaugeGuard,
}

/// Counts in a gauge until dropped.
struct GaugeGuard(IntGauge);

impl Queue {
    pub(super) fn new(slots: usize) -> Arc<Self> {
        let state = Mutex::new(State { slots, last_connect: None });
        Arc::new(Self { slots: Arc::new(Semaphore::new(slots)), state })
    }

    /// To be called before the first connection.
    pub(super) fn limit_to(&self, slots: usize) {
        let mut state = self.lock();
        if slots < state.slots {
            self.slots.forget_permits(state.slots - slots);
            state.slots = slots;
        }
    }

    pub(super) fn slots(&self) -> usize {
        self.lock().slots
    }

    /// Waits for permission to connect: not longer than `limit` after the last connection that succeeded.
    pub(super) async fn slot(&self, metrics: &OfBackend, limit: Duration) -> Result<Slot, String> {
        let waiting = GaugeGuard::new(&metrics.waiting);
        let permit = self.slots.clone().acquire_owned();
        tokio::pin!(permit);
        let mut deadline = Instant::now() + limit;
        let permit = loop {
            if let Ok(permit) = timeout_at(deadline, &mut permit).await {
                break permit.map_err(|e| e.to_string())?;
            }
            // A slow server accepts one connection after the other. A dead one accepts none: give up
            // and try the next address.
            match self.lock().last_connect {
                Some(last) if last + limit > Instant::now() => deadline = last + limit,
                _ => {
                    let limit = humantime::format_duration(limit);
                    return Err(format!(
                        "no slot of `connects_at_once` became free, and no connection attempt \
                         succeeded, within {limit}"
                    ));
                }
            }
        };
        drop(waiting);
        Ok(Slot { _permit: permit, _in_progress: GaugeGuard::new(&metrics.in_progress) })
    }

    pub(super) fn note_connected(&self) {
        self.lock().last_connect = Some(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Watches a duplicate of the socket, so that the first byte stays unread.
    pub(super) fn hold_until_answered(self, tcp: &TcpStream) {
        let watched = SockRef::from(tcp).try_clone();
        let watched = watched.and_then(|socket| TcpStream::from_std(socket.into()));
        task::spawn(async move {
            let answered = async {
                match &watched {
                    // The end of the connection counts, too.
                    Ok(tcp) => drop(tcp.readable().await),
                    Err(_) => std::future::pending().await,
                }
            };
            let _ = timeout(FIRST_BYTE_TIMEOUT, answered).await;
            drop(self);
        });
    }
}

impl GaugeGuard {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
