//! pure-ftpd.

use std::process::Command;

use super::proftpd::crypt;
use super::{READY_TIMEOUT, Server, ServerFolder, ServerPorts, program};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::{USER, ports};

/// One instance: plain and AUTH TLS on one port.
pub fn start() -> Server {
    let server_folder = ServerFolder::new("pureftpd");
    let (uid, gid) = (server_folder.owner.uid, server_folder.owner.gid);
    let line = format!(
        "{USER}:{}:{uid}:{gid}::{}/./::::::::::::\n",
        crypt(),
        server_folder.home.display()
    );
    let users = server_folder.write("users", &line);
    let base = server_folder.path("users.pdb");
    let mut command = Command::new(program("pure-pw"));
    command.arg("mkdb").arg(&base).arg("-f").arg(&users);
    run(&mut command, b"", READY_TIMEOUT).expect_ok("making the users' database of pure-ftpd");

    let (port, passive) = (*ports::block(2).end(), ports::block(200));
    let mut command = Command::new(program("pure-ftpd"));
    command
        .arg("-S")
        .arg(format!("127.0.0.1,{port}"))
        .arg("-l")
        .arg(format!("puredb:{}", base.display()))
        .arg("-p")
        .arg(format!("{}:{}", passive.start(), passive.end()))
        .arg("-2")
        .arg(&pki().both)
        .arg("-g")
        .arg(server_folder.path("pid"))
        // No anonymous users, all in a chroot, no name look-ups, TLS if asked, dot files shown,
        // nothing to syslog, whole listings of large folders.
        .args(["-E", "-A", "-H", "-Y", "1", "-D", "-f", "none", "-L", "30000:20"])
        .args(["-u", "1", "-U", "133:022", "-c", "500", "-C", "500"]);
    server_folder.start(&mut command, ServerPorts { clear: Some(port), ..ServerPorts::default() })
}
