//! The metrics of the guard.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Registry};

use super::{BANS_MAX, LoginGuard, SOURCES_MAX};
use crate::metrics;

const BY_ADDRESS: &str = "address";
const BY_USER: &str = "user";

/// Counts bans and delays.
pub(super) struct Counters {
    bans: IntCounter,
    delays: IntCounterVec,
}

impl Counters {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let bans = metrics::counter(
            registry,
            "lockgate_bans_total",
            "Client addresses that were banned after failed logins",
        )?;
        let delays = metrics::counters(
            registry,
            "lockgate_login_delays_total",
            "Logins that were delayed after failed ones of the same address or user",
            &["by"],
        )?;
        // From the start, so that the first delay is visible as an increase.
        for by in [BY_ADDRESS, BY_USER] {
            delays.with_label_values(&[by]);
        }
        Ok(Self { bans, delays })
    }

    pub(super) fn banned(&self) {
        self.bans.inc();
    }

    /// Counts a delay by what makes it longer.
    pub(super) fn delayed(&self, of_source: Duration, of_user: Duration) {
        if of_source.max(of_user) > Duration::ZERO {
            let by = if of_source >= of_user { BY_ADDRESS } else { BY_USER };
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
    metrics::live_gauge(
        registry,
        "lockgate_banned_addresses",
        "Client addresses that are banned after failed logins",
        move || bans.bans().len() as f64,
    )?;
    let counted = guard.clone();
    metrics::live_gauge(
        registry,
        "lockgate_failed_login_addresses",
        "Client addresses with failed logins that count towards a ban",
        move || counted.sources() as f64,
    )?;
    for (name, help, max) in [
        (
            "lockgate_banned_addresses_limit",
            "Bans at a time; beyond, those that end soonest are lifted",
            BANS_MAX,
        ),
        (
            "lockgate_failed_login_addresses_limit",
            "Client addresses whose failed logins are counted; beyond, the oldest are forgotten",
            SOURCES_MAX,
        ),
    ] {
        metrics::gauge(registry, name, help)?.set(max as i64);
    }
    Ok(())
}
