//! One big file through curl and the gateway, up and down.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::{SERVERS, gateway, server};
use crate::support::cells::{Cell, Failure, run_all};
use crate::support::clients::curl::{Manner, curl, url};
use crate::support::clients::{Site, TlsVersion};
use crate::support::process::{Leash, SharedFolder, run, spawn, wait};
use crate::support::servers::endpoint;
use crate::support::{DataMode, Tls, full, pattern};

/// What one direction may take, in seconds.
const LIMIT: u64 = 900;
const CHUNK: usize = 1 << 20;

struct Source {
    path: PathBuf,
    _folder: SharedFolder,
}

/// 1 GiB, in the fast tier 8 MiB; each MiB differs from the others.
fn source() -> &'static Path {
    static SOURCE: OnceLock<Source> = OnceLock::new();
    let source = SOURCE.get_or_init(|| {
        let folder = SharedFolder::new().expect("a folder for the big file");
        let path = folder.path().join("big.bin");
        let mut file = File::create(&path).expect("making the big file");
        let chunk = pattern(CHUNK);
        for number in 0..if full() { 1024 } else { 8_u64 } {
            file.write_all(&number.to_le_bytes()).expect("writing the big file");
            file.write_all(&chunk[8..]).expect("writing the big file");
        }
        Source { path, _folder: folder }
    });
    &source.path
}

/// Where two streams differ, if they do.
fn difference(mut left: impl Read, mut right: impl Read) -> Option<String> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for chunk in 0_usize.. {
        a.clear();
        b.clear();
        let limit = CHUNK as u64;
        let read = left.by_ref().take(limit).read_to_end(&mut a);
        let read = read.and_then(|_| right.by_ref().take(limit).read_to_end(&mut b));
        if let Err(error) = read {
            return Some(error.to_string());
        }
        if a != b {
            return Some(format!("{} and {} bytes differ in MiB {chunk}", a.len(), b.len()));
        }
        if a.is_empty() {
            break;
        }
    }
    None
}

fn open(path: &Path) -> BufReader<File> {
    BufReader::new(File::open(path).expect("opening a big file"))
}

fn command(site: &Site, home: &Path) -> Command {
    let manner = Manner { data: DataMode::Epsv, tls: TlsVersion::Newest };
    let mut command = curl(site, manner, home);
    command.arg("--max-time").arg(LIMIT.to_string());
    command
}

fn up(site: &Site, file: &str) -> Option<Failure> {
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = command(site, home.path());
    command.arg("-T").arg(source()).arg(url(site, file));
    let output = run(&mut command, b"", Duration::from_secs(LIMIT));
    (!output.ok()).then(|| Failure::new("up", output.describe()))
}

/// Compared as it comes: nothing is kept.
fn down(site: &Site, file: &str) -> Option<Failure> {
    use std::os::unix::process::CommandExt;
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = command(site, home.path());
    command.arg(url(site, file)).stdout(Stdio::piped()).process_group(0);
    let mut child = spawn(&mut command);
    let _leash = Leash::new(Some(&child), None);
    let stdout = child.stdout.take().expect("stdout is piped");
    let difference = difference(open(source()), stdout);
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
        let difference = difference(open(source()), open(&on_disk));
        failures.extend(difference.map(|text| Failure::new("on-disk", text)));
        failures.extend(down(&site, &file));
    }
    let _ = std::fs::remove_file(on_disk);
    failures
}

#[test]
fn up_and_down_compares_equal() {
    let mut cells = Vec::new();
    for name in SERVERS {
        for listener in ["back", "back-tls"] {
            let run = move || cell(name, listener);
            cells.push(Cell { name: format!("{name}/{listener}"), run: Box::new(run) });
        }
    }
    run_all("big", cells);
}
