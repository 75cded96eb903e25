//! A table of cells, run side by side; every failing one is told at the end, not only the first.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Instant;

use super::clients::session::{Job, Step, TlsVersion, session};
use super::clients::{Site, curl, lftp};
use super::process::{Output, SharedFolder};
use super::{DataMode, full, pattern};

const WORKERS: usize = 4;

pub struct Cell<'a> {
    pub name: String,
    pub run: Box<dyn Fn() -> Vec<Failure> + Send + Sync + 'a>,
}

#[derive(Debug, Clone)]
pub struct Failure {
    pub step: String,
    pub detail: String,
}

impl Failure {
    pub fn new(step: &str, detail: impl Into<String>) -> Self {
        Self { step: step.to_owned(), detail: detail.into() }
    }
}

/// Runs those whose name holds `LOCKGATE_CELLS` (all, without it) and panics with the table of
/// failures, if there are any.
pub fn run_all(table: &str, cells: Vec<Cell>) {
    let wanted = std::env::var("LOCKGATE_CELLS").unwrap_or_default();
    let cells: Vec<Cell> = cells.into_iter().filter(|cell| cell.name.contains(&wanted)).collect();
    let total = cells.len();
    let queue = Mutex::new(VecDeque::from(cells));
    let failures = Mutex::new(Vec::new());
    let worker = || {
        while let Some(cell) = { queue.lock().expect("no holder panics").pop_front() } {
            let start = Instant::now();
            let failed = catch_unwind(AssertUnwindSafe(|| (cell.run)()))
                .unwrap_or_else(|panic| vec![Failure::new("panic", panic_text(&*panic))]);
            let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
            println!("{table} {}: {verdict} in {:.1?}", cell.name, start.elapsed());
            let mut failures = failures.lock().expect("no holder panics");
            failures.extend(failed.into_iter().map(|failure| (cell.name.clone(), failure)));
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(worker);
        }
    });
    let failures = failures.into_inner().expect("no holder panics");
    if failures.is_empty() {
        return;
    }
    let cell_width = failures.iter().map(|(cell, _)| cell.len()).max().unwrap_or(0);
    let step_width = failures.iter().map(|(_, failure)| failure.step.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut failed: Vec<&str> = failures.iter().map(|(cell, _)| cell.as_str()).collect();
    failed.sort_unstable();
    failed.dedup();
    for (cell, Failure { step, detail }) in &failures {
        text.push_str(&format!("{cell:cell_width$}  {step:step_width$}  {detail}\n"));
    }
    panic!("{table}: {} of {total} cells failed\n{text}", failed.len());
}

/// What every cell carries up and down.
pub struct Payload {
    pub bytes: Vec<u8>,
    pub path: PathBuf,
    _folder: SharedFolder,
}

pub fn payload() -> &'static Payload {
    static PAYLOAD: OnceLock<Payload> = OnceLock::new();
    PAYLOAD.get_or_init(|| {
        let bytes = pattern(if full() { 64 << 20 } else { (1 << 20) + 77 });
        let folder = SharedFolder::new().expect("a folder for the payload");
        let path = folder.path().join("payload.bin");
        std::fs::write(&path, &bytes).expect("writing the payload");
        Payload { bytes, path, _folder: folder }
    })
}

/// A whole session of ftplib. `home` is what the user sees as `/`; steps for which `excused` has a
/// reason may fail.
pub fn session_cell(
    site: Site,
    data: DataMode,
    tls: TlsVersion,
    folder: &str,
    home: &Path,
    excused: impl Fn(&str) -> Option<&'static str>,
) -> Vec<Failure> {
    let steps = session(&Job { site, data, tls, folder, payload: &payload().path });
    let mut failures = Vec::new();
    for Step { step, ok, detail } in steps {
        match (ok, excused(&step)) {
            (true, None) => {}
            (true, Some(reason)) => println!("{folder}: {step} works, though: {reason}"),
            (false, Some(_)) => {}
            (false, None) => failures.push(Failure { step, detail }),
        }
    }
    failures.extend(on_disk(home, &format!("{folder}/kept.bin")));
    let _ = std::fs::remove_dir_all(home.join(folder));
    failures
}

/// curl: up, down, and what arrived at the server.
pub fn curl_cell(site: &Site, data: DataMode, folder: &str, home: &Path) -> Vec<Failure> {
    let path = format!("{folder}/curl.bin");
    let mut failures = Vec::new();
    failures.extend(failed("curl-up", &curl::upload(site, data, &payload().path, &path)));
    failures.extend(on_disk(home, &path));
    let down = curl::download(site, data, &path);
    failures.extend(failed("curl-down", &down).or_else(|| differs("curl-down", &down.stdout)));
    failures
}

/// lftp: several files up and down in one session.
pub fn lftp_cell(site: &Site, folder: &str, home: &Path) -> Vec<Failure> {
    let own = tempfile::tempdir().expect("a client's home");
    let up = payload().path.display();
    let script = format!(
        "mkdir -p {folder}\ncd {folder}\nput {up} -o 1.bin\nput {up} -o 2.bin\nput {up} -o 3.bin\n\
         get 1.bin\nget 2.bin\nget 3.bin\ncls -1\nmv 3.bin 4.bin\nrm 4.bin"
    );
    let mut failures = Vec::new();
    failures.extend(failed("lftp", &lftp::lftp(site, own.path(), &script)));
    for name in ["1.bin", "2.bin"] {
        failures.extend(on_disk(home, &format!("{folder}/{name}")));
    }
    for name in ["1.bin", "2.bin", "3.bin"] {
        let bytes = std::fs::read(own.path().join(name)).unwrap_or_default();
        failures.extend(differs("lftp-down", &bytes));
    }
    failures
}

/// Whether a client said that it failed.
pub fn failed(step: &str, output: &Output) -> Option<Failure> {
    (!output.ok()).then(|| {
        let mut detail = output.describe();
        detail.truncate(detail.floor_char_boundary(2000));
        Failure::new(step, detail)
    })
}

pub fn differs(step: &str, bytes: &[u8]) -> Option<Failure> {
    let sent = &payload().bytes;
    (bytes != sent).then(|| {
        Failure::new(step, format!("{} bytes differ from the {} sent", bytes.len(), sent.len()))
    })
}

/// Whether the payload did not arrive whole at the server.
pub fn on_disk(home: &Path, path: &str) -> Option<Failure> {
    match std::fs::read(home.join(path)) {
        Ok(bytes) => differs("on-disk", &bytes),
        Err(error) => Some(Failure::new("on-disk", format!("{path}: {error}"))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned()
}
