//! OpenSSH's sftp, scp and ssh, without the developer's own settings.

use std::path::Path;
use std::process::Command;

use super::{SftpSite, client, deadline};
use crate::support::process::{Output, run};
use crate::support::ssh::askpass;

/// One of OpenSSH's programs, ready for its own arguments.
pub fn openssh(program: &str, site: &SftpSite, home: &Path) -> Command {
    openssh_with(program, site, home, "NumberOfPasswordPrompts=1")
}

fn openssh_with(program: &str, site: &SftpSite, home: &Path, prompts: &str) -> Command {
    let mut command = client(program, home);
    command.env("SSH_ASKPASS", askpass()).env("SSH_ASKPASS_REQUIRE", "force");
    command.env("LOCKGATE_TEST_PASSWORD", &site.password);
    command.args(["-F", "/dev/null", "-q"]);
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
        prompts,
        "ConnectTimeout=15",
    ] {
        command.args(["-o", option]);
    }
    match &site.key {
        Some(key) => command.arg("-i").arg(key).args([
            "-o",
            "PreferredAuthentications=publickey",
            "-o",
            "IdentitiesOnly=yes",
        ]),
        None => command.args(["-o", "PubkeyAuthentication=no"]),
    };
    command.arg(if program == "ssh" { "-p" } else { "-P" }).arg(site.port.to_string());
    command
}

/// sftp that prompts for the password up to six times; the first `wrong` answers are wrong.
/// Also returns the number of prompts.
pub fn persistent_sftp(site: &SftpSite, home: &Path, wrong: usize) -> (Output, usize) {
    let prompts = home.join("prompts");
    let mut command = openssh_with("sftp", site, home, "NumberOfPasswordPrompts=6");
    command.env("LOCKGATE_TEST_PROMPTS", &prompts).env("LOCKGATE_TEST_WRONG", wrong.to_string());
    command.args(["-o", "BatchMode=no", "-o", "PreferredAuthentications=password", "-b", "-"]);
    command.arg(format!("{}@127.0.0.1", site.user));
    let output = run(&mut command, b"pwd\n", deadline());
    (output, std::fs::read_to_string(prompts).unwrap_or_default().lines().count())
}

/// sftp with a batch of commands, in `folder`; `more` are arguments before the destination.
pub fn sftp_command(site: &SftpSite, folder: &Path, more: &[&str]) -> Command {
    let mut command = openssh("sftp", site, folder);
    // A batch on stdin sets BatchMode=yes, which prompts for no password; the first value wins.
    command.args(["-o", "BatchMode=no", "-b", "-"]).args(more);
    command.arg(format!("{}@127.0.0.1", site.user));
    command
}

pub fn sftp(site: &SftpSite, folder: &Path, batch: &str, more: &[&str]) -> Output {
    run(&mut sftp_command(site, folder, more), batch.as_bytes(), deadline())
}

/// scp in its SFTP mode.
pub fn scp(site: &SftpSite, folder: &Path, from: &str, to: &str) -> Output {
    let mut command = openssh("scp", site, folder);
    run(command.args(["-s", "-p", from, to]), b"", deadline())
}

/// A path of the site as scp names it.
pub fn remote(site: &SftpSite, path: &str) -> String {
    format!("{}@127.0.0.1:{path}", site.user)
}
