//! One gateway before one backend, with a listener for each front.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::cells::Failure;
use super::clients::{SftpSite, Site};
use super::gateway::Gateway;
use super::pki::pki;
use super::servers::{
    Endpoint, NAMES, SFTP_NAMES, SftpEndpoint, Software, endpoint, sftp_endpoint,
};
use super::ssh::keys;
use super::{Tls, USER, argon2_hash, limits, ports};

/// Log lines shown for each failing cell.
const SHOWN_LINES: usize = 8;
pub const LOCAL: &str = "local";

/// The `tls.mode` of an FTP listener (also its name), and the client's TLS.
pub const FRONTS: [(&str, Tls); 4] = [
    ("none", Tls::None),
    ("optional", Tls::Explicit),
    ("required", Tls::Explicit),
    ("implicit", Tls::Implicit),
];

pub struct BackendFixture {
    pub gateway: Gateway,
    pub backend: Backend,
}

pub enum Backend {
    Ftp(Endpoint),
    Sftp(SftpEndpoint),
    Local(TempDir),
}

impl Backend {
    fn find(name: &'static str) -> Self {
        if name == LOCAL {
            return Self::Local(tempfile::tempdir().expect("a folder for the local backend"));
        }
        if SFTP_NAMES.contains(&name) {
            Self::Sftp(sftp_endpoint(name))
        } else {
            Self::Ftp(endpoint(name))
        }
    }

    /// The folder of the user.
    pub fn home(&self) -> &Path {
        match self {
            Self::Ftp(server) => server.home,
            Self::Sftp(server) => server.home,
            Self::Local(folder) => folder.path(),
        }
    }

    pub fn known_limit(&self, step: &str) -> Option<&'static str> {
        match self {
            Self::Ftp(server) => limits::through_gateway(server.software, step),
            Self::Sftp(server) => limits::through_gateway(server.software, step),
            Self::Local(_) => None,
        }
    }

    /// What an SFTP client can do with this backend, for `clients/sftp_session.py`.
    pub fn can(&self) -> Value {
        match self {
            Self::Ftp(_) => json!({
                "symlink": false,
                "hardlink": false,
                "statvfs": false,
                "copy-data": "advertised",
                "fsync": "advertised",
                "truncate": false,
                "random-write": false,
                "line-ends": false,
            }),
            Self::Sftp(server) if server.software == Software::ProFtpdSftp => {
                json!({ "copy-data": "advertised" })
            }
            Self::Sftp(server) if server.software == Software::RusshSftp => json!({
                "symlink": false,
                "hardlink": false,
                "statvfs": false,
                "fsync": false,
                "copy-data": "advertised",
            }),
            Self::Sftp(_) => json!({
                "hardlink": true, "statvfs": true, "fsync": true, "copy-data": "advertised"
            }),
            Self::Local(_) => json!({
                "hardlink": true, "statvfs": true, "fsync": true, "copy-data": true
            }),
        }
    }

    /// The configuration of the backend and the routes to it.
    fn yaml(&self) -> String {
        let ca = pki().ca.display();
        let (backend, authenticate, root) = match self {
            Self::Local(folder) => {
                (format!("{{ protocol: local, folder: {:?} }}", folder.path()), "gateway", None)
            }
            Self::Sftp(server) => {
                let (port, fingerprint) = (server.port, &keys().fingerprints[0]);
                let backend = format!(
                    "{{ protocol: sftp, address: \"127.0.0.1:{port}\", host_key: \"{fingerprint}\" }}"
                );
                (backend, "backend", (!server.jailed).then_some(server.home))
            }
            Self::Ftp(Endpoint { port, tls, .. }) => {
                let tls = match tls {
                    Tls::None => "{ mode: none }".to_owned(),
                    Tls::Explicit => {
                        format!("{{ mode: required, ca: {ca}, server_name: localhost }}")
                    }
                    Tls::Implicit => {
                        format!("{{ mode: implicit, ca: {ca}, server_name: localhost }}")
                    }
                };
                let backend =
                    format!("{{ protocol: ftp, address: \"127.0.0.1:{port}\", tls: {tls} }}");
                (backend, "backend", None)
            }
        };
        let users = match self {
            Self::Local(_) => {
                format!("users:\n  {USER}: {{ password_hash: \"{}\" }}\n", argon2_hash())
            }
            _ => String::new(),
        };
        // The SFTP front sees such a server from its real root: a `root` would forbid links.
        let rooted = root.map_or(String::new(), |root| {
            let names: Vec<String> = FRONTS.map(|(mode, _)| format!("{mode}-front")).into();
            format!(
                "  - {{ match: {{ listeners: [{}] }}, authenticate: {authenticate}, backend: back, \
                 root: {root:?} }}\n",
                names.join(", ")
            )
        });
        format!(
            "backends:\n  back: {backend}\n{users}routes:\n{rooted}  \
             - {{ authenticate: {authenticate}, backend: back }}\n"
        )
    }
}

impl BackendFixture {
    pub fn start(name: &'static str) -> Self {
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
            "  sftp-front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             data_ports:\n  pool: {{ range: {first}-{last}, listen: [\"127.0.0.1\"] }}\n{}\
             limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n",
            host_keys(),
            backend.yaml()
        )
        .expect("writing to a string");
        let mut gateway = Gateway::start(&yaml);
        // The table of failures shows the log.
        gateway.shown_lines = 0;
        Self { gateway, backend }
    }

    pub fn site(&self, mode: &str, tls: Tls) -> Site {
        Site::new(self.gateway.address(&format!("{mode}-front")).port(), tls)
    }

    pub fn sftp_site(&self) -> SftpSite {
        SftpSite::new(self.gateway.address("sftp-front").port())
    }

    /// A folder of the user: its path for SFTP clients of the gateway, without the first slash, and
    /// its path on disk.
    pub fn work_folder(&self, folder: &str) -> (String, PathBuf) {
        let disk = self.backend.home().join(folder);
        let seen = match &self.backend {
            Backend::Sftp(server) if !server.jailed => disk.display().to_string(),
            _ => folder.to_owned(),
        };
        (seen.trim_start_matches('/').to_owned(), disk)
    }

    /// Removes the backend's known limits; adds the gateway's log if failures remain.
    pub fn without_known_limits(&self, mut failures: Vec<Failure>) -> Vec<Failure> {
        failures.retain(|failure| self.backend.known_limit(&failure.step).is_none());
        if !failures.is_empty() {
            failures.push(Failure::new("gateway-log", self.gateway.log_tail(SHOWN_LINES)));
        }
        failures
    }
}

/// The keys of an SFTP listener, as YAML.
pub fn host_keys() -> String {
    format!("[{}]", keys().host.each_ref().map(|key| key.display().to_string()).join(", "))
}

const COUNT: usize = NAMES.len() + SFTP_NAMES.len() + 1;

/// One fixture for each backend, started when its first cell runs.
pub struct BackendFixtures([OnceLock<BackendFixture>; COUNT]);

impl BackendFixtures {
    pub fn new() -> Self {
        Self([const { OnceLock::new() }; COUNT])
    }

    pub fn get(&self, name: &'static str) -> &BackendFixture {
        let index = backends().position(|other| other == name).unwrap_or(COUNT - 1);
        self.0[index].get_or_init(|| BackendFixture::start(name))
    }
}

/// The names of all backends.
pub fn backends() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().chain(SFTP_NAMES).chain([LOCAL])
}
