//! Tests of the audit: its records, and its outputs when they fail.

mod outputs;
mod records;
mod syslog;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use prometheus::Registry;

use super::event::*;
use super::settings::*;
use super::{Audit, Writers};

const TIMEOUT: Duration = Duration::from_secs(20);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn subject(user: &[u8]) -> Subject<'_> {
    Subject {
        session: 7,
        protocol: "ftp",
        listener: "front",
        client: address("192.0.2.9:50123"),
        local: address("[2001:db8::1]:21"),
        software: None,
        protection: None,
        server_name: None,
        certificate: None,
        account: Some(Account {
            user,
            groups: &[],
            method: "password",
            checked_by: Some("gateway"),
            fingerprint: None,
            certificate: None,
            route: Some(0),
            login_name: None,
            hook: None,
            backend: Some(BackendServer { name: "files", peer: None, certificate: None }),
        }),
    }
}

fn file<'a>(path: &'a [u8], direction: &'static str) -> FileTransfer<'a> {
    FileTransfer {
        name: if direction == "upload" { "write" } else { "read" },
        direction,
        path,
        to: None,
        bytes: 5,
        bytes_read: 0,
        size: None,
        is_text: false,
        sha256: None,
    }
}

/// Records the upload of this path.
fn record(audit: &Audit, path: &str) {
    let what = What::Transfer(file(path.as_bytes(), "upload"));
    let event = Event::new(subject(b"alice"), what, "ok", None);
    audit.record(&Event { seconds: Some(0.25), ..event });
}

fn settings(output: Output) -> Settings {
    Settings {
        output,
        format: Format::Json,
        sha256: false,
        when_unavailable: WhenUnavailable::Refuse,
    }
}

fn start(output: Output) -> (Audit, Writers, Registry) {
    let registry = Registry::new();
    let (audit, writers) = Audit::start(vec![settings(output)], &registry).unwrap();
    (audit, writers, registry)
}

/// Waits for this to come true.
async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + TIMEOUT;
    while !is_true() {
        assert!(tokio::time::Instant::now() < end, "{what} has not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The paths of the records in a file, which must all be complete.
fn paths(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(path_of).collect()
}

fn path_of(record: &str) -> String {
    let record: serde_json::Value =
        serde_json::from_str(record).unwrap_or_else(|e| panic!("{record}: {e}"));
    record["path"].as_str().unwrap().to_owned()
}

fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let value = |metric: &prometheus::proto::Metric| {
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    };
    family.get_metric().iter().map(value).sum()
}
