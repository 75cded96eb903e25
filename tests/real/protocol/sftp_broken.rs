//! The SFTP front with clients that violate the protocol.

use serde_json::json;

use crate::support::clients::openssh::openssh;
use crate::support::process::run;
use crate::support::sftp_fixture::SftpPlan;

#[test]
fn a_malformed_packet_ends_only_its_channel() {
    let fixture = SftpPlan::default().start();
    fixture.scenario("broken-packets", json!({}));
    fixture.await_no_session();
}

#[test]
fn an_incomplete_packet_times_out_and_ends_only_its_channel() {
    let limits = "sessions: 1000, stall_timeout: 1s";
    let fixture = SftpPlan { limits, ..SftpPlan::default() }.start();
    fixture.scenario("slow-packet", json!({}));
    fixture.await_no_session();
}

#[test]
fn channels_are_limited() {
    let fixture = SftpPlan { listener: ", channels: 3", ..SftpPlan::default() }.start();
    fixture.scenario("channels", json!({ "channels": 3 }));
    fixture.scenario("idle-channel", json!({}));
    fixture.await_no_session();
}

#[test]
fn forwarding_is_refused() {
    let fixture = SftpPlan::default().start();
    fixture.scenario("forwarding", json!({}));
    fixture.await_no_session();
}

/// Requests other than SFTP get SSH's failure replies, and the connection stays open.
#[test]
fn shell_and_exec_are_refused() {
    let fixture = SftpPlan::default().start();
    let home = tempfile::tempdir().expect("a client's home");
    for arguments in [&["-T"][..], &["true"], &["-tt"], &["-s", "shell"]] {
        let (options, command) = arguments.split_at(usize::from(arguments[0].starts_with('-')));
        let mut ssh = openssh("ssh", &fixture.site(), home.path());
        ssh.args(options).arg(format!("{}@127.0.0.1", fixture.site().user)).args(command);
        let output = run(&mut ssh, b"", std::time::Duration::from_secs(20));
        let code = output.status.and_then(|status| status.code());
        assert!(code.is_some_and(|code| code != 0), "{}", output.describe());
        assert!(output.stdout.is_empty(), "{}", output.describe());
    }
    fixture.await_no_session();
}

/// Not a client's error but a client's limit: see the scenario.
#[test]
fn writes_get_their_responses_in_order() {
    let fixture = SftpPlan::default().start();
    fixture.scenario("order", json!({ "bytes": 12 << 20, "turns": 3 }));
    fixture.await_no_session();
}
