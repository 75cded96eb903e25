//! lftp over FTP and SFTP.

use std::path::Path;

use super::{SftpSite, Site, TlsVersion, client, deadline};
use crate::support::Tls;
use crate::support::pki::pki;
use crate::support::process::{Output, run};

/// Runs a script of lftp's commands after its login, in `folder`.
pub fn lftp(site: &Site, tls: TlsVersion, folder: &Path, script: &str) -> Output {
    let scheme = if site.tls == Tls::Implicit { "ftps" } else { "ftp" };
    let forced = site.tls != Tls::None;
    let priority = match tls {
        TlsVersion::V12 => "set ssl:priority NORMAL:-VERS-TLS1.3",
        TlsVersion::Newest => "",
    };
    let text = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 15\nset dns:order inet\n\
         set ssl:ca-file {}\nset ssl:verify-certificate yes\nset ftp:ssl-allow {forced}\n\
         set ftp:ssl-force {forced}\nset ftp:ssl-protect-data {forced}\n\
         {priority}\nopen -u {},{} -p {} {scheme}://localhost\n{script}\nbye\n",
        pki().ca.display(),
        site.user,
        site.password,
        site.port,
    );
    let mut command = client("lftp", folder);
    run(command.args(["--norc", "-f", "/dev/stdin"]), text.as_bytes(), deadline())
}

/// The same over SFTP: lftp starts OpenSSH's ssh.
pub fn lftp_sftp(site: &SftpSite, folder: &Path, script: &str) -> Output {
    const SSH: &str = "ssh -a -x -F /dev/null -o StrictHostKeyChecking=no \
                       -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
    let text = format!(
        "set cmd:fail-exit yes\nset net:max-retries 1\nset net:timeout 15\nset dns:order inet\n\
         set sftp:connect-program \"{SSH}\"\nset sftp:auto-confirm yes\n\
         open -u {},{} -p {} sftp://127.0.0.1\n{script}\nbye\n",
        site.user, site.password, site.port,
    );
    let mut command = client("lftp", folder);
    run(command.args(["--norc", "-f", "/dev/stdin"]), text.as_bytes(), deadline())
}
