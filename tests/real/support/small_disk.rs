//! A small file system in memory. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, until the end of the test.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// Mounts it as the folder `small` of `folder`. `size`: in bytes.
    pub fn mount(folder: &Path, size: usize) -> Self {
        let path = folder.join("small");
        std::fs::create_dir(&path).expect("making a folder");
        let options = format!("size={size},mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
        assert!(mount.status().expect("running mount").success(), "{mount:?} needs root");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{:?} stays mounted", self.0);
        }
    }
}
