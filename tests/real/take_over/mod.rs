//! `lockgate run --take-over` and `lockgate restart`: another process serves, and no connection is lost.

mod activation;
mod failures;
mod load;
mod sessions;
mod state;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::backend_fixture::host_keys;
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::haproxy::SOURCE;
use crate::support::pki::pki;
use crate::support::raw::Raw;
use crate::support::sftp_fixture::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A gateway with a folder, for FTP, FTPS with `data_sessions: resumed`, and SFTP, directly and behind HAProxy.
struct Fixture {
    /// The files.
    folder: TempDir,
    gateway: Gateway,
    /// The data ports behind HAProxy.
    proxied: (u16, u16),
}

impl Fixture {
    fn start(ports_count: u16) -> Self {
        Self::start_with(ports_count, "")
    }

    /// `more`: lines of the configuration.
    fn start_with(ports_count: u16, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (pool, proxied) = (ports::block(ports_count), ports::block(ports_count));
        let (certificate, key) = (pki().certificate.display(), pki().key.display());
        let tls = format!(
            "tls: {{ mode: optional, certificate: {certificate}, key: {key}, data_sessions: resumed }}"
        );
        let behind = format!("address: \"127.0.0.1:0\", proxy_protocol: [{SOURCE}]");
        let text = format!(
            "listeners:\n  \
             front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, {tls} }}\n  \
             ssh: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {host_keys} }}\n  \
             behind: {{ protocol: ftp, {behind}, data_ports: proxied, {tls} }}\n\
             data_ports:\n  \
             pool: {{ range: {}-{}, listen: [\"127.0.0.1\"] }}\n  \
             proxied: {{ range: {}-{}, listen: [\"127.0.0.1\"], proxy_protocol: [{SOURCE}] }}\n\
             backends:\n  files: {{ protocol: local, folder: {:?} }}\n  away: {{ protocol: ftp, address: \"127.0.0.1:9\", tls: {{ mode: none }}, login: pass-through }}\n\
             users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             metrics: {{ address: \"127.0.0.1:0\" }}\nadmin: {{ socket: admin.sock }}\n{more}",
            pool.start(),
            pool.end(),
            proxied.start(),
            proxied.end(),
            folder.path(),
            argon2_hash(),
            host_keys = host_keys(),
        );
        let prepare = |folder: &Path| {
            fs::write(folder.join("original.yaml"), &text).expect("a copy");
        };
        let gateway = Gateway::start_with(Command::new(PROGRAM), &text, prepare, &[]);
        Self { folder, gateway, proxied: (*proxied.start(), *proxied.end()) }
    }

    fn session(&self) -> Raw {
        session(&self.gateway)
    }
}

fn session(gateway: &Gateway) -> Raw {
    let (mut raw, _) = Raw::connect(gateway.address("front"));
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    raw
}

/// Waits for the end of a process that has handed over.
#[track_caller]
fn expect_end(old: &mut Gateway) {
    let status = old.wait(TIMEOUT);
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", old.log_tail(40));
}

/// `lockgate status`.
fn status(gateway: &Gateway) -> Value {
    let output = gateway.admin(&["status", "--json"]).expect_ok("the status");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The ports of the pool, according to `lockgate ports`: none is in use.
fn expect_whole(gateway: &Gateway, pool: &str, count: usize) {
    let is_whole = || {
        let output = gateway.admin(&["ports", "--json"]).expect_ok("the ports");
        let ports: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let pools = ports["pools"].as_array().expect("pools");
        let found = pools.iter().find(|it| it["pool"] == pool).expect("the pool");
        let all = found["ports"].as_array().expect("its ports");
        all.len() == count && all.iter().all(|it| it["reserved"] == 0 && it["active"] == 0)
    };
    assert!(becomes_true(is_whole), "{}", gateway.admin(&["ports"]).describe());
}
