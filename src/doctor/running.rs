//! The gateway that runs here, found by its admin socket.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::{Resource, getrlimit};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::finding::Findings;
use crate::admin;
use crate::config::Compiled;
use crate::data::Ports;

/// What the admin socket of the configuration tells.
pub(super) enum RunningGateway {
    /// It answers.
    Runs {
        socket: PathBuf,
        pid: u32,
        /// Those from which it has taken over, as far as they have sessions.
        pids_before: Vec<u32>,
        data_ports: BTreeSet<u16>,
    },
    /// Nobody listens at the socket.
    None,
    /// There may be one.
    Unknown { message: String, remedy: &'static str },
}

impl RunningGateway {
    /// Asks at the admin socket.
    pub(super) async fn find(socket: Option<&Path>) -> Self {
        let Some(socket) = socket else {
            return Self::Unknown {
                message: "`admin.socket` is not set: a gateway that runs here cannot be recognized"
                    .into(),
                remedy: "set it; `lockgate ports`, `bans` and `backends` need it, too",
            };
        };
        let pid = match pid_at(socket) {
            Ok(pid) => pid,
            Err(error) => return Self::without(socket, &error),
        };
        match admin::fetch_ports(socket).await {
            Ok(answer) => Self::Runs {
                socket: socket.into(),
                pid,
                pids_before: admin::fetch_status(socket)
                    .await
                    .map_or_else(|_| Vec::new(), |status| pids_before(&status, pid)),
                data_ports: ports_of(&answer),
            },
            Err(error) => Self::Unknown {
                message: format!("{error:#}"),
                remedy: "is another program at this socket? Then choose another path for `admin.socket`",
            },
        }
    }

    fn without(socket: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::None,
            _ => Self::Unknown {
                message: format!("{}: {error}", socket.display()),
                remedy: "run doctor as the gateway's user, or as root",
            },
        }
    }

    /// The last connection at a data port that no session expected.
    pub(super) async fn last_stray(&self, port: u16) -> Value {
        let Self::Runs { socket, .. } = self else { return Value::Null };
        let answer = admin::fetch_ports(socket).await.unwrap_or_default();
        let pools = answer["pools"].as_array().into_iter().flatten();
        let mut ports = pools.flat_map(|pool| pool["ports"].as_array().into_iter().flatten());
        let found = ports.find(|it| it["port"] == port);
        found.map(|port| port["last_stray"].clone()).unwrap_or_default()
    }

    /// Whether there is another one than `before`, or soon is.
    pub(super) async fn has_stray_after(&self, port: u16, before: &Value, limit: Duration) -> bool {
        let seen = timeout(limit, async {
            while self.last_stray(port).await == *before {
                sleep(POLL).await;
            }
        });
        seen.await.is_ok()
    }

    /// Its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Runs { pid, .. } => Some(*pid),
            Self::None | Self::Unknown { .. } => None,
        }
    }

    /// Whether this process is of the gateway.
    pub(super) fn has_process(&self, process: u32) -> bool {
        matches!(self, Self::Runs { pid, pids_before, .. }
            if *pid == process || pids_before.contains(&process))
    }

    /// Whether it is known to have this data port.
    pub(super) fn has_data_port(&self, port: u16) -> bool {
        matches!(self, Self::Runs { data_ports, .. } if data_ports.contains(&port))
    }
}

/// The numbers are those of its PID namespace: they mean something here only if its own does.
fn pids_before(status: &Value, pid: u32) -> Vec<u32> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    if number(&status["process"]) != Some(pid) {
        return Vec::new();
    }
    let before = status["processes_before"].as_array().into_iter().flatten();
    before.filter_map(|it| number(&it["process"])).collect()
}

/// The process that listens at the socket, as the kernel knows it: after a take-over, the new one, which has
/// called listen(2) again.
fn pid_at(socket: &Path) -> io::Result<u32> {
    let stream = UnixStream::connect(socket)?;
    Ok(socket_peercred(&stream)?.pid.as_raw_nonzero().get().unsigned_abs())
}

fn ports_of(answer: &Value) -> BTreeSet<u16> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let pools = list(&answer["pools"]);
    let ports = pools.iter().flat_map(|pool| list(&pool["ports"]));
    ports.filter_map(|port| port["port"].as_u64()?.try_into().ok()).collect()
}

/// Between two questions to the gateway.
const POLL: Duration = Duration::from_millis(50);

/// Beside sessions and data ports, as in the warning of `check`.
const OTHER_DESCRIPTORS: u64 = 64;
/// The client's connection, the server's, and a data connection of each.
const DESCRIPTORS_PER_SESSION: u64 = 4;

/// Whether it runs, and its limits.
pub(super) fn examine(config: &Compiled, running: &RunningGateway) -> Findings {
    let mut findings = Findings::new("running gateway");
    let needed = needed_files(config);
    let own = || getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    match running {
        RunningGateway::None => {
            findings.ok("none runs here: nothing answers at `admin.socket`");
            judge_files("a gateway of this user", own(), needed, &mut findings);
        }
        RunningGateway::Unknown { message, remedy } => {
            findings.skipped(message.clone(), *remedy);
            judge_files("a gateway of this user", own(), needed, &mut findings);
        }
        RunningGateway::Runs { socket, pid, .. } => {
            findings.ok(format!("it runs as process {pid}, and answers at {}", socket.display()));
            let mode = std::fs::metadata(socket).map_or(0, |it| it.permissions().mode());
            judge_socket(socket, mode, &mut findings);
            let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"));
            match limits.ok().and_then(|limits| open_files(&limits)) {
                Some(limit) => judge_files("it", limit, needed, &mut findings),
                None => findings.skipped(
                    format!("the limit on open files of process {pid} cannot be read"),
                    "run doctor as the gateway's user, or as root",
                ),
            }
        }
    }
    findings
}

/// Whoever may write to it may lift bans and drain servers.
fn judge_socket(socket: &Path, mode: u32, findings: &mut Findings) {
    if mode & 0o022 != 0 {
        findings.problem(
            format!(
                "{} can be used by others than the gateway's user (mode {:04o})",
                socket.display(),
                mode & 0o7777
            ),
            "chmod 600 it, and find out who changed it: the gateway creates it with mode 0600",
        );
    }
}

fn needed_files(config: &Compiled) -> u64 {
    let sockets: usize = config
        .pools
        .iter()
        .map(|pool| match &pool.ports {
            Ports::Range(range) => range.len() * pool.listen.len(),
            Ports::Ephemeral(count) => usize::from(*count) * pool.listen.len(),
        })
        .sum();
    OTHER_DESCRIPTORS + sockets as u64 + config.limits.sessions as u64 * DESCRIPTORS_PER_SESSION
}

/// The soft limit in `/proc/PID/limits`; `u64::MAX` if there is none.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn judge_files(who: &str, limit: u64, needed: u64, findings: &mut Findings) {
    if limit < needed {
        findings.warning_with(
            format!(
                "{who} may open {limit} files, but `limits.sessions` with transfers need {needed}: clients \
                 will wait or be refused"
            ),
            "raise its hard limit (systemd: `LimitNOFILE=`; shells: `ulimit -Hn`) and restart it, or lower `limits.sessions`",
        );
    } else {
        findings.ok(format!("{who} may open {limit} files; `limits.sessions` needs {needed}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_judged() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             100                  100                  processes\n\
                      Max open files            1024                 1048576              files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files  unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(open_files(""), None);
        for (limit, expected) in [(1024, "warning it may open 1024"), (4096, "ok it may open 4096")]
        {
            let mut findings = Findings::new("t");
            judge_files("it", limit, 4096, &mut findings);
            assert!(findings.text().starts_with(expected), "{}", findings.text());
        }
    }

    #[test]
    fn an_open_admin_socket_is_a_problem() {
        for (mode, problems) in [(0o140_600, 0), (0o140_660, 1), (0o140_602, 1)] {
            let mut findings = Findings::new("t");
            judge_socket(Path::new("/run/s"), mode, &mut findings);
            assert_eq!(findings.levels().len(), problems, "{mode:o}");
        }
    }

    #[test]
    fn older_processes_are_known_where_the_numbers_are_the_same() {
        let status = serde_json::json!({ "process": 7, "processes_before": [{ "process": 5 }, { "process": 6 }] });
        assert_eq!(pids_before(&status, 7), [5, 6]);
        assert!(pids_before(&status, 70).is_empty());
        assert!(pids_before(&Value::Null, 7).is_empty());
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_at_means_that_no_gateway_runs() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        assert!(matches!(RunningGateway::find(Some(&socket)).await, RunningGateway::None));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(matches!(RunningGateway::find(Some(&socket)).await, RunningGateway::None));
        assert!(matches!(RunningGateway::find(None).await, RunningGateway::Unknown { .. }));
    }
}
