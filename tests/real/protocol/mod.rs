//! The protocol of the fronts, line by line: the built gateway with a local backend.

mod abor_at_end;
mod abort;
mod active;
mod advertise;
mod anonymous;
mod ascii;
mod client_certificates;
mod close_notify;
mod control;
mod cuts;
mod data_ports;
mod data_ports_load;
mod drain;
mod ends;
mod given_up;
mod guessing;
mod left_before_data;
mod limits;
mod listings;
mod logins;
mod names;
mod proxy_protocol;
mod refused_clients;
mod resumption;
mod security;
mod server_names;
mod sessions;
mod sftp_algorithms;
mod sftp_broken;
mod sftp_keepalive;
mod sftp_logins;
mod sftp_openssh;
mod sftp_rekey;
mod slices;
mod state_metrics;
mod tls_versions;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::pki::pki;
use crate::support::raw::Raw;
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

/// The timeout for expected events on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The parts of the configuration that tests vary.
#[derive(Clone, Copy)]
struct Plan<'a> {
    /// `none`, `optional`, `required`, `implicit`.
    tls: &'static str,
    /// More keys of `tls`, each with a comma before it.
    tls_keys: &'static str,
    active: bool,
    /// More keys of `active`, each with a comma before it.
    active_keys: &'a str,
    partial_uploads: &'static str,
    /// The keys of `limits`.
    limits: &'static str,
    /// The keys of `drain`.
    drain: &'static str,
    data_ports: u16,
    /// More keys of the pool, each with a comma before it.
    pool_keys: &'static str,
    /// `debug`: listings and sessions are logged too.
    log_level: &'static str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            tls: "none",
            tls_keys: "",
            active: false,
            active_keys: "",
            partial_uploads: "keep",
            limits: "sessions: 1000",
            drain: "accept_for: 0s",
            data_ports: 8,
            pool_keys: "",
            log_level: "info",
        }
    }
}

/// A gateway that serves `folder`.
struct Fixture {
    gateway: Gateway,
    folder: TempDir,
    implicit: bool,
    /// The data ports.
    ports: std::ops::RangeInclusive<u16>,
}

impl Plan<'_> {
    fn start(&self) -> Fixture {
        self.start_by(Command::new(PROGRAM))
    }

    fn start_by(&self, command: Command) -> Fixture {
        let folder = tempfile::tempdir().expect("a folder");
        let pool = ports::block(self.data_ports);
        let tls = match self.tls {
            "none" => "{ mode: none }".to_owned(),
            mode => format!(
                "{{ mode: {mode}, certificate: {}, key: {}{} }}",
                pki().certificate.display(),
                pki().key.display(),
                self.tls_keys
            ),
        };
        let config = format!(
            "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, \
             active: {{ allowed: {}{} }}, tls: {tls} }}\n\
             data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.1\"]{} }}\n\
             backends:\n  files: {{ protocol: local, folder: {:?}, partial_uploads: {} }}\n\
             users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             limits: {{ {} }}\n\
             drain: {{ {} }}\n\
             metrics: {{ address: \"127.0.0.1:0\" }}\n\
             admin: {{ socket: admin.sock }}\n\
             log: {{ level: {} }}\n",
            self.active,
            self.active_keys,
            pool.start(),
            pool.end(),
            self.pool_keys,
            folder.path(),
            self.partial_uploads,
            argon2_hash(),
            self.limits,
            self.drain,
            self.log_level,
        );
        let gateway = Gateway::start_by(command, &config, &[]);
        Fixture { gateway, folder, implicit: self.tls == "implicit", ports: pool }
    }
}

impl Fixture {
    fn address(&self) -> SocketAddr {
        self.gateway.address("front")
    }

    /// A client that has read the greeting.
    fn connect(&self) -> Raw {
        let connect = if self.implicit { Raw::connect_implicit } else { Raw::connect };
        let (raw, greeting) = connect(self.address());
        assert_eq!(greeting.code, 220, "{}", greeting.text);
        raw
    }

    /// A client that is logged in, in clear unless TLS is implicit.
    fn client(&self) -> Raw {
        let mut raw = self.connect();
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
        raw
    }

    /// A client that has sent AUTH TLS and is logged in.
    fn tls_client(&self) -> Raw {
        let mut raw = self.connect();
        raw.auth_tls();
        raw.login(USER, PASSWORD);
        raw.expect("TYPE I", 200);
        raw
    }

    /// `lockgate_data_ports_…`
    fn pool_metric(&self, what: &str) -> Option<u64> {
        self.gateway.metric(&format!("lockgate_data_ports_{what}{{pool=\"pool\"}}"))
    }

    #[track_caller]
    fn await_pool_metric(&self, what: &str, value: u64) {
        let now = || self.pool_metric(what);
        assert!(becomes_true(|| now() == Some(value)), "{what} is never {value}, but {:?}", now());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("writing a file");
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("reading a file")
    }

    /// A sparse file that is larger than all socket buffers.
    fn put_large(&self, name: &str) -> usize {
        const LARGE: usize = 64 << 20;
        let file = std::fs::File::create(self.path(name)).expect("making a file");
        file.set_len(LARGE as u64).expect("giving a file its length");
        LARGE
    }

    /// The names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("reading a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// Asserts that replies match commands: NOOP gets its own reply.
#[track_caller]
fn check_in_sync(raw: &mut Raw) {
    let reply = raw.expect("NOOP", 200);
    assert!(reply.text.contains("NOOP"), "{}", reply.text);
}
