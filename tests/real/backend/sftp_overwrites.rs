//! Files that SFTP clients overwrite without truncation, on real FTP servers.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SERVERS, server};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::{remote, scp};
use crate::support::clients::paramiko::script;
use crate::support::gateway::Gateway;
use crate::support::pattern;
use crate::support::servers::endpoint;

const OLD: usize = 200_000;

struct Folder {
    disk: PathBuf,
    /// The path for clients.
    name: String,
    gateway: Gateway,
}

impl Folder {
    /// With a file `old` that only this test writes to.
    fn new(backend: &'static str, test: &str, settings: &str) -> Self {
        let home = endpoint(backend).home;
        let name = format!("/{test}-{backend}");
        let disk = home.join(&name[1..]);
        std::fs::create_dir(&disk).expect("making a folder");
        let owner = std::fs::metadata(home).expect("the home");
        let give = |path: &Path| chown(path, Some(owner.uid()), Some(owner.gid())).expect("giving");
        give(&disk);
        let old = disk.join("old");
        std::fs::write(&old, pattern(OLD)).expect("writing a file");
        give(&old);
        std::fs::set_permissions(&old, PermissionsExt::from_mode(0o640)).expect("a mode");
        let gateway = Gateway::start(&format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             backends:\n  back: {{ protocol: ftp, {}{settings} }}\n\
             routes:\n  - {{ authenticate: backend, backend: back }}\n",
            host_keys(),
            server(&endpoint(backend)),
        ));
        Self { disk, name, gateway }
    }

    fn site(&self) -> SftpSite {
        SftpSite::new(self.gateway.address("front").port())
    }

    /// Writes to `old` from `offset` on; returns the client's result.
    fn write(&self, offset: usize, length: usize, cut: bool) -> Value {
        let site = self.site();
        let job = json!({
            "port": site.port, "user": site.user, "password": site.password,
            "path": format!("{}/old", self.name), "byte": 7,
            "offset": offset, "length": length, "cut": cut,
        });
        let output = script("sftp_overwrites.py", &job).expect_ok("paramiko");
        if cut { Value::Null } else { serde_json::from_slice(&output.stdout).expect("JSON") }
    }

    fn old(&self) -> Vec<u8> {
        std::fs::read(self.disk.join("old")).expect("the file")
    }

    /// Only the file, with this content and its old mode.
    fn check(&self, content: &[u8], what: &str) {
        let there = self.old();
        assert!(there == content, "{what}: {} bytes, not {}", there.len(), content.len());
        let mode = std::fs::metadata(self.disk.join("old")).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{what}");
        let names: Vec<_> = std::fs::read_dir(&self.disk)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["old"], "{what}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.disk);
    }
}

#[test]
fn scp_replaces_a_longer_and_a_shorter_file() {
    for name in SERVERS {
        let folder = Folder::new(name, "scp", "");
        let home = tempfile::tempdir().expect("a client's home");
        for length in [1000, 3_000_000, 70_000, 0] {
            let new: Vec<u8> = pattern(length + 1)[1..].to_vec();
            std::fs::write(home.path().join("new"), &new).expect("writing a file");
            std::fs::set_permissions(home.path().join("new"), PermissionsExt::from_mode(0o640))
                .expect("a mode");
            let site = folder.site();
            let to = remote(&site, &format!("{}/old", folder.name));
            scp(&site, home.path(), "new", &to).expect_ok(&format!("{name} {length}"));
            folder.check(&new, &format!("{name} {length}"));
        }
    }
}

#[test]
fn overwriting_the_start_keeps_the_tail() {
    for name in SERVERS {
        let folder = Folder::new(name, "head", "");
        let content = |head| [&vec![7; head][..], &pattern(OLD)[head..]].concat();
        for head in [512, 100_000] {
            assert_eq!(folder.write(0, head, false), "ok", "{name}");
            folder.check(&content(head), name);
        }
        // Where there is no other way, it is refused, and nothing is lost.
        assert_ne!(folder.write(1000, 10, false), "ok", "{name}");
        folder.check(&content(100_000), name);
        assert_eq!(folder.write(OLD, 1000, false), "ok", "{name}");
        folder.check(&[content(100_000), vec![7; 1000]].concat(), name);
    }
}

#[test]
fn a_tail_beyond_tail_copy_max_is_not_copied() {
    for name in ["vsftpd-plain", "proftpd-tls", "pureftpd-plain"] {
        let folder = Folder::new(name, "rest", ", tail_copy_max: 100KiB");
        // paramiko does not report the status of CLOSE.
        folder.write(0, 1000, false);
        let refused = |event: &Value| event["reason"].to_string().contains("tail_copy_max");
        let event = folder.gateway.await_log(refused, Duration::from_secs(20));
        assert_eq!(event["outcome"], "unsupported", "{name}");
        folder.check(&pattern(OLD), name);
        folder.write(0, 150_000, false);
        folder.check(&[&vec![7; 150_000][..], &pattern(OLD)[150_000..]].concat(), name);
    }
}

#[test]
fn a_client_that_disconnects_leaves_the_old_file() {
    for name in SERVERS {
        for partial in ["keep", "delete", "temporary-name"] {
            let settings = format!(", partial_uploads: {partial}");
            let folder = Folder::new(name, &format!("cut-{partial}"), &settings);
            folder.write(0, 150_000, true);
            let ended = |event: &Value| event["event"] == "session";
            folder.gateway.await_log(ended, Duration::from_secs(20));
            // The temporary file disappears when the server has noticed.
            let since = Instant::now();
            let only_old = || std::fs::read_dir(&folder.disk).expect("the folder").count() == 1;
            while !only_old() && since.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            folder.check(&pattern(OLD), &format!("{name} {partial}"));
        }
    }
}

#[test]
fn a_symlink_is_not_replaced() {
    for name in ["vsftpd-plain", "proftpd-plain", "pureftpd-plain"] {
        let folder = Folder::new(name, "link", "");
        symlink("old", folder.disk.join("link")).expect("a link");
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("new"), b"new").expect("writing a file");
        let site = folder.site();
        let output =
            scp(&site, home.path(), "new", &remote(&site, &format!("{}/link", folder.name)));
        assert!(!output.ok(), "{name}");
        let link = std::fs::symlink_metadata(folder.disk.join("link")).expect("the link");
        assert!(link.file_type().is_symlink(), "{name}");
        assert!(folder.old() == pattern(OLD), "{name}");
    }
}
