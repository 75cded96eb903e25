//! PuTTY's psftp.

use std::path::Path;

use super::{SftpSite, client, deadline};
use crate::support::process::{Output, run};

/// PuTTY's sftp with a batch of commands; the server's host key is given on the command line.
pub fn psftp(site: &SftpSite, folder: &Path, batch: &str) -> Output {
    let mut command = client("psftp", folder);
    command.args(["-batch", "-P", &site.port.to_string(), "-l", &site.user]);
    command.args(["-pw", &site.password, "-b", "/dev/stdin"]);
    for fingerprint in &site.fingerprints {
        command.args(["-hostkey", fingerprint]);
    }
    run(command.arg("127.0.0.1"), batch.as_bytes(), deadline())
}
