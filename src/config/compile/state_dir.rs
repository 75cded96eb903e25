//! `state_dir`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::leaf::Leaf;
use crate::config::machine::Machine;
use crate::config::report::{Location, Problems};
use crate::config::schema::File;
use crate::config::values::FileName;
use crate::policy::limits::Limit;

/// The folder of `state_dir`, which must exist.
pub(super) fn compile(
    file: &File,
    folder: &Path,
    limits: &[Limit],
    machine: &Machine,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let Leaf { at, value: Some(FileName(given)) } = file.state_dir.as_ref()? else { return None };
    let path = folder.join(given);
    if !limits.iter().any(Limit::has_quota) {
        let message = "has no effect: no limit of `policy.limits` has bytes_per_day or files_per_day, \
                       which are kept there";
        problems.warning(at, message);
    }
    check_folder(&path, at, machine, problems);
    Some(path)
}

fn check_folder(path: &Path, at: &Location, machine: &Machine, problems: &mut Problems) {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => problems.error(at, format!("{shown} is not a folder: choose another path")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!(
                "the folder {shown} does not exist: create it for the gateway's user, or let the \
                 service manager do so (systemd: `StateDirectory=`)"
            );
            if machine.runs_here {
                problems.error(at, message);
            } else {
                problems.warning(at, message);
            }
        }
        // The gateway's user may have access.
        Err(_) => {}
    }
}
