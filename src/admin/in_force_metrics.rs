//! Metrics of what the configuration in force has: their series come and go with it.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus::{GaugeVec, Registry};

use super::at_scrape;
use super::control::{Control, InForce};
use super::readiness::Readiness;
use crate::backend::group::{GroupView, ServerView};

/// Registers them, once per registry.
pub fn register_in_force_metrics(
    registry: &Registry,
    control: &Arc<dyn Control>,
) -> Result<(), prometheus::Error> {
    let of = control.clone();
    at_scrape::register(
        registry,
        [
            ("lockgate_ready", "1 if /ready says so", &[]),
            ("lockgate_draining", "1 once a drain is announced", &[]),
        ],
        move |[ready, draining]| {
            let readiness = Readiness::of(&*of);
            set(ready, &[], f64::from(u8::from(readiness == Readiness::Ready)));
            set(draining, &[], f64::from(u8::from(readiness == Readiness::Draining)));
        },
    )?;
    let of = control.clone();
    at_scrape::register(
        registry,
        [(
            "lockgate_data_ports_fullness_ratio",
            "How full a pool is for the next client of the busiest address: 0 empty, 1 nothing left",
            &["pool"],
        )],
        move |[fullness]| {
            for pool in &of.in_force().pools {
                set(fullness, &[pool.name()], pool.fullness());
            }
        },
    )?;
    register_backends(registry, control.clone())
}

fn register_backends(
    registry: &Registry,
    control: Arc<dyn Control>,
) -> Result<(), prometheus::Error> {
    let families = [
        ("lockgate_backend_up", "1 if a server of the backend can be used", &["backend"][..]),
        (
            "lockgate_backend_servers",
            "Servers of the backend, by their state: up, down or drained",
            &["backend", "state"],
        ),
        (
            "lockgate_server_changed_timestamp_seconds",
            "Since when a server is up, or down",
            &["server"],
        ),
        (
            "lockgate_server_sessions_limit",
            "The most sessions that a server gets (`sessions` of its backend)",
            &["server"],
        ),
        (
            "lockgate_backend_connects_limit",
            "Connection attempts to a backend at once (connects_at_once, for each of its addresses)",
            &["backend"],
        ),
    ];
    at_scrape::register(registry, families, move |[up, servers, changed, limit, connects]| {
        let InForce { backends, servers: all, connects_limits, .. } = &*control.in_force();
        for backend in backends {
            let view: GroupView = backend.view();
            let name = view.name.as_str();
            set(up, &[name], f64::from(u8::from(view.up > 0)));
            for (state, count) in [("up", view.up), ("down", view.down), ("drained", view.drained)]
            {
                set(servers, &[name, state], count as f64);
            }
        }
        for (backend, limit) in connects_limits {
            set(connects, &[backend], *limit as f64);
        }
        for ServerView { name, since, sessions_max, .. } in all.view() {
            set(changed, &[&name], seconds(since));
            if let Some(max) = sessions_max {
                set(limit, &[&name], max as f64);
            }
        }
    })
}

fn set(gauge: &GaugeVec, labels: &[&str], value: f64) {
    gauge.with_label_values(labels).set(value);
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
