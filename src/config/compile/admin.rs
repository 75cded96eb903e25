use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::config::report::{At, Problems};
use crate::config::schema::File;
use crate::config::surroundings::Surroundings;

/// The longest path of a Unix socket, in bytes: unix(7).
const LONGEST: usize = 107;

pub(super) fn compile(
    file: &File,
    folder: &Path,
    surroundings: &Surroundings,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let leaf = file.admin.as_ref()?.socket.as_ref()?;
    let path = folder.join(&leaf.value.as_ref()?.0);
    check_length(&path, &leaf.at, problems);
    check_place(&path, &leaf.at, surroundings, problems);
    Some(path)
}

fn check_length(path: &Path, at: &At, problems: &mut Problems) {
    let length = path.as_os_str().as_bytes().len();
    if length > LONGEST {
        let message = format!(
            "{} has {length} bytes, and the path of a Unix socket has {LONGEST} at most: choose a \
             shorter one, such as /run/lockgate/admin.sock",
            path.display()
        );
        problems.error(at, message);
    }
}

fn check_place(path: &Path, at: &At, surroundings: &Surroundings, problems: &mut Problems) {
    if let Ok(there) = fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            let shown = path.display();
            let message =
                format!("{shown} is there and is no socket: remove it or choose another path");
            problems.error(at, message);
        }
        return;
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => return,
    };
    let shown = folder.display();
    match fs::metadata(folder) {
        Ok(there) if there.is_dir() => {}
        Ok(_) => problems.error(at, format!("{shown} is no folder: choose another path")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!(
                "there is no folder {shown}, and the gateway makes none and does not start without: \
                 make it, or let the service manager (systemd: `RuntimeDirectory=`)"
            );
            match surroundings.runs_here {
                true => problems.error(at, message),
                // Folders in /run are often made just before the gateway starts.
                false => problems.warning(at, message),
            }
        }
        // Maybe the gateway's user may look there.
        Err(_) => {}
    }
}
