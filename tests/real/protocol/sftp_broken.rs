//! The SFTP front against clients that do what they should not.

use serde_json::json;

use crate::support::clients::openssh::openssh;
use crate::support::process::run;
use crate::support::sftp_lock::SftpPlan;

#[test]
fn a_malformed_packet_ends_only_its_channel() {
    let lock = SftpPlan::default().start();
    lock.scenario("broken-packets", json!({}));
    lock.at_rest();
}

#[test]
fn an_incomplete_packet_times_out_and_ends_only_its_channel() {
    let limits = "sessions: 1000, stall_timeout: 1s";
    let lock = SftpPlan { limits, ..SftpPlan::default() }.start();
    lock.scenario("slow-packet", json!({}));
    lock.at_rest();
}

#[test]
fn channels_are_limited() {
    let lock = SftpPlan { listener: ", channels: 3", ..SftpPlan::default() }.start();
    lock.scenario("channels", json!({ "channels": 3 }));
    lock.scenario("idle-channel", json!({}));
    lock.at_rest();
}

#[test]
fn forwarding_is_refused() {
    let lock = SftpPlan::default().start();
    lock.scenario("forwarding", json!({}));
    lock.at_rest();
}

/// What is no SFTP is refused in the words of SSH, and the one connection lives on.
#[test]
fn shell_and_exec_are_refused() {
    let lock = SftpPlan::default().start();
    let home = tempfile::tempdir().expect("a client's home");
    for arguments in [&["-T"][..], &["true"], &["-tt"], &["-s", "shell"]] {
        let (options, command) = arguments.split_at(usize::from(arguments[0].starts_with('-')));
        let mut ssh = openssh("ssh", &lock.site(), home.path());
        ssh.args(options).arg(format!("{}@127.0.0.1", lock.site().user)).args(command);
        let output = run(&mut ssh, b"", std::time::Duration::from_secs(20));
        let code = output.status.and_then(|status| status.code());
        assert!(code.is_some_and(|code| code != 0), "{}", output.describe());
        assert!(output.stdout.is_empty(), "{}", output.describe());
    }
    lock.at_rest();
}

/// Not what a client does wrong, but what it cannot take: see the scenario.
#[test]
fn writes_get_their_responses_in_order() {
    let lock = SftpPlan::default().start();
    lock.scenario("order", json!({ "bytes": 12 << 20, "turns": 3 }));
    lock.at_rest();
}
