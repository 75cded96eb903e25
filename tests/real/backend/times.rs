//! Clients set times on real servers; each server has its own command for it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{SERVERS, gateway, server, sftp_server};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::{remote, scp, sftp};
use crate::support::clients::paramiko::script;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::servers::{endpoint, sftp_endpoint};
use crate::support::{PASSWORD, USER};

const TIME: i64 = 1_234_567_890;
/// [`TIME`] in FTP's format.
const TOLD: &str = "20090213233130";

/// A folder for this test, owned by the servers' user.
fn folder(home: &Path, name: &str) -> PathBuf {
    let folder = home.join(name);
    std::fs::create_dir(&folder).expect("making a folder");
    give(home, &folder);
    folder
}

fn give(home: &Path, path: &Path) {
    let owner = std::fs::metadata(home).expect("the home");
    chown(path, Some(owner.uid()), Some(owner.gid())).expect("giving a file away");
}

fn time_of(path: &Path) -> i64 {
    std::fs::metadata(path).expect("the file").mtime()
}

#[test]
fn openssh_preserves_times() {
    for name in SERVERS {
        let disk = folder(endpoint(name).home, &format!("kept-{name}"));
        let gateway = Gateway::start(&format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             backends:\n  back: {{ protocol: ftp, {} }}\n\
             routes:\n  - {{ authenticate: backend, backend: back }}\n",
            host_keys(),
            server(&endpoint(name)),
        ));
        let site = SftpSite::new(gateway.address("front").port());
        let home = tempfile::tempdir().expect("a client's home");
        let new = home.path().join("new");
        std::fs::write(&new, b"a few bytes").expect("writing a file");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME as u64);
        let file = std::fs::File::options().write(true).open(&new).expect("the file");
        file.set_modified(time).expect("setting the time");
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o640)).expect("a mode");
        let batch = format!("cd /kept-{name}\nput -p new first\nput -p new second\n");
        sftp(&site, home.path(), &batch, &[]).expect_ok(name);
        scp(&site, home.path(), "new", &remote(&site, &format!("/kept-{name}/third")))
            .expect_ok(name);
        for file in ["first", "second", "third"] {
            let file = disk.join(file);
            assert_eq!(time_of(&file), TIME, "{name}: {}", file.display());
            assert_eq!(std::fs::read(&file).expect("the file"), b"a few bytes");
        }
        std::fs::remove_dir_all(&disk).expect("removing the folder");
    }
}

#[test]
fn ftp_clients_set_times_with_every_command() {
    let mut backends: Vec<_> = ["vsftpd-plain", "proftpd-plain", "pureftpd-plain"]
        .map(|name| (name, server(&endpoint(name)), endpoint(name).home.to_owned()))
        .into();
    let sshd = sftp_endpoint("sshd");
    backends.push(("sshd", sftp_server(&sshd), sshd.home.to_owned()));
    for (name, keys, home) in backends {
        let disk = folder(&home, &format!("ways-{name}"));
        let gateway = gateway(&[("back", keys)]);
        let mut client = Raw::connect(gateway.address("back")).0;
        client.login(USER, PASSWORD);
        let inside = match name {
            "sshd" => disk.display().to_string(),
            _ => format!("/ways-{name}"),
        };
        client.expect(&format!("CWD {inside}"), 250);
        for (file, ask, code) in [
            ("mdtm", format!("MDTM {TOLD} mdtm"), 213),
            ("utime", format!("SITE UTIME {TOLD} utime"), 200),
            ("utc", format!("SITE UTIME utc {TOLD} {TOLD} {TOLD} UTC"), 200),
            ("mfmt", format!("MFMT {TOLD} mfmt"), 213),
            ("with blank", format!("MDTM {TOLD} with blank"), 213),
        ] {
            std::fs::write(disk.join(file), b"bytes").expect("writing a file");
            give(&home, &disk.join(file));
            client.expect(&ask, code);
            assert_eq!(time_of(&disk.join(file)), TIME, "{name}: {ask}");
            client.expect(&format!("MDTM {file}"), 213);
        }
        // MDTM for a file whose name starts with a time.
        let odd = format!("{TOLD} mdtm");
        std::fs::write(disk.join(&odd), b"odd").expect("writing a file");
        give(&home, &disk.join(&odd));
        let before = time_of(&disk.join(&odd));
        let other = std::fs::File::options().write(true).open(disk.join("mdtm")).expect("it");
        other.set_modified(SystemTime::UNIX_EPOCH).expect("setting the time");
        let text = client.expect(&format!("MDTM {odd}"), 213).text;
        assert!(!text.contains("time set"), "{name}: {text}");
        assert_eq!((time_of(&disk.join("mdtm")), time_of(&disk.join(&odd))), (0, before), "{name}");
        client.expect(&format!("MDTM {TOLD} none"), 550);
        // By now the gateway knows that times can be set.
        assert!(client.expect("FEAT", 211).text.contains("MFMT"), "{name}");
        std::fs::remove_dir_all(&disk).expect("removing the folder");
    }
}

#[test]
fn unsupported_attributes_are_ignored_and_counted_if_configured() {
    let name = "vsftpd-plain";
    let disk = folder(endpoint(name).home, "ignored");
    std::fs::create_dir(disk.join("sub")).expect("making a folder");
    give(endpoint(name).home, &disk.join("sub"));
    std::fs::write(disk.join("file"), b"bytes").expect("writing a file");
    give(endpoint(name).home, &disk.join("file"));
    for (policy, ok) in [("refuse", false), ("ignore", true)] {
        let gateway = Gateway::start(&format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             backends:\n  back: {{ protocol: ftp, {}, unsupported_attributes: {policy} }}\n\
             routes:\n  - {{ authenticate: backend, backend: back }}\n\
             metrics: {{ address: \"127.0.0.1:0\" }}\n",
            host_keys(),
            server(&endpoint(name)),
        ));
        let site = SftpSite::new(gateway.address("front").port());
        let job = json!({
            "port": site.port, "user": site.user, "password": site.password,
            "file": "/ignored/file", "folder": "/ignored/sub",
        });
        let output = script("sftp_attributes.py", &job).expect_ok("paramiko");
        let text: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let expected = json!({
            "owner": ok, "time": true, "time-of-folder": ok, "size": false, "absent": false,
        });
        assert_eq!(text, expected, "{policy}");
        for attribute in ["owner", "times"] {
            let series = format!(
                "lockgate_attributes_ignored_total{{attribute=\"{attribute}\",backend=\"back\"}}"
            );
            assert_eq!(gateway.metric(&series), ok.then_some(1), "{policy} {attribute}");
        }
        assert_eq!(time_of(&disk.join("file")), 1_234_567_890);
        assert_eq!(std::fs::read(disk.join("file")).expect("the file"), b"bytes");
    }
    std::fs::remove_dir_all(&disk).expect("removing the folder");
}
