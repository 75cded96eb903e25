use std::process::Command;

use super::{Doors, Nest, Server};
use crate::support::clients::python;
use crate::support::ssh::{keys, public};
use crate::support::{PASSWORD, USER, ports};

const SCRIPT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/support/servers/asyncssh_server.py");

/// asyncssh's SFTP server, whose root is the user's home.
pub fn start() -> Server {
    start_with(None)
}

/// Its login puts the user into the home, and REALPATH of `.` is answered so; `fails`: refused.
pub fn telling(answer: &str) -> Server {
    start_with(Some(answer))
}

fn start_with(answer: Option<&str>) -> Server {
    let nest = Nest::new("asyncssh");
    let port = ports::one();
    let mut command = Command::new(python());
    command.arg(SCRIPT).arg(port.to_string()).arg(&nest.home).arg(&keys().host[0]);
    command.args([USER, PASSWORD]).arg(public(&keys().user));
    command.args([nest.owner.uid.to_string(), nest.owner.gid.to_string()]).args(answer);
    nest.start(&mut command, Doors { ssh: Some(port), ..Doors::default() })
}
