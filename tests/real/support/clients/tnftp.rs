//! tnftp, the FTP client of the BSDs.

use std::path::Path;

use super::{Site, client, deadline};
use crate::support::process::{Output, run};

/// Runs a script of tnftp's commands after its login, in `folder`. Its exit status is always 0:
/// check the files.
pub fn tnftp(site: &Site, folder: &Path, script: &str) -> Output {
    let text = format!("user {} {}\nbinary\n{script}\nbye\n", site.user, site.password);
    let mut command = client("tnftp", folder);
    // No auto-login, no prompts, no progress bar; replies are shown.
    command.args(["-n", "-i", "-v", "127.0.0.1", &site.port.to_string()]);
    run(&mut command, text.as_bytes(), deadline())
}
