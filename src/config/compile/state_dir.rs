//! Compiles `state_dir`.

use std::path::{Path, PathBuf};

use super::folders;
use crate::config::leaf::Leaf;
use crate::config::machine::Machine;
use crate::config::report::Problems;
use crate::config::schema::File;
use crate::config::values::PathName;
use crate::policy::limits::Limit;

/// The folder of `state_dir`, which must exist.
pub(super) fn compile(
    file: &File,
    folder: &Path,
    limits: &[Limit],
    machine: &Machine,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let Leaf { at, value: Some(PathName(given)) } = file.state_dir.as_ref()? else { return None };
    let path = folder.join(given);
    if !limits.iter().any(Limit::has_quota) && file.expect.is_none() {
        let message = "has no effect: no limit of `policy.limits` has bytes_per_day or files_per_day, \
                       which are kept there, and no files are expected (`expect`)";
        problems.warning(at, message);
    }
    let words = (
        "path",
        ": create it for the gateway's user, or let the service manager do so (systemd: \
         `StateDirectory=`)",
    );
    folders::check(&path, at, words, machine, problems);
    Some(path)
}
