//! asyncssh's SFTP server.

use std::process::Command;

use super::{Server, ServerFolder, ServerPorts};
use crate::support::clients::python;
use crate::support::ssh::{keys, public};
use crate::support::{PASSWORD, USER, ports};

const SCRIPT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/support/servers/asyncssh_server.py");

/// asyncssh's SFTP server, whose root is the user's home.
pub fn start() -> Server {
    start_with(None)
}

/// Its root is `/`, and REALPATH of `.` returns this answer; `fails`: an error.
pub fn with_realpath(answer: &str) -> Server {
    start_with(Some(answer))
}

fn start_with(answer: Option<&str>) -> Server {
    let server_folder = ServerFolder::new("asyncssh");
    let port = ports::one();
    let mut command = Command::new(python());
    command.arg(SCRIPT).arg(port.to_string()).arg(&server_folder.home).arg(&keys().host[0]);
    command.args([USER, PASSWORD]).arg(public(&keys().user));
    command
        .args([server_folder.owner.uid.to_string(), server_folder.owner.gid.to_string()])
        .args(answer);
    server_folder.start(&mut command, ServerPorts { ssh: Some(port), ..ServerPorts::default() })
}
