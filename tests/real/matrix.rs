//! Every front before every backend, in every data mode, with real clients.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::actions::{
    curl_cell, curl_modes, lftp_cell, ncftp_cell, session_cell, tnftp_cell,
};
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::clients::curl::Manner;
use crate::support::clients::{Site, TlsVersion};
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::servers::{Endpoint, NAMES, PLAIN, endpoint};
use crate::support::{DataMode, Tls, USER, argon2_hash, limits, ports};

/// Of the gateway's log, for each failing cell.
const SHOWN_LINES: usize = 8;
const LOCAL: &str = "local";

/// The `tls.mode` of a listener, which is its name too, and what the client makes of it.
const FRONTS: [(&str, Tls); 4] = [
    ("none", Tls::None),
    ("optional", Tls::Explicit),
    ("required", Tls::Explicit),
    ("implicit", Tls::Implicit),
];

/// One gateway before one backend, with a listener for each front.
struct Bench {
    gateway: Gateway,
    backend: Backend,
}

enum Backend {
    Server(Endpoint),
    Local(TempDir),
}

impl Backend {
    fn find(name: &'static str) -> Self {
        match name {
            LOCAL => Self::Local(tempfile::tempdir().expect("a folder for the local backend")),
            name => Self::Server(endpoint(name)),
        }
    }

    fn home(&self) -> PathBuf {
        match self {
            Self::Server(server) => server.home.to_owned(),
            Self::Local(folder) => folder.path().to_owned(),
        }
    }

    fn excused(&self, step: &str) -> Option<&'static str> {
        match self {
            Self::Server(server) => limits::behind_gateway(server.software, step),
            Self::Local(_) => None,
        }
    }

    /// Its part of the configuration, with the route to it.
    fn yaml(&self) -> String {
        let ca = pki().ca.display();
        let (backend, authenticate) = match self {
            Self::Local(folder) => {
                (format!("{{ protocol: local, folder: {:?} }}", folder.path()), "gateway")
            }
            Self::Server(Endpoint { port, tls, .. }) => {
                let tls = match tls {
                    Tls::None => "{ mode: none }".to_owned(),
                    Tls::Explicit => {
                        format!("{{ mode: required, ca: {ca}, server_name: localhost }}")
                    }
                    Tls::Implicit => {
                        format!("{{ mode: implicit, ca: {ca}, server_name: localhost }}")
                    }
                };
                (
                    format!("{{ protocol: ftp, address: \"127.0.0.1:{port}\", tls: {tls} }}"),
                    "backend",
                )
            }
        };
        let users = match self {
            Self::Local(_) => {
                format!("users:\n  {USER}: {{ password_hash: \"{}\" }}\n", argon2_hash())
            }
            Self::Server(_) => String::new(),
        };
        format!(
            "backends:\n  back: {backend}\n{users}routes:\n  \
             - {{ authenticate: {authenticate}, backend: back }}\n"
        )
    }
}

impl Bench {
    fn start(name: &'static str) -> Self {
        let backend = Backend::find(name);
        let pool = ports::block(24);
        let mut yaml = String::from("listeners:\n");
        for (mode, _) in FRONTS {
            let tls = match mode {
                "none" => "{ mode: none }".to_owned(),
                mode => format!(
                    "{{ mode: {mode}, certificate: {}, key: {} }}",
                    pki().certificate.display(),
                    pki().key.display()
                ),
            };
            writeln!(
                yaml,
                "  {mode}-front:\n    {{ protocol: ftp, address: \"127.0.0.1:0\", tls: {tls}, \
                 data_ports: pool, active: {{ allowed: true }} }}"
            )
            .expect("writing to a string");
        }
        let (first, last) = (pool.start(), pool.end());
        write!(
            yaml,
            "data_ports:\n  pool: {{ range: {first}-{last}, listen: [\"127.0.0.1\"] }}\n{}\
             limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n",
            backend.yaml()
        )
        .expect("writing to a string");
        let mut gateway = Gateway::start(&yaml);
        // The table of failures shows them.
        gateway.shown_lines = 0;
        Self { gateway, backend }
    }

    fn site(&self, mode: &str, tls: Tls) -> Site {
        Site::new(self.gateway.address(&format!("{mode}-front")).port(), tls)
    }
}

/// The benches, each started when its first cell runs.
struct Benches([OnceLock<Bench>; NAMES.len() + 1]);

impl Benches {
    fn new() -> Self {
        Self([const { OnceLock::new() }; NAMES.len() + 1])
    }

    fn get(&self, name: &'static str) -> &Bench {
        let index = NAMES.iter().position(|other| *other == name).unwrap_or(NAMES.len());
        self.0[index].get_or_init(|| Bench::start(name))
    }
}

fn backends() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain([LOCAL])
}

/// Removes what the backend is known not to do, and shows the gateway's side of the rest.
fn judge(bench: &Bench, mut failures: Vec<Failure>) -> Vec<Failure> {
    failures.retain(|failure| bench.backend.excused(&failure.step).is_none());
    if !failures.is_empty() {
        failures.push(Failure::new("gateway-log", bench.gateway.log_tail(SHOWN_LINES)));
    }
    failures
}

#[test]
fn sessions() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in backends() {
        for (mode, tls) in FRONTS {
            for data in DataMode::ALL {
                let name = format!("{mode}/{backend}/{}", data.name());
                let folder = format!("cell-{mode}-{backend}-{}", data.name());
                let run = move || {
                    let bench = benches.get(backend);
                    let site = bench.site(mode, tls);
                    let home = bench.backend.home();
                    let excused = |step: &str| bench.backend.excused(step);
                    let tls = TlsVersion::Newest;
                    judge(bench, session_cell(site, data, tls, &folder, &home, excused))
                };
                cells.push(Cell { name, run: Box::new(run) });
            }
        }
    }
    run_all("matrix", cells);
}

/// TLS 1.2 at the front: resumption works another way there.
#[test]
fn sessions_tls12() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in [LOCAL, "proftpd-tls"] {
        for (mode, tls) in FRONTS.into_iter().filter(|(_, tls)| *tls != Tls::None) {
            let name = format!("{mode}/{backend}/tls1.2");
            let folder = format!("cell12-{mode}-{backend}");
            let run = move || {
                let bench = benches.get(backend);
                let home = bench.backend.home();
                let excused = |step: &str| bench.backend.excused(step);
                let site = bench.site(mode, tls);
                let (data, tls) = (DataMode::Pasv, TlsVersion::V12);
                judge(bench, session_cell(site, data, tls, &folder, &home, excused))
            };
            cells.push(Cell { name, run: Box::new(run) });
        }
    }
    run_all("matrix", cells);
}

#[test]
fn curl_and_lftp() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in backends() {
        for (mode, tls) in FRONTS {
            let curl = move || {
                let bench = benches.get(backend);
                let (site, home) = (bench.site(mode, tls), bench.backend.home());
                let cell = |&data: &DataMode| {
                    let folder = format!("curl-{mode}-{backend}-{}", data.name());
                    let manner = Manner { data, tls: TlsVersion::Newest };
                    curl_cell(&site, manner, &folder, &home)
                };
                judge(bench, curl_modes(tls).iter().flat_map(cell).collect())
            };
            cells.push(Cell { name: format!("{mode}/{backend}/curl"), run: Box::new(curl) });
            let lftp = move || {
                let bench = benches.get(backend);
                let site = bench.site(mode, tls);
                let folder = format!("lftp-{mode}-{backend}");
                let home = bench.backend.home();
                judge(bench, lftp_cell(&site, TlsVersion::Newest, &folder, &home))
            };
            cells.push(Cell { name: format!("{mode}/{backend}/lftp"), run: Box::new(lftp) });
        }
    }
    run_all("matrix", cells);
}

/// tnftp and ncftp speak no TLS.
#[test]
fn tnftp_and_ncftp() {
    let benches = &Benches::new();
    let mut cells = Vec::new();
    for backend in PLAIN.into_iter().chain([LOCAL]) {
        let run = move || {
            let bench = benches.get(backend);
            let (site, home) = (bench.site("none", Tls::None), bench.backend.home());
            let mut failures = tnftp_cell(&site, &format!("tnftp-{backend}"), &home);
            failures.extend(ncftp_cell(&site, &format!("ncftp-{backend}"), &home));
            judge(bench, failures)
        };
        cells.push(Cell { name: format!("none/{backend}/tnftp-ncftp"), run: Box::new(run) });
    }
    run_all("matrix", cells);
}
