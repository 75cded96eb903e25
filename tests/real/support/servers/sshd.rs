use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{Doors, Nest, Server, program};
use crate::support::ssh::{keys, public};
use crate::support::{USER, ports};

/// OpenSSH with internal-sftp. Its PAM service has the name of the program: a link named as ours
/// gives it the one virtual user's password. That the user is no account of the system is the doing
/// of libnss_wrapper.
///
/// `more`: lines of sshd_config that count before the others.
pub fn start(more: &str) -> Server {
    let nest = Nest::new("sshd");
    let port = ports::one();
    let service = nest.path("lockgate-test");
    symlink(program("sshd"), &service).expect("linking sshd");
    fs::create_dir_all("/run/sshd").expect("making sshd's empty folder");
    let (uid, gid, home) = (nest.owner.uid, nest.owner.gid, nest.home.display());
    let passwd = nest.write(
        "passwd",
        &format!(
            "root:x:0:0::/root:/bin/sh\n{USER}:x:{uid}:{gid}::{home}:/bin/sh\n\
             sshd:x:65533:65533::/run/sshd:/usr/sbin/nologin\n"
        ),
    );
    let group = nest.write("group", &format!("root:x:0:\n{USER}:x:{gid}:\nsshd:x:65533:\n"));
    let host_keys: String =
        keys().host.iter().map(|key| format!("HostKey {}\n", key.display())).collect();
    let text = format!(
        "{more}ListenAddress 127.0.0.1\nPort {port}\n{host_keys}PidFile none\nUsePAM yes\n\
         PasswordAuthentication yes\nKbdInteractiveAuthentication yes\nStrictModes no\n\
         AuthorizedKeysFile {}\nMaxStartups 500\nMaxSessions 100\nMaxAuthTries 10\n\
         PrintMotd no\nSubsystem sftp internal-sftp -u 022 -l INFO\nLogLevel VERBOSE\n",
        public(&keys().user).display()
    );
    let file = nest.write("sshd_config", &text);
    for path in [&passwd, &group] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("opening a file");
    }
    let mut command = Command::new(service);
    command.args(["-D", "-e", "-f"]).arg(file);
    command.env("LD_PRELOAD", "libnss_wrapper.so");
    command.env("NSS_WRAPPER_PASSWD", passwd).env("NSS_WRAPPER_GROUP", group);
    nest.start(&mut command, Doors { ssh: Some(port), ..Doors::default() })
}
