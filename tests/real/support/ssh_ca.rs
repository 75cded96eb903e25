//! A certificate authority of SSH: what ssh-keygen signs and revokes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::run;
use super::ssh::public;

/// An authority with a folder of its own.
pub struct Authority {
    folder: tempfile::TempDir,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for an authority");
        let key = folder.path().join("ca");
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "ca", "-f"], &key, &[]);
        Self { folder, key }
    }

    /// The public key, for `trusted_user_ca_keys`.
    pub fn public(&self) -> PathBuf {
        public(&self.key)
    }

    /// `@cert-authority` for these names.
    pub fn known_hosts(&self, names: &str) -> String {
        let key = std::fs::read_to_string(self.public()).expect("a public key");
        format!("@cert-authority {names} {key}")
    }

    /// A certificate of `key`: the file. `arguments` are ssh-keygen's, such as `-n NAME`. The name of the file is
    /// not that which clients look for beside the key.
    pub fn sign(&self, name: &str, key: &Path, arguments: &[&str]) -> PathBuf {
        let copy = self.folder.path().join(format!("{name}.pub"));
        std::fs::copy(public(key), &copy).expect("copying a public key");
        let ca = self.key.display().to_string();
        let all = [&["-q", "-s", &ca, "-I", name][..], arguments].concat();
        keygen(&all, &copy, &[]);
        self.folder.path().join(format!("{name}-cert.pub"))
    }

    /// A key revocation list of ssh-keygen by this specification (ssh-keygen(1), KEY REVOCATION LISTS).
    pub fn revocation_list(&self, specification: &str) -> PathBuf {
        let (list, text) = (self.folder.path().join("krl"), self.folder.path().join("krl.txt"));
        std::fs::write(&text, specification).expect("writing a specification");
        let ca = self.public().display().to_string();
        keygen(&["-q", "-k", "-s", &ca, "-f"], &list, &[&text.display().to_string()]);
        list
    }
}

fn keygen(arguments: &[&str], path: &Path, more: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).arg(path).args(more);
    run(&mut command, b"", Duration::from_secs(20)).expect_ok("ssh-keygen");
}
