//! The clock: certificates, quotas and logs depend on it. Only the kernel knows whether it is synchronized, and
//! tells nobody without unsafe code (adjtimex(2)); so this looks for who synchronizes it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::finding::Findings;

/// Programs that set the clock, as `/proc/PID/comm` names them.
const DAEMONS: [&str; 6] =
    ["chronyd", "ntpd", "ntp-daemon", "openntpd", "ptp4l", "systemd-timesyn"];
/// systemd-timesyncd creates it after its first synchronization.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// A file may be this much newer than now: file systems round.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What can be seen.
struct Facts {
    timesyncd_has_synchronized: bool,
    daemon: Option<String>,
    /// Whether the machine's clock is another's to set.
    in_container: bool,
    /// By how much the configuration is newer than now.
    ahead: Option<Duration>,
}

pub(super) fn examine(config: &Path) -> Findings {
    let mut findings = Findings::new("clock");
    let modified = std::fs::metadata(config).and_then(|metadata| metadata.modified());
    let facts = Facts {
        timesyncd_has_synchronized: Path::new(SYNCHRONIZED).exists(),
        daemon: daemon(Path::new("/proc")),
        in_container: ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"]
            .iter()
            .any(|mark| Path::new(mark).exists())
            || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        ahead: modified.ok().and_then(|at| at.duration_since(SystemTime::now()).ok()),
    };
    judge(&facts, &mut findings);
    findings
}

fn daemon(proc: &Path) -> Option<String> {
    let processes = std::fs::read_dir(proc).ok()?.flatten();
    let mut names = processes.filter_map(|it| std::fs::read_to_string(it.path().join("comm")).ok());
    names.find_map(|name| DAEMONS.contains(&name.trim_end()).then(|| name.trim_end().to_owned()))
}

fn judge(facts: &Facts, findings: &mut Findings) {
    if let Some(ahead) = facts.ahead.filter(|ahead| *ahead > TOLERANCE) {
        let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
        findings.problem(
            format!("it is behind: the configuration was changed {ahead} in the future"),
            "set it: certificates would be refused as not valid yet",
        );
    }
    match &facts.daemon {
        _ if facts.timesyncd_has_synchronized => {
            findings.ok("systemd-timesyncd has synchronized it");
        }
        Some(daemon) if daemon == "systemd-timesyn" => findings.warning_with(
            "systemd-timesyncd runs, but has not synchronized it yet",
            "`timedatectl timesync-status` shows whether its server answers",
        ),
        Some(daemon) => findings.ok(format!(
            "{daemon} runs to set it; whether it succeeds, `chronyc tracking` or `ntpq -p` tell"
        )),
        None if facts.in_container => findings.skipped(
            "this is a container, whose clock is the machine's",
            "see to it there",
        ),
        None => findings.warning_with(
            "nothing that synchronizes it was found",
            "install chrony, or turn systemd-timesyncd on: with a wrong clock, certificates are refused, and \
             logs cannot be compared with those of the servers",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_without_synchronization_or_behind_its_files_is_reported() {
        let facts = |daemon: Option<&str>, synchronized, ahead| Facts {
            timesyncd_has_synchronized: synchronized,
            daemon: daemon.map(str::to_owned),
            in_container: false,
            ahead,
        };
        let judged = |facts: Facts| {
            let mut findings = Findings::new("t");
            judge(&facts, &mut findings);
            findings.text()
        };
        assert!(judged(facts(None, true, None)).starts_with("ok"));
        assert!(judged(facts(Some("chronyd"), false, None)).starts_with("ok chronyd"));
        assert!(judged(facts(Some("systemd-timesyn"), false, None)).starts_with("warning"));
        assert!(judged(facts(None, false, None)).starts_with("warning nothing"));
        let hour = Some(Duration::from_secs(3600));
        assert!(
            judged(facts(None, true, hour))
                .starts_with("problem it is behind: the configuration was changed 1h")
        );
    }

    #[test]
    fn daemons_are_found_by_name() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, name) in [("1", "init\n"), ("20", "chronyd\n")] {
            std::fs::create_dir(proc.path().join(pid)).unwrap();
            std::fs::write(proc.path().join(pid).join("comm"), name).unwrap();
        }
        assert_eq!(daemon(proc.path()).as_deref(), Some("chronyd"));
        std::fs::remove_dir_all(proc.path().join("20")).unwrap();
        assert_eq!(daemon(proc.path()), None);
    }
}
