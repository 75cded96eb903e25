//! Compiles `admin`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::folders;
use crate::config::machine::Machine;
use crate::config::report::{Location, Problems};
use crate::config::schema::File;

/// In bytes: unix(7).
const SOCKET_PATH_MAX: usize = 107;

pub(super) fn compile(
    file: &File,
    folder: &Path,
    machine: &Machine,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let leaf = file.admin.as_ref()?.socket.as_ref()?;
    let path = folder.join(&leaf.value.as_ref()?.0);
    check_length(&path, &leaf.at, problems);
    check_path(&path, &leaf.at, machine, problems);
    Some(path)
}

fn check_length(path: &Path, at: &Location, problems: &mut Problems) {
    let length = path.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_MAX {
        let message = format!(
            "{} has {length} bytes, but the path of a Unix socket has at most {SOCKET_PATH_MAX}: choose \
             a shorter one, such as /run/lockgate/admin.sock",
            path.display()
        );
        problems.error(at, message);
    }
}

fn check_path(path: &Path, at: &Location, machine: &Machine, problems: &mut Problems) {
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            let shown = path.display();
            let message =
                format!("{shown} exists and is not a socket: remove it or choose another path");
            problems.error(at, message);
        }
        return;
    }
    let words = (
        "path",
        ", and the gateway does not start without it: create it, or let the service manager do so \
         (systemd: `RuntimeDirectory=`)",
    );
    if let Some(folder) = folders::of(path) {
        folders::check(folder, at, words, machine, problems);
    }
}
