//! The gateway: the built binary with the test's configuration.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::metrics;
use super::process::{CleanupGuard, Output, pid, run, spawn, wait};
use super::raw::dial;

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_LOG_LINES: usize = 20_000;
const SHOWN_LINES: usize = 60;
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lockgate");

pub struct Gateway {
    child: Child,
    log: Arc<Log>,
    /// Holds the configuration; shared with the processes that take over.
    folder: Arc<TempDir>,
    /// The number of log lines to print when a test panics.
    pub shown_lines: usize,
    _cleanup: CleanupGuard,
}

#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: VecDeque<String>,
    listeners: Vec<(String, SocketAddr)>,
    ready: bool,
    ended: bool,
}

impl Gateway {
    /// Starts it and waits until it logs `ready`.
    pub fn start(config: &str) -> Self {
        Self::start_by(Command::new(PROGRAM), config, &[])
    }

    /// As [`Gateway::start`], with a command that runs the program: with other variables or rights,
    /// or on another machine. `files` are copied beside the configuration, by name.
    pub fn start_by(command: Command, config: &str, files: &[(&str, &Path)]) -> Self {
        Self::launch_by(command, config, files).ready()
    }

    /// As [`Gateway::start_by`], with further `arguments`, where `prepare` fills the folder of the
    /// configuration.
    pub fn start_with(
        command: Command,
        config: &str,
        prepare: impl FnOnce(&Path),
        arguments: &[&str],
    ) -> Self {
        Self::launch_with(command, config, prepare, arguments).ready()
    }

    fn ready(self) -> Self {
        let gateway = self;
        assert!(
            gateway.is_ready(),
            "the gateway is not ready; its log:\n{}",
            gateway.log_tail(SHOWN_LINES)
        );
        gateway
    }

    /// Starts it without waiting.
    pub fn launch_by(command: Command, config: &str, files: &[(&str, &Path)]) -> Self {
        let copy = |folder: &Path| {
            for (name, original) in files {
                std::fs::copy(original, folder.join(name)).expect("copying a file");
            }
        };
        Self::launch_with(command, config, copy, &[])
    }

    /// Starts a process that takes over from this one, and waits until it serves.
    pub fn take_over(&self) -> Self {
        self.launch_take_over("lockgate.yaml").ready()
    }

    /// As [`Gateway::take_over`], with another configuration of the folder, without waiting.
    pub fn launch_take_over(&self, config: &str) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg("--config").arg(self.folder().join(config));
        command.args(["--log-format", "json", "--take-over"]);
        Self::follow(command, self.folder.clone())
    }

    /// Waits until it logs `ready`, or has ended. Returns whether it serves.
    pub fn is_ready(&self) -> bool {
        self.log.wait_until(READY_TIMEOUT, |state| state.ready || state.ended);
        self.log.lock().ready
    }

    /// The process's id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    fn launch_with(
        mut command: Command,
        config: &str,
        prepare: impl FnOnce(&Path),
        arguments: &[&str],
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("lockgate-gateway-").tempdir();
        let folder = folder.expect("the gateway's folder");
        let file = folder.path().join("lockgate.yaml");
        std::fs::write(&file, with_drain(config)).expect("writing the configuration");
        prepare(folder.path());
        command.arg("run").arg("--config").arg(file).args(["--log-format", "json"]);
        command.args(arguments);
        Self::follow(command, Arc::new(folder))
    }

    fn follow(mut command: Command, folder: Arc<TempDir>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = {
            use std::os::unix::process::CommandExt;
            spawn(command.process_group(0))
        };
        let cleanup = CleanupGuard::new(Some(&child), Some(folder.path()));
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("stderr is piped");
        let reader = log.clone();
        thread::spawn(move || reader.follow(stderr));
        Self { child, log, folder, shown_lines: SHOWN_LINES, _cleanup: cleanup }
    }

    /// The bound address of a listener.
    #[track_caller]
    pub fn address(&self, listener: &str) -> SocketAddr {
        let state = self.log.lock();
        let found = state.listeners.iter().find(|(name, _)| name == listener);
        found.unwrap_or_else(|| panic!("{listener} is not bound: {:?}", state.listeners)).1
    }

    /// The first log line that matches, past or future.
    #[track_caller]
    pub fn await_log(&self, predicate: impl Fn(&Value) -> bool, deadline: Duration) -> Value {
        let find = |state: &LogState| {
            state.lines.iter().filter_map(|line| event(line)).find(|event| predicate(event))
        };
        self.log.wait_until(deadline, |state| state.ended || find(state).is_some());
        let found = find(&self.log.lock());
        found.unwrap_or_else(|| {
            panic!(
                "no such log line within {deadline:?}; the last:\n{}",
                self.log_tail(SHOWN_LINES)
            )
        })
    }

    /// Waits until the last log line that `about` selects has this text.
    #[track_caller]
    pub fn await_last_line(&self, about: impl Fn(&str) -> bool, text: &str, deadline: Duration) {
        let is_last = |state: &LogState| {
            state.lines.iter().rev().find(|line| about(line)).is_some_and(|it| it.contains(text))
        };
        self.log.wait_until(deadline, |state| state.ended || is_last(state));
        assert!(
            is_last(&self.log.lock()),
            "no log line with {text:?} within {deadline:?}; the last:\n{}",
            self.log_tail(SHOWN_LINES)
        );
    }

    /// The folder of the configuration: paths in it are relative to this one.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log_tail(&self, lines: usize) -> String {
        let state = self.log.lock();
        let skip = state.lines.len().saturating_sub(lines);
        let shown: Vec<&str> = state.lines.iter().skip(skip).map(String::as_str).collect();
        shown.join("\n")
    }

    /// The process's resident memory.
    pub fn resident_kib(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("the process's status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).expect("VmRSS in kB")
    }

    /// Its open files and sockets.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("the process's files").count()
    }

    /// The sum over all series with this name and, at least, these labels, as in `name{label="value"}`;
    /// `None` if there is none.
    pub fn metric(&self, series: &str) -> Option<u64> {
        metrics::sum(&self.metrics_page(), series).map(|value| value as u64)
    }

    /// What `/metrics` shows.
    pub fn metrics_page(&self) -> String {
        let mut tcp = dial(self.address("metrics"));
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("asking for the metrics");
        let mut page = String::new();
        tcp.read_to_string(&mut page).expect("the metrics");
        page.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }

    /// Its TCP connections to a port of this machine.
    pub fn connections_to(&self, port: u16) -> usize {
        let own: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("the process's files")
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|link| {
                let text = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
                Some(text)
            })
            .collect();
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the TCP table");
        let peer = format!(":{port:04X}");
        let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| {
            row.get(2).is_some_and(|remote| remote.ends_with(&peer))
                && row.get(9).is_some_and(|inode| own.iter().any(|it| it == inode))
        })
        .count()
    }

    /// Runs an operator's command at its admin socket, which must be `admin.sock` in its folder.
    pub fn admin(&self, arguments: &[&str]) -> Output {
        let socket = self.folder().join("admin.sock");
        lockgate(&[arguments, &["--socket", socket.to_str().expect("a UTF-8 path")]].concat(), "")
    }

    /// What an operator's command prints with `--json`.
    #[track_caller]
    pub fn admin_json(&self, arguments: &[&str]) -> Value {
        let output = self.admin(&[arguments, &["--json"]].concat()).expect_ok(arguments[0]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// SIGTERM: it drains.
    pub fn terminate(&self) {
        kill_process(pid(&self.child), Signal::TERM).expect("sending SIGTERM to the gateway");
    }

    /// SIGHUP: it reads its configuration again.
    pub fn hang_up(&self) {
        kill_process(pid(&self.child), Signal::HUP).expect("sending SIGHUP to the gateway");
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The exit status, if it ended in time; another process may still write to its log.
    pub fn wait_for_process(&mut self, deadline: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, deadline)
    }

    /// The exit status, if it ended in time.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let status = wait(&mut self.child, deadline)?;
        // Another thread reads its last log lines.
        self.log.wait_until(deadline, |state| state.ended);
        Some(status)
    }
}

/// Nothing sends clients elsewhere: the end needs no delay, unless the test is about it.
fn with_drain(config: &str) -> String {
    if let Some(rest) = config.strip_prefix('{') {
        return format!("{{\n\"drain\": {{ \"accept_for\": \"0s\" }},{rest}");
    }
    let own = config.lines().any(|line| line.starts_with("drain:"));
    if own { config.to_owned() } else { format!("{config}\ndrain: {{ accept_for: 0s }}\n") }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if !thread::panicking() {
            self.log.check_sessions();
        } else if self.shown_lines > 0 {
            eprintln!("the gateway's last log lines:\n{}", self.log_tail(self.shown_lines));
        }
    }
}

impl Log {
    /// Every line of a backend names its session and the user, also one of a task.
    fn check_sessions(&self) {
        for line in &self.lock().lines {
            let Ok(Value::Object(line)) = serde_json::from_str(line) else { continue };
            let target = line["target"].as_str().unwrap_or_default();
            if target.starts_with("lockgate::backend") {
                let fields = &line["fields"];
                let is_complete =
                    ["session", "user", "backend"].iter().all(|it| !fields[*it].is_null());
                assert!(is_complete, "a log line without its session: {line:?}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().expect("no holder of the log panics")
    }

    fn follow(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).split(b'\n') {
            let Ok(line) = line else { break };
            self.add(String::from_utf8_lossy(&line).into_owned());
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn add(&self, line: String) {
        let mut state = self.lock();
        let event = event(&line).unwrap_or_default();
        match event["message"].as_str() {
            Some("listening") => {
                let address = event["address"].as_str().and_then(|text| text.parse().ok());
                if let (Some(name), Some(address)) = (event["listener"].as_str(), address) {
                    state.listeners.push((name.to_owned(), address));
                }
            }
            Some("ready") => state.ready = true,
            _ => {}
        }
        if state.lines.len() == MAX_LOG_LINES {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether the condition came true in time.
    fn wait_until(&self, deadline: Duration, condition: impl Fn(&LogState) -> bool) -> bool {
        let end = Instant::now() + deadline;
        let mut state = self.lock();
        while !condition(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).expect("no holder panics").0;
        }
        true
    }
}

/// The fields of a log line in one object.
fn event(line: &str) -> Option<Value> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    if let Value::Object(fields) = value["fields"].take() {
        let object = value.as_object_mut()?;
        object.extend(fields);
    }
    Some(value)
}

/// Runs the binary to its end with these arguments.
pub fn lockgate(arguments: &[&str], input: &str) -> Output {
    run(Command::new(PROGRAM).args(arguments), input.as_bytes(), Duration::from_secs(20))
}
