//! Messages to the service manager, such as systemd, that started the gateway (sd_notify(3)). Nothing is sent
//! where there is none, as `NOTIFY_SOCKET` is not set then.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::task;

/// For what follows the drain: the end by force (16 s at most), quotas, the audit's queues (5 s), and the end of
/// the process.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// The gateway serves: `READY=1`, also after [`reloading`].
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being loaded again; [`ready`] must follow, whatever the outcome.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The drain begins, and has this time. The service manager waits for as long, also where its
/// own limit (`TimeoutStopSec`) is shorter.
pub fn stopping(drain_time: Duration) {
    let wait = drain_time.saturating_add(END_TIMEOUT).as_micros();
    send(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(u32::try_from(wait).unwrap_or(u32::MAX)),
        NotifyState::Status("draining"),
    ]);
}

/// Another process has taken over: it is the service's main process from now on.
pub fn handed_over(process: u32) {
    send(&[NotifyState::MainPid(process)]);
}

/// Sends `WATCHDOG=1` at half of `WATCHDOG_USEC` for as long as the runtime takes up new tasks. Ends at once
/// where the service manager does not ask for that.
pub async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // Half of it, so that one delay is no death.
    let mut interval = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // This task could run where new ones would wait for ever.
        if task::spawn(async {}).await.is_err() {
            return;
        }
        // A service manager that does not read must not hold a thread of the runtime.
        if task::spawn_blocking(|| send(&[NotifyState::Watchdog])).await.is_err() {
            return;
        }
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told of the state (NOTIFY_SOCKET)");
    }
}
