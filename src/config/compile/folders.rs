//! Folders that must exist when the gateway starts.

use std::fs;
use std::io;
use std::path::Path;

use crate::config::machine::Machine;
use crate::config::report::{Location, Problems};

/// Reports a path that is not a folder. A folder that does not exist is an error for a gateway that runs here,
/// otherwise a warning: folders in /run are often created just before the gateway starts. `consequence` follows
/// "does not exist". Returns whether it is there, as far as this user can see.
pub(super) fn check(
    folder: &Path,
    at: &Location,
    (choose, consequence): (&str, &str),
    machine: &Machine,
    problems: &mut Problems,
) -> bool {
    let shown = folder.display();
    match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return true,
        Ok(_) => problems.error(at, format!("{shown} is not a folder: choose another {choose}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("the folder {shown} does not exist{consequence}");
            if machine.runs_here {
                problems.error(at, message);
            } else {
                problems.warning(at, message);
            }
        }
        // The gateway's user may have access.
        Err(_) => {}
    }
    false
}

/// The folder of a file; `None` for the current one.
pub(super) fn of(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}
