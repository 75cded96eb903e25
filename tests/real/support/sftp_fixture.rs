//! A gateway that serves a folder over SFTP, and the check that no session is left.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::actions::failures_of;
use super::backend_fixture::host_keys;
use super::cells::Failure;
use super::clients::SftpSite;
use super::clients::paramiko::script;
use super::clients::session::steps;
use super::gateway::Gateway;
use super::wait::becomes_true;
use super::{USER, argon2_hash};

const TIMEOUT: Duration = Duration::from_secs(20);

/// The parts of the configuration that tests vary.
pub struct SftpPlan<'a> {
    /// More keys of the listener, each with a comma before it.
    pub listener: &'a str,
    pub partial_uploads: &'a str,
    /// The keys of `limits`.
    pub limits: &'a str,
    /// More keys of the user, each with a comma before it.
    pub user: &'a str,
    /// `policy`, a whole line, where there is one.
    pub policy: &'a str,
    /// `admin`, a whole line, where there is one.
    pub admin: &'a str,
}

impl Default for SftpPlan<'_> {
    fn default() -> Self {
        Self {
            listener: "",
            partial_uploads: "keep",
            limits: "sessions: 1000, sessions_per_address: 1000",
            user: "",
            policy: "",
            admin: "",
        }
    }
}

/// A gateway that serves `folder` over SFTP.
pub struct SftpFixture {
    pub gateway: Gateway,
    pub folder: TempDir,
}

impl SftpPlan<'_> {
    pub fn start(&self) -> SftpFixture {
        let folder = tempfile::tempdir().expect("a folder");
        let mut yaml = format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {}{} }}\n\
             backends:\n  files: {{ protocol: local, folder: {:?}, partial_uploads: {} }}\n\
             users:\n  {USER}: {{ password_hash: \"{}\"{} }}\n\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             limits: {{ {} }}\nmetrics: {{ address: \"127.0.0.1:0\" }}\n",
            host_keys(),
            self.listener,
            folder.path(),
            self.partial_uploads,
            argon2_hash(),
            self.user,
            self.limits,
        );
        writeln!(yaml, "{}\n{}", self.policy, self.admin).expect("writing to a string");
        SftpFixture { gateway: Gateway::start(&yaml), folder }
    }
}

impl SftpFixture {
    pub fn site(&self) -> SftpSite {
        SftpSite::new(self.gateway.address("front").port())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("writing a file");
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("reading a file")
    }

    /// Runs a scenario of `clients/sftp_breaks.py`; every step must succeed.
    #[track_caller]
    pub fn scenario(&self, name: &str, more: Value) {
        let failures = scenario(&self.site(), name, more);
        assert!(failures.is_empty(), "{name}: {failures:#?}");
    }

    /// Waits until no session is left.
    #[track_caller]
    pub fn await_no_session(&self) {
        await_end_of_sessions(&self.gateway, "front");
    }
}

/// The failed steps of a scenario of `clients/sftp_breaks.py`.
pub fn scenario(site: &SftpSite, name: &str, more: Value) -> Vec<Failure> {
    let mut job = json!({
        "scenario": name,
        "port": site.port,
        "user": site.user,
        "password": site.password,
        "timeout": TIMEOUT.as_secs(),
    });
    let object = job.as_object_mut().expect("an object");
    object.extend(more.as_object().expect("an object").clone());
    failures_of(name, steps(&script("sftp_breaks.py", &job)), |_| None)
}

/// Waits until all sessions of the listener have ended.
#[track_caller]
pub fn await_end_of_sessions(gateway: &Gateway, listener: &str) {
    let series = format!("lockgate_sessions{{listener=\"{listener}\"}}");
    let left = || gateway.metric(&series).unwrap_or(0);
    assert!(becomes_true(|| left() == 0), "{} sessions of {listener} are left", left());
}
