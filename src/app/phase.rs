//! Whether another process takes over from this one, or has done so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use super::launcher::Launcher;
use crate::net::ProcessHandle;

/// How the last hand-over went: to which process, or why not.
pub(super) type Outcome = Option<Result<u32, String>>;

/// Whether this process serves, hands over, or has handed over.
pub(super) struct HandOver {
    phase: watch::Sender<Phase>,
    outcome: watch::Sender<Outcome>,
    /// Which has taken over.
    next: OnceLock<ProcessHandle>,
    /// Started by `lockgate restart`.
    launcher: Mutex<Option<Launcher>>,
    /// A `lockgate restart` is under way.
    restarting: AtomicBool,
}

/// The only `lockgate restart` that is under way.
pub(super) struct Restarting<'a>(&'a AtomicBool);

impl Drop for Restarting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// No reload begins.
    HandingOver,
    HandedOver,
}

impl Default for HandOver {
    fn default() -> Self {
        let (phase, outcome) = (watch::Sender::new(Phase::Serving), watch::Sender::new(None));
        let (next, launcher) = (OnceLock::new(), Mutex::default());
        Self { phase, outcome, next, launcher, restarting: AtomicBool::new(false) }
    }
}

impl HandOver {
    pub(super) fn is(&self, phase: Phase) -> bool {
        *self.phase.borrow() == phase
    }

    /// Resolves when another process accepts.
    pub(super) async fn done(&self) {
        // Its sender is `self`'s.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::HandedOver).await.is_ok();
    }

    /// Resolves when no hand-over is under way: with the process that has taken over, if one has.
    pub(super) async fn settled(&self) -> Option<&ProcessHandle> {
        let is_settled = |phase: &Phase| *phase != Phase::HandingOver;
        // Its sender is `self`'s.
        let _ = self.phase.subscribe().wait_for(is_settled).await.is_ok();
        self.next.get()
    }

    /// This process has taken over.
    pub(super) fn handed_over(&self, next: ProcessHandle) {
        let _ = self.next.set(next);
        self.enter(Phase::HandedOver);
    }

    /// `None` while another restart is under way.
    pub(super) fn restart(&self) -> Option<Restarting<'_>> {
        let is_other = self.restarting.swap(true, Ordering::Acquire);
        (!is_other).then(|| Restarting(&self.restarting))
    }

    /// The next hand-over is to the process that this one starts. Returns its outcome, not known yet.
    pub(super) fn expect(&self, launcher: Launcher) -> watch::Receiver<Outcome> {
        *self.launcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(launcher);
        self.outcome.send_replace(None);
        self.outcome.subscribe()
    }

    /// How the hand-over that was begun went.
    pub(super) fn end(&self, outcome: Result<u32, String>) {
        self.outcome.send_replace(Some(outcome));
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Ends the wait for a process that was started.
    pub(super) fn launcher(&self) -> Option<Launcher> {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether a process was started that has not taken over yet.
    #[cfg(test)]
    pub(super) fn has_launched(&self) -> bool {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether nobody takes over yet: now somebody does.
    pub(super) fn begin(&self) -> bool {
        self.phase.send_if_modified(|phase| {
            let may = *phase == Phase::Serving;
            if may {
                *phase = Phase::HandingOver;
            }
            may
        })
    }
}
