//! Metrics of the program and its process, named as in the client libraries of Prometheus.

use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process, Stat};
use prometheus::Registry;

use crate::metrics;

/// Registers them, once per registry. What cannot be read is 0.
pub(super) fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    let build = metrics::gauges(registry, "lockgate_build_info", "The version; 1", &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    metrics::live_float_counter(
        registry,
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds",
        || stat(|it| (it.utime + it.stime) as f64 / procfs::ticks_per_second() as f64),
    )?;
    let gauge = |name: &str, help: &str, value: fn() -> f64| {
        metrics::live_gauge(registry, name, help, value)
    };
    gauge("process_open_fds", "Number of open file descriptors", || {
        own(|process| Some(process.fd_count().ok()? as f64))
    })?;
    gauge("process_max_fds", "Maximum number of open file descriptors", || {
        own(|process| match process.limits().ok()?.max_open_files.soft_limit {
            LimitValue::Value(limit) => Some(limit as f64),
            LimitValue::Unlimited => Some(f64::INFINITY),
        })
    })?;
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes", || {
        stat(|it| it.vsize as f64)
    })?;
    gauge("process_resident_memory_bytes", "Resident memory size in bytes", || {
        stat(|it| it.rss_bytes().get() as f64)
    })?;
    gauge("process_threads", "Number of threads in the process", || {
        stat(|it| it.num_threads as f64)
    })?;
    gauge(
        "process_start_time_seconds",
        "Start time of the process since the Unix epoch in seconds",
        || {
            stat(|it| {
                let after_boot = it.starttime as f64 / procfs::ticks_per_second() as f64;
                procfs::boot_time_secs().map_or(0.0, |boot| boot as f64 + after_boot)
            })
        },
    )
}

fn own(read: impl Fn(&Process) -> Option<f64>) -> f64 {
    Process::myself().ok().and_then(|process| read(&process)).unwrap_or_default()
}

fn stat(read: impl Fn(&Stat) -> f64) -> f64 {
    own(|process| Some(read(&process.stat().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_values_are_those_of_this_process() {
        let registry = Registry::new();
        register(&registry).unwrap();
        let families = registry.gather();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).expect(name);
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-1.0..86_400.0).contains(&age), "started {age} seconds ago");
        assert!(value("process_cpu_seconds_total") < 86_400.0);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!((4.0..value("process_max_fds")).contains(&value("process_open_fds")));
        assert!(value("process_threads") >= 1.0);
        assert_eq!(value("lockgate_build_info"), 1.0);
    }
}
