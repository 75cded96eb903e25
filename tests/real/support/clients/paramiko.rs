//! paramiko: one whole session (`clients/sftp_session.py`), step by step.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::session::{Step, steps};
use super::{SftpSite, client, deadline, python};
use crate::support::full;
use crate::support::process::{Output, run};

/// The timeout for one reply.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct SftpJob<'a> {
    pub site: SftpSite,
    /// Created on the server; `kept.bin` stays in it.
    pub folder: &'a str,
    pub payload: &'a Path,
    /// What client and server support: an object of booleans; a missing key means true.
    pub can: Value,
    /// Whether the server is the gateway, which serves only SFTP.
    pub gateway: bool,
}

/// Runs the session; a crash or timeout is a failed step.
pub fn sftp_session(job: &SftpJob) -> Vec<Step> {
    steps(&script(
        "sftp_session.py",
        &json!({
            "port": job.site.port,
            "user": job.site.user,
            "password": job.site.password,
            "folder": job.folder,
            "payload": job.payload,
            "can": job.can,
            "gateway": job.gateway,
            "timeout": TIMEOUT.as_secs(),
            "turns": if full() { 200 } else { 10 },
            "depth": if full() { 40 } else { 10 },
        }),
    ))
}

/// Runs a script of `tests/real/clients` in the tests' own Python, with a job on stdin.
pub fn script(name: &str, job: &Value) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    let python = python();
    let mut command = client(python.to_str().expect("a UTF-8 path"), home.path());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/clients").join(name));
    run(&mut command, job.to_string().as_bytes(), deadline() * 4)
}
