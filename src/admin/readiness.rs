//! Whether the gateway should get clients: `/ready`, for load balancers and orchestrators.

use super::control::Control;

/// What `/ready` says. Before the gateway serves clients, nothing answers there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    Ready,
    /// A drain is announced.
    Draining,
    /// No server of any backend is up (`metrics.ready_needs_backend`).
    WithoutBackend,
}

impl Readiness {
    pub(super) fn of(control: &dyn Control) -> Self {
        if control.lasting().drain.is_announced() {
            return Self::Draining;
        }
        let in_force = control.in_force();
        let has_backend = || in_force.backends.iter().any(|backend| backend.view().up > 0);
        if in_force.ready_needs_backend && !has_backend() {
            return Self::WithoutBackend;
        }
        Self::Ready
    }

    /// The body of the response.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Ready => "ready\n",
            Self::Draining => "draining\n",
            Self::WithoutBackend => {
                "no backend: no server of any backend is up, or all are drained \
                 (metrics.ready_needs_backend)\n"
            }
        }
    }
}
