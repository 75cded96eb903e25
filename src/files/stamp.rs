//! Which version of a file it is, to notice that it has changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Mode, user and group. Not the time of their change: the kubelet sets the owner of mounted files again and
    /// again.
    access: (u32, u32, u32),
}

impl FileStamp {
    /// Of the file as it is now. Follows symlinks: Kubernetes changes a mounted file by a symlink to another
    /// folder.
    ///
    /// # Errors
    /// When there is no such file, or it may not be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            access: (metadata.mode(), metadata.uid(), metadata.gid()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn other_content_or_access_is_another_stamp_and_a_touched_owner_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "one").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let stamp = FileStamp::of(&file).unwrap();
        let owner = fs::metadata(&file).unwrap();
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(FileStamp::of(&file).unwrap(), stamp);
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert_ne!(FileStamp::of(&file).unwrap(), stamp);
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.path().join("new"), "two").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert_ne!(FileStamp::of(&file).unwrap(), stamp);
    }
}
