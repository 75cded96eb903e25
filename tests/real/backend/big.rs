//! One big file through curl and the gateway, up and down.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{SERVERS, gateway, server};
use crate::support::big_file;
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::clients::curl::{CurlOptions, curl, url};
use crate::support::clients::{Site, TlsVersion};
use crate::support::process::{CleanupGuard, run, spawn, wait};
use crate::support::servers::endpoint;
use crate::support::{DataMode, Tls};

/// The timeout for one direction, in seconds.
const LIMIT: u64 = 900;

fn command(site: &Site, home: &Path) -> Command {
    let options = CurlOptions { data: DataMode::Epsv, tls: TlsVersion::Newest };
    let mut command = curl(site, options, home);
    command.arg("--max-time").arg(LIMIT.to_string());
    command
}

fn up(site: &Site, file: &str) -> Option<Failure> {
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = command(site, home.path());
    command.arg("-T").arg(big_file::path()).arg(url(site, file));
    let output = run(&mut command, b"", Duration::from_secs(LIMIT));
    (!output.ok()).then(|| Failure::new("up", output.describe()))
}

/// Compared as it arrives, without storing it.
fn down(site: &Site, file: &str) -> Option<Failure> {
    use std::os::unix::process::CommandExt;
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = command(site, home.path());
    command.arg(url(site, file)).stdout(Stdio::piped()).process_group(0);
    let mut child = spawn(&mut command);
    let _cleanup = CleanupGuard::new(Some(&child), None);
    let stdout = child.stdout.take().expect("stdout is piped");
    let difference = big_file::difference(stdout);
    let status = wait(&mut child, Duration::from_secs(10));
    let ok = status.is_some_and(|status| status.success());
    match difference {
        None if ok => None,
        difference => Some(Failure::new("down", format!("{status:?} {difference:?}"))),
    }
}

fn cell(name: &'static str, listener: &str) -> Vec<Failure> {
    let endpoint = endpoint(name);
    let gateway = gateway(&[("back", server(&endpoint))]);
    let tls = if listener == "back" { Tls::None } else { Tls::Explicit };
    let site = Site::new(gateway.address(listener).port(), tls);
    let file = format!("big-{name}-{listener}.bin");
    let on_disk = endpoint.home.join(&file);
    let mut failures: Vec<_> = up(&site, &file).into_iter().collect();
    if failures.is_empty() {
        let difference = big_file::difference_of(&on_disk);
        failures.extend(difference.map(|text| Failure::new("on-disk", text)));
        failures.extend(down(&site, &file));
    }
    let _ = std::fs::remove_file(on_disk);
    failures
}

#[test]
fn a_big_file_is_transferred_unchanged() {
    let mut cells = Vec::new();
    for name in SERVERS {
        for listener in ["back", "back-tls"] {
            let run = move || cell(name, listener);
            cells.push(Cell { name: format!("{name}/{listener}"), run: Box::new(run) });
        }
    }
    run_all("big", cells);
}
