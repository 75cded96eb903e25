//! The fail2ban filter, on log lines of the gateway with names that could forge some.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::log::written;
use crate::support::process::run;
use crate::support::servers::tools;

const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn the_filter_finds_refused_logins_and_nothing_else() {
    for format in ["text", "json"] {
        let log = written(format);
        // A stranger's: one of FTP, two of SFTP, which asks by two methods.
        assert_eq!(found(&log), ["127.0.0.1"; 3], "{log}");
        // An IPv6 client, and lines of the journal.
        let six = log.replace("127.0.0.1:", "[2001:db8::7]:");
        assert_eq!(found(&six), ["2001:db8::7"; 3], "{six}");
        let journal: String =
            log.lines().map(|line| format!("box lockgate[77]: {line}\n")).collect();
        assert_eq!(found(&journal), ["127.0.0.1"; 3], "{journal}");
    }
}

/// The addresses that fail2ban would count.
fn found(log: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("log");
    std::fs::write(&file, log).expect("writing the log");
    let root = tools().join("root");
    let regex = root.join("usr/bin/fail2ban-regex");
    assert!(regex.exists(), "{} is missing: run tests/install", regex.display());
    let mut command = Command::new("/usr/bin/python3");
    command.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages")).arg(regex);
    command.arg("-c").arg(root.join("etc/fail2ban")).args(["-o", "<ip>"]).arg(&file);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/fail2ban/lockgate.conf"));
    let output = run(&mut command, b"", TIMEOUT).expect_ok("fail2ban-regex");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
