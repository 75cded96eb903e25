//! Memory: what the sessions that `limits` allows may need, against what this machine, and the control group of
//! the gateway, has. The figures are those of tests/README.md, rounded up.

use std::path::Path;

use super::finding::Findings;
use super::running::RunningGateway;
use crate::config::{BackendSettings, Compiled};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Of the process without sessions.
const BASE: u64 = 32 * MIB;
/// An idle session of FTP with TLS.
const FTP_SESSION: u64 = 40 * KIB;
/// An idle session where the client or the server uses SFTP.
const SFTP_SESSION: u64 = 180 * KIB;
/// A transfer of FTP.
const FTP_TRANSFER: u64 = 512 * KIB;
/// Of SFTP.
const SFTP_TRANSFER: u64 = 12 * MIB;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Need {
    idle: u64,
    /// With a transfer in every tenth session.
    busy: u64,
}

pub(super) fn examine(config: &Compiled, running: &RunningGateway) -> Findings {
    let mut findings = Findings::new("memory");
    let with_sftp = !config.sftp_listeners.is_empty()
        || config.backends.iter().any(|(_, it)| matches!(it, BackendSettings::Sftp(_)));
    let need = need(config.limits.sessions as u64, with_sftp);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let own = running.pid().map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let group = std::fs::read_to_string(format!("/proc/{own}/cgroup")).unwrap_or_default();
    let limit = control_group_limit(&group, Path::new("/sys/fs/cgroup"));
    match total(&meminfo) {
        Some(total) => judge(config.limits.sessions, need, total, limit, &mut findings),
        None => findings.skipped("/proc/meminfo cannot be read", "mount /proc"),
    }
    findings
}

fn need(sessions: u64, with_sftp: bool) -> Need {
    let (session, transfer) =
        if with_sftp { (SFTP_SESSION, SFTP_TRANSFER) } else { (FTP_SESSION, FTP_TRANSFER) };
    let idle = BASE + sessions * session;
    Need { idle, busy: idle + sessions.div_ceil(10) * transfer }
}

/// Bytes of this machine.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * KIB)
}

/// The lowest `memory.max` from a process's group up to the root (version 2 of control groups).
fn control_group_limit(cgroup: &str, root: &Path) -> Option<u64> {
    let group = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limits = Path::new(group).ancestors().filter_map(|group| {
        let text = std::fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

fn judge(sessions: usize, need: Need, total: u64, limit: Option<u64>, findings: &mut Findings) {
    let (has, whose) = match limit.filter(|limit| *limit < total) {
        Some(limit) => (limit, "its control group may use"),
        None => (total, "this machine has"),
    };
    let [idle, busy, shown] = [need.idle, need.busy, has].map(|bytes| bytes.div_ceil(MIB));
    let message = format!(
        "{sessions} sessions (`limits.sessions`) need about {idle} MiB, with a transfer in every \
         tenth {busy} MiB; {whose} {shown} MiB"
    );
    if need.idle > has {
        findings.problem(
            message,
            "lower `limits.sessions`, or give it more memory (`MemoryMax=` of its unit)",
        );
    } else if need.busy > has {
        findings.warning_with(
            message,
            "if so many transfers at once are likely, lower `limits.sessions` or give it more memory",
        );
    } else {
        findings.ok(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_is_judged_against_the_lower_limit() {
        let need = need(1000, false);
        assert_eq!(need.idle, BASE + 1000 * FTP_SESSION);
        let judged = |total, limit| {
            let mut findings = Findings::new("t");
            judge(1000, need, total, limit, &mut findings);
            findings.text()
        };
        assert!(judged(4096 * MIB, None).starts_with("ok"));
        assert!(judged(4096 * MIB, Some(100 * MIB)).starts_with("warning"));
        let text = judged(4096 * MIB, Some(64 * MIB));
        assert!(
            text.starts_with("problem") && text.contains("control group may use 64 MiB"),
            "{text}"
        );
    }

    #[test]
    fn the_kernels_figures_are_read() {
        assert_eq!(total("MemTotal:        2048 kB\nMemFree: 1 kB\n"), Some(2 * MIB));
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(root.path().join("a/memory.max"), "1000\n").unwrap();
        std::fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(control_group_limit("0::/a/b\n", root.path()), Some(1000));
        assert_eq!(control_group_limit("1:memory:/a\n", root.path()), None);
    }
}
