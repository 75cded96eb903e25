//! File attributes (draft-ietf-secsh-filexfer-02 section 5).

use std::fs::{File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh_sftp::protocol::FileAttributes;

/// The permission bits of `st_mode`.
pub const MODE: u32 = 0o7777;

/// Sets the attributes that are present.
pub fn set(file: &File, attributes: &FileAttributes) -> io::Result<()> {
    if let Some(size) = attributes.size {
        file.set_len(size)?;
    }
    fchown(file, attributes.uid, attributes.gid)?;
    if let Some(mode) = attributes.permissions {
        file.set_permissions(Permissions::from_mode(mode & MODE))?;
    }
    if let (Some(accessed), Some(modified)) = (attributes.atime, attributes.mtime) {
        let times = FileTimes::new().set_accessed(time(accessed)).set_modified(time(modified));
        file.set_times(times)?;
    }
    Ok(())
}

fn time(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.into())
}
