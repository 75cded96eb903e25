//! HAProxy, a load balancer that speaks the PROXY protocol. It listens on 127.0.0.9 and connects
//! to the gateway from 127.0.0.8.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{CleanupGuard, POLL, kill_group, spawn};

pub const ADDRESS: &str = "127.0.0.9";
/// The source address that the gateway trusts.
pub const SOURCE: &str = "127.0.0.8";
const READY_TIMEOUT: Duration = Duration::from_secs(20);

pub struct HaProxy {
    child: Child,
    folder: TempDir,
    _cleanup: CleanupGuard,
}

/// A `listen` section: forwards a port or a range of 127.0.0.9 to 127.0.0.1.
pub struct ListenSection {
    pub name: &'static str,
    pub port: String,
    /// Empty: the port that the client connected to.
    pub to: String,
    /// `send-proxy`, `send-proxy-v2`, and whatever else.
    pub server: &'static str,
    /// More lines of the section.
    pub more: String,
}

impl HaProxy {
    /// Returns when it accepts connections.
    pub fn start(sections: &[ListenSection]) -> Self {
        let folder = tempfile::Builder::new().prefix("lockgate-haproxy-").tempdir();
        let folder = folder.expect("HAProxy's folder");
        let mut text = format!(
            "global\n  nbthread 1\n  maxconn 1000\n  stats socket {}\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n",
            folder.path().join("socket").display()
        );
        for ListenSection { name, port, to, server, more } in sections {
            let colon = if to.is_empty() { "" } else { ":" };
            text += &format!(
                "listen {name}\n  bind {ADDRESS}:{port}\n{more}  \
                 server gateway 127.0.0.1{colon}{to} source {SOURCE} {server}\n"
            );
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).expect("writing HAProxy's configuration");
        let log = std::fs::File::create(folder.path().join("log")).expect("making a log");
        let errors = log.try_clone().expect("sharing a log");
        let mut command = Command::new(program());
        command.arg("-db").arg("-f").arg(file);
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = spawn(&mut command);
        let cleanup = CleanupGuard::new(Some(&child), Some(folder.path()));
        let mut haproxy = Self { child, folder, _cleanup: cleanup };
        let end = Instant::now() + READY_TIMEOUT;
        while haproxy.states().is_none() {
            let ended = haproxy.child.try_wait().expect("looking at HAProxy").is_some();
            assert!(!ended && Instant::now() < end, "HAProxy does not run:\n{}", haproxy.log());
            thread::sleep(POLL);
        }
        haproxy
    }

    /// Waits until the health check of a section has this status (`L7OK`, `L4OK`).
    pub fn await_check(&self, name: &str, status: &str) {
        let end = Instant::now() + READY_TIMEOUT;
        loop {
            let states = self.states().unwrap_or_default();
            let found = states.iter().find(|(section, _)| section == name);
            if found.is_some_and(|(_, found)| found == status) {
                return;
            }
            assert!(Instant::now() < end, "{name} is not {status}: {states:?}\n{}", self.log());
            thread::sleep(POLL);
        }
    }

    /// The status of each section's last health check.
    fn states(&self) -> Option<Vec<(String, String)>> {
        let mut socket = UnixStream::connect(self.folder.path().join("socket")).ok()?;
        socket.write_all(b"show stat\n").ok()?;
        socket.shutdown(Shutdown::Write).ok()?;
        let mut text = String::new();
        socket.read_to_string(&mut text).ok()?;
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let column = lines.next()?.iter().position(|name| *name == "check_status")?;
        let servers = lines.filter(|row| row.get(1) == Some(&"gateway"));
        let state = |row: Vec<&str>| Some((row.first()?.to_string(), row.get(column)?.to_string()));
        Some(servers.filter_map(state).collect())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

fn program() -> &'static str {
    // /usr/sbin is not in every user's PATH.
    let sbin = "/usr/sbin/haproxy";
    if std::path::Path::new(sbin).exists() { sbin } else { "haproxy" }
}
