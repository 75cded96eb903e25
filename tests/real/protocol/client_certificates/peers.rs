//! Real clients with certificates.

use std::path::Path;
use std::process::Command;

use super::start;
use crate::support::client_pki::{ClientCa, Identity};
use crate::support::clients::curl::{CurlOptions, curl, url};
use crate::support::clients::lftp::lftp;
use crate::support::clients::{Site, TlsVersion, deadline};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::{DataMode, Tls, pattern};

const SITES: [(&str, Tls); 3] =
    [("required", Tls::Explicit), ("implicit", Tls::Implicit), ("optional", Tls::Explicit)];

/// alice needs no password.
fn site(port: u16, tls: Tls) -> Site {
    Site { user: "alice".into(), password: "none".into(), ..Site::new(port, tls) }
}

#[test]
fn curl_moves_files_with_a_certificate() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    let alice = ca.client("alice");
    let sent = fixture.folder.path().join("to-send");
    std::fs::write(&sent, pattern(200_000)).expect("writing a file");
    for (listener, tls) in SITES {
        for version in [TlsVersion::V12, TlsVersion::Newest] {
            let site = site(fixture.gateway.address(listener).port(), tls);
            let home = tempfile::tempdir().expect("a client's home");
            let options = CurlOptions { data: DataMode::Epsv, tls: version };
            let make = || {
                let mut command = curl(&site, options, home.path());
                command.arg("--cert").arg(&alice.certificate).arg("--key").arg(&alice.key);
                command
            };
            let path = url(&site, "by-curl");
            let mut upload = make();
            upload.arg("--upload-file").arg(&sent).arg(&path);
            run(&mut upload, b"", deadline()).expect_ok("curl");
            let read = run(make().arg(&path), b"", deadline()).expect_ok("curl");
            assert!(read.stdout == pattern(200_000), "{listener}");
            let mut without = curl(&site, options, home.path());
            assert!(!run(without.arg(&path), b"", deadline()).ok(), "{listener}");
        }
    }
}

#[test]
fn lftp_moves_files_with_a_certificate() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    let alice = ca.client("alice");
    let folder = tempfile::tempdir().expect("a client's folder");
    std::fs::write(folder.path().join("sent"), pattern(200_000)).expect("writing a file");
    for (listener, tls) in SITES {
        for version in [TlsVersion::V12, TlsVersion::Newest] {
            let site = site(fixture.gateway.address(listener).port(), tls);
            let script = format!(
                "set ssl:cert-file {}\nset ssl:key-file {}\nput sent -o by-lftp\n\
                 get by-lftp -o received\ncls -1",
                alice.certificate.display(),
                alice.key.display()
            );
            let _ = std::fs::remove_file(folder.path().join("received"));
            let output = lftp(&site, version, folder.path(), &script).expect_ok("lftp");
            assert!(String::from_utf8_lossy(&output.stdout).contains("by-lftp"), "{listener}");
            let received = std::fs::read(folder.path().join("received")).expect("the file");
            assert!(received == pattern(200_000), "{listener}");
        }
    }
}

#[test]
fn ftplib_moves_files_with_a_certificate() {
    let ca = ClientCa::new("partners");
    let fixture = start(&ca, "");
    let port = fixture.gateway.address("required").port();
    let script = |identity: &Identity, user: &str, password: &str| {
        let mut command = Command::new("/usr/bin/python3");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/clients/certificate.py"));
        command.arg(port.to_string()).arg(&pki().ca).arg(&identity.certificate).arg(&identity.key);
        run(command.args([user, password]), b"", deadline())
    };
    script(&ca.client("alice"), "alice", "").expect_ok("ftplib");
    script(&ca.client("bob"), "bob", crate::support::PASSWORD).expect_ok("ftplib");
    let other = script(&ca.client("bob"), "alice", crate::support::PASSWORD);
    assert!(!other.ok() && other.describe().contains("530"), "{}", other.describe());
}
