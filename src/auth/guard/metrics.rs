//! The metrics of the guard.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::LoginGuard;
use crate::auth::live_gauge;

/// Counts bans and delays.
pub(super) struct Counters {
    bans: IntCounter,
    delays: IntCounterVec,
}

impl Counters {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let bans = IntCounter::new(
            "lockgate_bans_total",
            "Client addresses that were banned after failed logins",
        )?;
        let delays = IntCounterVec::new(
            Opts::new(
                "lockgate_login_delays_total",
                "Logins that were delayed after failed ones of the same address or user",
            ),
            &["by"],
        )?;
        registry.register(Box::new(bans.clone()))?;
        registry.register(Box::new(delays.clone()))?;
        Ok(Self { bans, delays })
    }

    pub(super) fn banned(&self) {
        self.bans.inc();
    }

    /// Counts a delay by what makes it longer.
    pub(super) fn delayed(&self, of_source: Duration, of_user: Duration) {
        if of_source.max(of_user) > Duration::ZERO {
            let by = if of_source >= of_user { "address" } else { "user" };
            self.delays.with_label_values(&[by]).inc();
        }
    }
}

/// Registers what is asked for only when metrics are collected.
pub(super) fn register_gauges(
    guard: &Arc<LoginGuard>,
    registry: &Registry,
) -> Result<(), prometheus::Error> {
    let bans = guard.clone();
    live_gauge::register(
        registry,
        "lockgate_banned_addresses",
        "Client addresses that are banned after failed logins",
        move || bans.bans().len(),
    )?;
    let counted = guard.clone();
    live_gauge::register(
        registry,
        "lockgate_failed_login_addresses",
        "Client addresses with failed logins that count towards a ban",
        move || counted.sources(),
    )
}
