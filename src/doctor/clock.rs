//! The clock: certificates, quotas and logs depend on it. Only the kernel knows whether it is synchronized, and
//! tells nobody without unsafe code (adjtimex(2)); so this looks for who synchronizes it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::finding::Findings;

/// Programs that set the clock, as `/proc/PID/comm` names them.
const DAEMONS: [&str; 6] =
    ["chronyd", "ntpd", "ntp-daemon", "openntpd", "ptp4l", "systemd-timesyn"];
/// systemd-timesyncd touches it with each synchronization (systemd-timesyncd.service(8)).
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
/// It asks its server at least every 34 minutes, unless its `PollIntervalMaxSec` is another.
const SYNCHRONIZED_AGE_MAX: Duration = Duration::from_secs(3 * 60 * 60);
/// A file may be this much newer than now: file systems round.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What can be seen.
struct Facts {
    /// How long ago systemd-timesyncd has synchronized it last.
    synchronized: Option<Duration>,
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
        synchronized: age(Path::new(SYNCHRONIZED)),
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

fn age(path: &Path) -> Option<Duration> {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    // In the future: the clock was set back since.
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
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
    let status = "`timedatectl timesync-status` shows whether its server answers";
    match &facts.daemon {
        // Also where its process cannot be seen.
        _ if facts.synchronized.is_some_and(|age| age <= SYNCHRONIZED_AGE_MAX) => {
            findings.ok("systemd-timesyncd has synchronized it");
        }
        Some(daemon) if daemon == "systemd-timesyn" => match facts.synchronized {
            Some(age) => {
                let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
                let message = format!("systemd-timesyncd has synchronized it last {age} ago");
                findings.warning_with(message, status);
            }
            None => findings.warning_with(
                "systemd-timesyncd runs, but has not synchronized it yet",
                status,
            ),
        },
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
            synchronized,
            daemon: daemon.map(str::to_owned),
            in_container: false,
            ahead,
        };
        let judged = |facts: Facts| {
            let mut findings = Findings::new("t");
            judge(&facts, &mut findings);
            findings.text()
        };
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        let timesyncd = Some("systemd-timesyn");
        assert!(judged(facts(None, hours(1), None)).starts_with("ok systemd-timesyncd"));
        assert!(judged(facts(timesyncd, hours(1), None)).starts_with("ok systemd-timesyncd"));
        assert!(judged(facts(Some("chronyd"), None, None)).starts_with("ok chronyd"));
        // Of the time before chrony was installed.
        assert!(judged(facts(Some("chronyd"), hours(90), None)).starts_with("ok chronyd"));
        assert!(judged(facts(timesyncd, None, None)).starts_with("warning"));
        let late = judged(facts(timesyncd, hours(7), None));
        assert!(
            late.starts_with("warning systemd-timesyncd has synchronized it last 7h ago"),
            "{late}"
        );
        assert!(judged(facts(None, None, None)).starts_with("warning nothing"));
        assert!(judged(facts(None, hours(7), None)).starts_with("warning nothing"));
        assert!(
            judged(facts(None, hours(0), hours(1)))
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
