//! Peers that vanish without FIN or RST: SSH keepalive requests find them, at both ends.

use std::process::Child;

use tempfile::TempDir;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::openssh;
use crate::support::gateway::Gateway;
use crate::support::process::{CleanupGuard, kill_group, spawn};
use crate::support::relay::Relay;
use crate::support::servers::sftp_endpoint;
use crate::support::sftp_fixture::SftpPlan;
use crate::support::ssh::keys;
use crate::support::wait::becomes_true;

/// A connection without a channel, held by OpenSSH's client.
struct Held {
    ssh: Child,
    _cleanup: CleanupGuard,
    _home: TempDir,
}

impl Held {
    fn open(site: &SftpSite) -> Self {
        use std::os::unix::process::CommandExt;
        let home = tempfile::tempdir().expect("a client's home");
        let mut ssh = openssh("ssh", site, home.path());
        ssh.arg("-N").arg(format!("{}@127.0.0.1", site.user)).process_group(0);
        let ssh = spawn(&mut ssh);
        Self { _cleanup: CleanupGuard::new(Some(&ssh), None), ssh, _home: home }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        kill_group(&mut self.ssh);
    }
}

fn sessions(gateway: &Gateway) -> u64 {
    gateway.metric("lockgate_sessions{listener=\"front\"}").unwrap_or(0)
}

fn logins(gateway: &Gateway) -> u64 {
    let series = "lockgate_logins_total{listener=\"front\",outcome=\"ok\"}";
    gateway.metric(series).unwrap_or(0)
}

#[test]
fn a_silent_client_is_disconnected() {
    let fixture = SftpPlan { listener: ", keepalive: 1s", ..SftpPlan::default() }.start();
    let relay = Relay::start(fixture.site().port);
    let _lives = Held::open(&fixture.site());
    let _silent = Held::open(&SftpSite { port: relay.port, ..fixture.site() });
    assert!(becomes_true(|| logins(&fixture.gateway) == 2), "no two logins");
    relay.fall_silent();
    assert!(
        becomes_true(|| sessions(&fixture.gateway) == 1),
        "{} sessions",
        sessions(&fixture.gateway)
    );
    // It got the same requests and replied.
    assert_eq!(sessions(&fixture.gateway), 1);
}

#[test]
fn a_silent_server_is_disconnected() {
    let server = sftp_endpoint("sshd");
    let relay = Relay::start(server.port);
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back: {{ protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{}\", \
         login: pass-through, keepalive: 1s }}\n\
         routes:\n  - {{ authenticate: backend, backend: back }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n",
        host_keys(),
        relay.port,
        keys().fingerprints[0],
    ));
    let _client = Held::open(&SftpSite::new(gateway.address("front").port()));
    assert!(becomes_true(|| logins(&gateway) == 1), "no login");
    assert_eq!(gateway.connections_to(relay.port), 1);
    relay.fall_silent();
    assert!(becomes_true(|| gateway.connections_to(relay.port) == 0), "it is still connected");
}
