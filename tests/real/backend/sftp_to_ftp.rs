//! Links and permissions that FTP shows only in listings, for OpenSSH's sftp with real FTP servers.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::{SERVERS, server};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::clients::paramiko::script;
use crate::support::gateway::Gateway;
use crate::support::pattern;
use crate::support::servers::endpoint;

/// A folder for this test, owned by the servers' user.
fn folder(home: &Path, name: &str) -> PathBuf {
    let folder = home.join(name);
    std::fs::create_dir(&folder).expect("making a folder");
    let owner = std::fs::metadata(home).expect("the home");
    chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("giving a folder away");
    folder
}

fn before(name: &'static str) -> Gateway {
    Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back: {{ protocol: ftp, {} }}\n\
         routes:\n  - {{ authenticate: backend, backend: back }}\n\
         limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n",
        host_keys(),
        server(&endpoint(name)),
    ))
}

#[test]
fn links_are_followed() {
    for name in SERVERS {
        let disk = folder(endpoint(name).home, &format!("links-{name}"));
        let inside = folder(&disk, "inside");
        std::fs::write(inside.join("file"), pattern(5000)).expect("writing a file");
        symlink("inside/file", disk.join("to-file")).expect("a link");
        symlink("inside", disk.join("to-folder")).expect("a link");
        let gateway = before(name);
        let site = SftpSite::new(gateway.address("front").port());
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("own"), b"own").expect("writing a file");
        for listed in ["", "ls -la\n"] {
            let batch = format!(
                "cd /links-{name}\n{listed}get to-file got\nget -r to-folder copy\nput own to-folder\n\
                 cd to-folder\nrm own\n"
            );
            sftp(&site, home.path(), &batch, &[]).expect_ok(name);
            for got in ["got", "copy/file"] {
                let got = std::fs::read(home.path().join(got)).expect("the file");
                assert!(got == pattern(5000), "{name}: {} bytes", got.len());
            }
            std::fs::remove_dir_all(home.path().join("copy")).expect("the copy");
        }
        std::fs::remove_dir_all(&disk).expect("removing the folder");
    }
}

#[test]
fn a_private_file_stays_private() {
    for name in SERVERS {
        let disk = folder(endpoint(name).home, &format!("private-{name}"));
        let gateway = before(name);
        let site = SftpSite::new(gateway.address("front").port());
        let home = tempfile::tempdir().expect("a client's home");
        for (file, mode) in [("key", 0o600), ("shown", 0o644)] {
            let file = home.path().join(file);
            std::fs::write(&file, b"a few bytes").expect("writing a file");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("a mode");
        }
        // Where the time cannot be set, the client reports it and goes on.
        let batch = format!("cd /private-{name}\nput key\nput shown\n-put -p key with-time\n");
        sftp(&site, home.path(), &batch, &[]).expect_ok(name);
        for (file, mode) in [("key", 0o600), ("shown", 0o644), ("with-time", 0o600)] {
            let there = std::fs::metadata(disk.join(file)).expect("the file");
            assert_eq!(there.permissions().mode() & 0o777, mode, "{name}: {file}");
            assert_eq!(there.len(), 11);
        }
        std::fs::remove_dir_all(&disk).expect("removing the folder");
    }
}

/// vsftpd has no MLST: only LIST lines have a file's mode.
#[test]
fn ls_of_one_file_shows_its_mode() {
    const FILES: [(&str, u32, &str); 5] = [
        ("run.sh", 0o755, "-rwxr-xr-x"),
        ("data", 0o640, "-rw-r-----"),
        (".hidden", 0o600, "-rw-------"),
        ("with blank", 0o751, "-rwxr-x--x"),
        ("copy [1]", 0o664, "-rw-rw-r--"),
    ];
    for name in SERVERS {
        let disk = folder(endpoint(name).home, &format!("modes-{name}"));
        let owner = std::fs::metadata(&disk).expect("the folder");
        for (file, mode, _) in FILES {
            let file = disk.join(file);
            std::fs::write(&file, b"a few bytes").expect("writing a file");
            chown(&file, Some(owner.uid()), Some(owner.gid())).expect("giving a file away");
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).expect("a mode");
        }
        let gateway = before(name);
        let site = SftpSite::new(gateway.address("front").port());
        for (file, mode, shown) in FILES {
            let home = tempfile::tempdir().expect("a client's home");
            let batch = format!("cd /modes-{name}\nls -l \"{file}\"\nget -p \"{file}\" got\n");
            let output = sftp(&site, home.path(), &batch, &[]).expect_ok(name);
            let output = String::from_utf8_lossy(&output.stdout);
            assert!(output.lines().any(|line| line.starts_with(shown)), "{name}: {file}\n{output}");
            let got = std::fs::metadata(home.path().join("got")).expect("the file");
            assert_eq!(got.permissions().mode() & 0o777, mode, "{name}: {file}");
        }
        let paths = FILES.map(|(file, ..)| format!("/modes-{name}/{file}"));
        let output = modes(&site, &paths, &format!("/modes-{name}"));
        for (path, (_, mode, _)) in paths.iter().zip(FILES) {
            let mode = 0o100_000 | mode;
            assert_eq!(output[path], serde_json::json!([mode, mode, mode]), "{name}: {path}");
        }
        std::fs::remove_dir_all(&disk).expect("removing the folder");
    }
}

/// `*` is a pattern for some servers, so the gateway sends no STAT for such names.
#[test]
fn an_unknown_mode_is_omitted() {
    let name = "vsftpd-plain";
    let disk = folder(endpoint(name).home, "unknown-modes");
    std::fs::write(disk.join("x*"), b"a few bytes").expect("writing a file");
    std::fs::set_permissions(disk.join("x*"), PermissionsExt::from_mode(0o755)).expect("a mode");
    let gateway = before(name);
    let site = SftpSite::new(gateway.address("front").port());
    let path = "/unknown-modes/x*".to_owned();
    let output = modes(&site, std::slice::from_ref(&path), "/unknown-modes");
    assert_eq!(output[&path], serde_json::json!([null, null, null]));
    let home = tempfile::tempdir().expect("a client's home");
    let batch = "cd /unknown-modes\nls -l x\\*\nget x\\* got\n";
    let output = sftp(&site, home.path(), batch, &[]).expect_ok(name);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("?---------"), "{shown}");
    assert_eq!(std::fs::read(home.path().join("got")).expect("the file"), b"a few bytes");
    std::fs::remove_dir_all(&disk).expect("removing the folder");
}

/// paramiko's results of STAT, LSTAT and FSTAT of each path, and of READDIR of a folder.
fn modes(site: &SftpSite, paths: &[String], folder: &str) -> serde_json::Value {
    let job = serde_json::json!({
        "port": site.port, "user": site.user, "password": site.password,
        "paths": paths, "folder": folder,
    });
    let output = script("sftp_stat.py", &job).expect_ok("paramiko");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
