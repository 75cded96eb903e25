//! NcFTP: ncftpput, ncftpget and ncftpls.

use std::path::Path;
use std::process::Command;

use super::{Site, client, deadline};
use crate::support::process::{Output, run};

/// Uploads a file into a remote folder.
pub fn put(site: &Site, folder: &str, file: &Path) -> Output {
    with_home("ncftpput", site, |command| {
        command.args(["127.0.0.1", folder]).arg(file);
    })
}

/// Returns the file's bytes as standard output.
pub fn get(site: &Site, path: &str) -> Output {
    with_home("ncftpget", site, |command| {
        command.args(["-c", "127.0.0.1", path]);
    })
}

pub fn list(site: &Site, folder: &str) -> Output {
    with_home("ncftpls", site, |command| {
        command.arg(format!("ftp://127.0.0.1/{folder}/"));
    })
}

fn with_home(program: &str, site: &Site, arguments: impl FnOnce(&mut Command)) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    let mut command = client(program, home.path());
    command.args(["-u", &site.user, "-p", &site.password, "-P", &site.port.to_string()]);
    command.args(["-t", "15"]);
    arguments(&mut command);
    run(&mut command, b"", deadline())
}
