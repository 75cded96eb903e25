//! Python's ftplib: one whole session (`clients/session.py`), step by step.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Site, TlsVersion, client, deadline};
use crate::support::pki::pki;
use crate::support::process::{Output, run};
use crate::support::{DataMode, full};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/clients/session.py");
/// The timeout for one command or data connection.
const TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone)]
pub struct Job<'a> {
    pub site: Site,
    pub data: DataMode,
    pub tls: TlsVersion,
    /// Created in the login's folder; `kept.bin` stays in it.
    pub folder: &'a str,
    /// The file to upload and download.
    pub payload: &'a Path,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub step: String,
    pub ok: bool,
    pub detail: String,
}

/// Runs the session; a crash or timeout is a failed step.
pub fn session(job: &Job) -> Vec<Step> {
    let version = match job.tls {
        TlsVersion::V12 => "1.2",
        TlsVersion::Newest => "newest",
    };
    let text = json!({
        "port": job.site.port,
        "tls": job.site.tls.name(),
        "tls_max": version,
        "ca": pki().ca,
        "user": job.site.user,
        "password": job.site.password,
        "data": job.data.name(),
        "folder": job.folder,
        "payload": job.payload,
        "timeout": TIMEOUT.as_secs(),
        "turns": if full() { 200 } else { 10 },
    });
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = client("python3", home.path());
    let output = run(command.arg(SCRIPT), text.to_string().as_bytes(), deadline() * 4);
    steps(&output)
}

/// The steps that a script printed.
pub fn steps(output: &Output) -> Vec<Step> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut steps: Vec<Step> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if !output.ok() || steps.is_empty() {
        let detail = output.describe();
        steps.push(Step { step: "session".to_owned(), ok: false, detail });
    }
    steps
}
