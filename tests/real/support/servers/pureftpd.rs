use std::process::Command;

use super::proftpd::crypt;
use super::{Doors, Nest, READY, Server, program};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::{USER, ports};

/// One instance: plain and AUTH TLS on one port.
pub fn start() -> Server {
    let nest = Nest::new("pureftpd");
    let (uid, gid) = (nest.owner.uid, nest.owner.gid);
    let line = format!("{USER}:{}:{uid}:{gid}::{}/./::::::::::::\n", crypt(), nest.home.display());
    let users = nest.write("users", &line);
    let base = nest.path("users.pdb");
    let mut command = Command::new(program("pure-pw"));
    command.arg("mkdb").arg(&base).arg("-f").arg(&users);
    run(&mut command, b"", READY).expect_ok("making the users' database of pure-ftpd");

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
        .arg(nest.path("pid"))
        // No anonymous users, all in a chroot, no name look-ups, TLS if asked, dot files shown,
        // nothing to syslog, whole listings of large folders.
        .args(["-E", "-A", "-H", "-Y", "1", "-D", "-f", "none", "-L", "30000:20"])
        .args(["-u", "1", "-U", "133:022", "-c", "500", "-C", "500"]);
    nest.start(&mut command, Doors { clear: Some(port), ..Doors::default() })
}
