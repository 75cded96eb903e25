//! ProFTPD, with FTP and with mod_sftp.

use std::process::Command;

use super::{OWNER, Server, ServerFolder, ServerPorts, program};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::ssh::{keys, public_line};
use crate::support::{PASSWORD, USER, ports};

/// One instance: plain and AUTH TLS on one port, implicit TLS on another. Data connections must
/// resume the control connection's TLS session, as is its default.
pub fn start() -> Server {
    start_with("TLSRequired off\n")
}

/// It wants a client certificate of the tests' CA.
pub fn start_with_client_certificates() -> Server {
    let ca = pki().ca.display();
    start_with(&format!("TLSRequired on\nTLSVerifyClient on\nTLSCACertificateFile {ca}\n"))
}

/// `more`: of the first port.
fn start_with(more: &str) -> Server {
    let server_folder = ServerFolder::new("proftpd");
    let users = server_folder.write("users", &format!("{}\n", user_line(&server_folder)));
    // Active data connections come from the port below: it must be free too.
    let (port, implicit) = (*ports::block(2).end(), *ports::block(2).end());
    let folder = server_folder.folder.path().display();
    let common = common(&server_folder, &users.display().to_string());
    let text = format!(
        "ModulePath /usr/lib/proftpd\nLoadModule mod_tls.c\n\
         ServerName lockgate-test\nServerType standalone\nDefaultAddress 127.0.0.1\nUseIPv6 off\n\
         PidFile {folder}/pid\nScoreboardFile {folder}/scoreboard\n\
         User {OWNER}\nGroup {OWNER}\nWtmpLog off\nTransferLog none\n\
         SystemLog {log}\nMaxInstances 200\n\
         Port {port}\n{common}{more}\
         <VirtualHost 127.0.0.1>\nPort {implicit}\n{common}TLSOptions UseImplicitSSL\n\
         </VirtualHost>\n",
        log = server_folder.log.display(),
    );
    let file = server_folder.write("proftpd.conf", &text);
    let mut command = Command::new(program("proftpd"));
    let ports = ServerPorts { clear: Some(port), implicit: Some(implicit), ssh: None };
    server_folder.start(command.arg("--nodaemon").arg("--config").arg(file), ports)
}

/// mod_sftp: an instance of its own, with the same users.
pub fn start_sftp() -> Server {
    let server_folder = ServerFolder::new("proftpd-sftp");
    let users = server_folder.write("users", &format!("{}\n", user_line(&server_folder)));
    let port = ports::one();
    let folder = server_folder.folder.path().display();
    let host_keys: String =
        keys().host.iter().map(|key| format!("SFTPHostKey {}\n", key.display())).collect();
    // mod_sftp needs public keys in RFC 4716 format.
    let key = server_folder.write("user.keys", &rfc4716());
    let text = format!(
        "ModulePath /usr/lib/proftpd\nLoadModule mod_sftp.c\n\
         ServerName lockgate-test\nServerType standalone\nDefaultAddress 127.0.0.1\nUseIPv6 off\n\
         PidFile {folder}/pid\nScoreboardFile {folder}/scoreboard\n\
         User {OWNER}\nGroup {OWNER}\nWtmpLog off\nTransferLog none\n\
         SystemLog {log}\nMaxInstances 200\nPort {port}\nDelayEngine off\n\
         AuthOrder mod_auth_file.c\nAuthUserFile {users}\nRequireValidShell off\n\
         DefaultRoot ~\nUmask 022 022\nAllowOverwrite on\nAllowStoreRestart on\n\
         AllowRetrieveRestart on\nMaxLoginAttempts 10\nSFTPEngine on\nSFTPLog {log}\n{host_keys}\
         SFTPAuthorizedUserKeys file:{key}\n",
        log = server_folder.log.display(),
        users = users.display(),
        key = key.display(),
    );
    let file = server_folder.write("proftpd.conf", &text);
    let mut command = Command::new(program("proftpd"));
    let ports = ServerPorts { ssh: Some(port), ..ServerPorts::default() };
    server_folder.start(command.arg("--nodaemon").arg("--config").arg(file), ports)
}

fn rfc4716() -> String {
    let line = public_line(&keys().user);
    let base64 = line.split(' ').nth(1).expect("a key");
    format!("---- BEGIN SSH2 PUBLIC KEY ----\n{base64}\n---- END SSH2 PUBLIC KEY ----\n")
}

/// The settings to repeat in each virtual host. Without AuthOrder it asks PAM first, for seconds.
fn common(server_folder: &ServerFolder, users: &str) -> String {
    // ProFTPD chooses a port at random, and replies 425 if two sessions choose the same one.
    let passive = ports::block(200);
    let pki = pki();
    format!(
        "DelayEngine off\nAuthOrder mod_auth_file.c\nAuthUserFile {users}\n\
         RequireValidShell off\nDefaultRoot ~\nUmask 022 022\n\
         AllowOverwrite on\nAllowStoreRestart on\nAllowRetrieveRestart on\n\
         PassivePorts {} {}\nTLSEngine on\nTLSProtocol TLSv1.2 TLSv1.3\n\
         TLSECCertificateFile {}\nTLSECCertificateKeyFile {}\nTLSLog {}\n",
        passive.start(),
        passive.end(),
        pki.certificate.display(),
        pki.key.display(),
        server_folder.path("tls.log").display(),
    )
}

fn user_line(server_folder: &ServerFolder) -> String {
    let home = server_folder.home.display();
    format!(
        "{USER}:{}:{}:{}::{home}:/bin/false",
        crypt(),
        server_folder.owner.uid,
        server_folder.owner.gid
    )
}

/// The password as crypt(3) has it.
pub fn crypt() -> String {
    let mut command = Command::new("openssl");
    command.args(["passwd", "-6", "-salt", "lockgate", "-stdin"]);
    let output =
        run(&mut command, PASSWORD.as_bytes(), super::READY_TIMEOUT).expect_ok("openssl passwd");
    String::from_utf8(output.stdout).expect("a hash is ASCII").trim().to_owned()
}
