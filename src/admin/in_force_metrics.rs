//! Metrics of what the configuration in force has: their series come and go with it.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus::{Error, GaugeVec, Registry};

use super::control::{Control, InForce};
use super::readiness::Readiness;
use crate::auth::hook::LoginHook;
use crate::metrics::{live_counters, live_gauge, live_gauges};
use crate::net::CertificateEnd;
use crate::policy::RuleCount;
use crate::policy::limits::LimitUse;

/// Registers them, once per registry.
pub fn register_in_force_metrics(
    registry: &Registry,
    control: &Arc<dyn Control>,
) -> Result<(), Error> {
    register_readiness(registry, control)?;
    register_backends(registry, control)?;
    register_servers(registry, control)?;
    register_policy(registry, control)?;
    register_limits(registry, control)?;
    register_certificates(registry, control)?;
    register_hooks(registry, control)?;
    let of = in_force(control);
    live_gauges(
        registry,
        "lockgate_data_ports_fullness_ratio",
        "How full a pool is for the next client of the busiest address: 0 empty, 1 nothing left",
        &["pool"],
        move |series| of().pools.iter().for_each(|it| set(series, &[it.name()], it.fullness())),
    )
}

fn in_force(control: &Arc<dyn Control>) -> impl Fn() -> Arc<InForce> + Send + Sync + use<> {
    let control = control.clone();
    move || control.in_force()
}

fn register_readiness(registry: &Registry, control: &Arc<dyn Control>) -> Result<(), Error> {
    let of = control.clone();
    live_gauge(registry, "lockgate_ready", "1 if /ready says so", move || {
        flag(Readiness::of(&*of) == Readiness::Ready)
    })?;
    let of = control.clone();
    live_gauge(registry, "lockgate_draining", "1 once a drain is announced", move || {
        flag(Readiness::of(&*of) == Readiness::Draining)
    })
}

fn register_backends(registry: &Registry, control: &Arc<dyn Control>) -> Result<(), Error> {
    let of = in_force(control);
    live_gauges(
        registry,
        "lockgate_backend_up",
        "1 if a server of the backend is up and not drained",
        &["backend"],
        move |series| {
            for view in of().backends.iter().map(|backend| backend.view()) {
                set(series, &[&view.name], flag(view.up > 0));
            }
        },
    )?;
    let of = in_force(control);
    live_gauges(
        registry,
        "lockgate_backend_servers",
        "Servers of the backend, by their state: up, down or drained",
        &["backend", "state"],
        move |series| {
            for view in of().backends.iter().map(|backend| backend.view()) {
                let states = [("up", view.up), ("down", view.down), ("drained", view.drained)];
                for (state, count) in states {
                    set(series, &[&view.name, state], count as f64);
                }
            }
        },
    )?;
    let of = in_force(control);
    live_gauges(
        registry,
        "lockgate_backend_connects_limit",
        "Connection attempts to a backend at once (connects_at_once, for each of its addresses)",
        &["backend"],
        move |series| {
            for (backend, limit) in &of().connects_limits {
                set(series, &[backend], *limit as f64);
            }
        },
    )
}

fn register_servers(registry: &Registry, control: &Arc<dyn Control>) -> Result<(), Error> {
    let of = in_force(control);
    live_gauges(
        registry,
        "lockgate_server_changed_timestamp_seconds",
        "Since when a server is up, or down",
        &["server"],
        move |series| {
            for server in of().servers.view() {
                set(series, &[&server.name], seconds(server.since));
            }
        },
    )?;
    let of = in_force(control);
    live_gauges(
        registry,
        "lockgate_server_sessions_limit",
        "The most sessions that a server gets (sessions of its backend)",
        &["server"],
        move |series| {
            for server in of().servers.view() {
                if let Some(max) = server.sessions_max {
                    set(series, &[&server.name], max as f64);
                }
            }
        },
    )
}

fn register_policy(registry: &Registry, control: &Arc<dyn Control>) -> Result<(), Error> {
    type Value = fn(&RuleCount) -> u64;
    let metrics: [(&str, &str, Value); 2] = [
        (
            "lockgate_policy_denials_total",
            "Operations and FTP commands that a rule denied; default: no rule allowed them",
            |count| count.denied,
        ),
        (
            "lockgate_policy_dry_run_denials_total",
            "Operations and FTP commands that a rule in dry run would have denied",
            |count| count.dry_run,
        ),
    ];
    for (name, help, value) in metrics {
        let of = in_force(control);
        live_counters(registry, name, help, &["rule"], move |series| {
            let in_force = of();
            let policy = in_force.explainer.gateway.policy.as_ref();
            for count in policy.iter().flat_map(|rules| rules.denials()) {
                series.with_label_values(&[&count.rule]).inc_by(value(&count));
            }
        })?;
    }
    Ok(())
}

fn register_limits(registry: &Registry, control: &Arc<dyn Control>) -> Result<(), Error> {
    let labels = &["limit", "kind"];
    let of = in_force(control);
    let help = "The value of a limit of policy.limits";
    live_gauges(registry, "lockgate_limit_max", help, labels, move |series| {
        for LimitUse { limit, kind, max, .. } in of().explainer.gateway.policy_limits.values() {
            set(series, &[&limit, kind], max);
        }
    })?;
    let of = in_force(control);
    let help = "The use of a limit of policy.limits by who is nearest to it";
    live_gauges(registry, "lockgate_limit_used", help, labels, move |series| {
        for LimitUse { limit, kind, used, .. } in of().explainer.gateway.policy_limits.uses() {
            set(series, &[&limit, kind], used);
        }
    })
}

fn register_certificates(registry: &Registry, control: &Arc<dyn Control>) -> Result<(), Error> {
    type Value = fn(&CertificateEnd) -> i64;
    let metrics: [(&str, &str, Value); 2] = [
        (
            "lockgate_certificate_start_timestamp_seconds",
            "Since when a certificate, CRL or SSH host certificate that the configuration names is valid",
            |certificate| certificate.from,
        ),
        (
            "lockgate_certificate_expiry_timestamp_seconds",
            "When a certificate, CRL or SSH host certificate that the configuration names ends",
            |certificate| certificate.until,
        ),
    ];
    for (name, help, value) in metrics {
        let of = in_force(control);
        live_gauges(registry, name, help, &["kind", "used_by", "name"], move |series| {
            for it in &of().certificate_ends {
                set(series, &[it.kind.as_str(), &it.used_by, &it.file], value(it) as f64);
            }
        })?;
    }
    Ok(())
}

fn register_hooks(registry: &Registry, control: &Arc<dyn Control>) -> Result<(), Error> {
    type Value = fn(&LoginHook) -> usize;
    let metrics: [(&str, &str, Value); 2] = [
        (
            "lockgate_login_hook_requests_in_progress",
            "Requests to a login hook that run",
            LoginHook::requests_running,
        ),
        (
            "lockgate_login_hook_requests_limit",
            "Requests to a login hook at once (requests_at_once)",
            LoginHook::requests_at_once,
        ),
    ];
    for (name, help, value) in metrics {
        let of = in_force(control);
        live_gauges(registry, name, help, &["hook"], move |series| {
            for hook in of().explainer.gateway.login_hooks.hooks.values() {
                set(series, &[hook.name()], value(hook) as f64);
            }
        })?;
    }
    Ok(())
}

fn set(series: &GaugeVec, labels: &[&str], value: f64) {
    series.with_label_values(labels).set(value);
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
