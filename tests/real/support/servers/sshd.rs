//! OpenSSH's sshd with internal-sftp.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{Server, ServerFolder, ServerPorts, program};
use crate::support::ssh::{keys, public};
use crate::support::{USER, ports};

/// OpenSSH with internal-sftp. Its PAM service has the name of the program: a link with our service's
/// name gives it the virtual user's password. libnss_wrapper provides the user, which is no account of
/// the system.
///
/// `more`: lines of sshd_config before the others; the first value of a keyword wins.
pub fn start(more: &str) -> Server {
    start_on(more, ports::one())
}

/// As [`start`], on this port, such as that of a server that has ended.
pub fn start_on(more: &str, port: u16) -> Server {
    let server_folder = ServerFolder::new("sshd");
    let service = server_folder.path("lockgate-test");
    symlink(program("sshd"), &service).expect("linking sshd");
    fs::create_dir_all("/run/sshd").expect("making sshd's empty folder");
    let (uid, gid, home) =
        (server_folder.owner.uid, server_folder.owner.gid, server_folder.home.display());
    let passwd = server_folder.write(
        "passwd",
        &format!(
            "root:x:0:0::/root:/bin/sh\n{USER}:x:{uid}:{gid}::{home}:/bin/sh\n\
             sshd:x:65533:65533::/run/sshd:/usr/sbin/nologin\n"
        ),
    );
    let group =
        server_folder.write("group", &format!("root:x:0:\n{USER}:x:{gid}:\nsshd:x:65533:\n"));
    let host_keys: String =
        keys().host.iter().map(|key| format!("HostKey {}\n", key.display())).collect();
    let text = format!(
        "{more}ListenAddress 127.0.0.1\nPort {port}\n{host_keys}PidFile none\nUsePAM yes\n\
         PasswordAuthentication yes\nKbdInteractiveAuthentication yes\nStrictModes no\n\
         AuthorizedKeysFile {}\nMaxStartups 500\nMaxSessions 100\nMaxAuthTries 10\n\
         PrintMotd no\nSubsystem sftp internal-sftp -u 022 -l INFO\nLogLevel VERBOSE\n",
        public(&keys().user).display()
    );
    let file = server_folder.write("sshd_config", &text);
    for path in [&passwd, &group] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("opening a file");
    }
    let mut command = Command::new(service);
    command.args(["-D", "-e", "-f"]).arg(file);
    command.env("LD_PRELOAD", "libnss_wrapper.so");
    command.env("NSS_WRAPPER_PASSWD", passwd).env("NSS_WRAPPER_GROUP", group);
    server_folder.start(&mut command, ServerPorts { ssh: Some(port), ..ServerPorts::default() })
}
