use std::process::Command;

use super::{Doors, Nest, OWNER, Server, program};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::ssh::{keys, public_line};
use crate::support::{PASSWORD, USER, ports};

/// One instance: plain and AUTH TLS on one port, implicit TLS on another. Data connections must
/// resume the control connection's TLS session, as is its default.
pub fn start() -> Server {
    let nest = Nest::new("proftpd");
    let users = nest.write("users", &format!("{}\n", user_line(&nest)));
    // Active data connections come from the port below: it must be free too.
    let (port, implicit) = (*ports::block(2).end(), *ports::block(2).end());
    let folder = nest.folder.path().display();
    let common = common(&nest, &users.display().to_string());
    let text = format!(
        "ModulePath /usr/lib/proftpd\nLoadModule mod_tls.c\n\
         ServerName lockgate-test\nServerType standalone\nDefaultAddress 127.0.0.1\nUseIPv6 off\n\
         PidFile {folder}/pid\nScoreboardFile {folder}/scoreboard\n\
         User {OWNER}\nGroup {OWNER}\nWtmpLog off\nTransferLog none\n\
         SystemLog {log}\nMaxInstances 200\n\
         Port {port}\n{common}TLSRequired off\n\
         <VirtualHost 127.0.0.1>\nPort {implicit}\n{common}TLSOptions UseImplicitSSL\n\
         </VirtualHost>\n",
        log = nest.log.display(),
    );
    let file = nest.write("proftpd.conf", &text);
    let mut command = Command::new(program("proftpd"));
    let doors = Doors { clear: Some(port), implicit: Some(implicit), ssh: None };
    nest.start(command.arg("--nodaemon").arg("--config").arg(file), doors)
}

/// mod_sftp: an instance of its own, with the same users.
pub fn start_sftp() -> Server {
    let nest = Nest::new("proftpd-sftp");
    let users = nest.write("users", &format!("{}\n", user_line(&nest)));
    let port = ports::one();
    let folder = nest.folder.path().display();
    let host_keys: String =
        keys().host.iter().map(|key| format!("SFTPHostKey {}\n", key.display())).collect();
    // It wants public keys in RFC 4716's format.
    let key = nest.write("user.keys", &rfc4716());
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
        log = nest.log.display(),
        users = users.display(),
        key = key.display(),
    );
    let file = nest.write("proftpd.conf", &text);
    let mut command = Command::new(program("proftpd"));
    let doors = Doors { ssh: Some(port), ..Doors::default() };
    nest.start(command.arg("--nodaemon").arg("--config").arg(file), doors)
}

fn rfc4716() -> String {
    let line = public_line(&keys().user);
    let base64 = line.split(' ').nth(1).expect("a key");
    format!("---- BEGIN SSH2 PUBLIC KEY ----\n{base64}\n---- END SSH2 PUBLIC KEY ----\n")
}

/// What each virtual host wants said anew; without AuthOrder it would ask PAM first, for seconds.
fn common(nest: &Nest, users: &str) -> String {
    // It takes one at random, and answers 425 when two sessions take the same at once.
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
        nest.path("tls.log").display(),
    )
}

fn user_line(nest: &Nest) -> String {
    let home = nest.home.display();
    format!("{USER}:{}:{}:{}::{home}:/bin/false", crypt(), nest.owner.uid, nest.owner.gid)
}

/// The password as crypt(3) has it.
pub fn crypt() -> String {
    let mut command = Command::new("openssl");
    command.args(["passwd", "-6", "-salt", "lockgate", "-stdin"]);
    let output = run(&mut command, PASSWORD.as_bytes(), super::READY).expect_ok("openssl passwd");
    String::from_utf8(output.stdout).expect("a hash is ASCII").trim().to_owned()
}
