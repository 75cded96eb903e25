//! Who is let in at the SFTP front (RFC 4252, RFC 4256), and for how long one may try.

use serde_json::json;

use crate::support::clients::SftpSite;
use crate::support::clients::openssh::{persistent_sftp, sftp};
use crate::support::process::Output;
use crate::support::sftp_lock::{SftpLock, SftpPlan, comes_true};
use crate::support::ssh::{keys, public};

fn pwd(site: &SftpSite, more: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    sftp(site, home.path(), "pwd\n", more)
}

#[test]
fn passwords() {
    let lock = SftpPlan::default().start();
    lock.scenario(
        "logins",
        json!({ "methods": ["publickey", "password", "keyboard-interactive"] }),
    );
    let wrong = SftpSite { password: "wrong".to_owned(), ..lock.site() };
    let output = pwd(&wrong, &[]);
    assert!(!output.ok() && output.stdout.is_empty(), "{}", output.describe());
    let home = tempfile::tempdir().expect("a client's home");
    let (output, asked) = persistent_sftp(&lock.site(), home.path(), 1);
    output.expect_ok("the right password behind a wrong one");
    assert_eq!(asked, 2);
    let asked = ["-o", "PreferredAuthentications=keyboard-interactive"];
    pwd(&lock.site(), &asked).expect_ok("keyboard-interactive");
    lock.at_rest();
}

fn with_keys() -> SftpLock {
    let user = format!(", authorized_keys: {}", public(&keys().user).display());
    SftpPlan { user: &user, ..SftpPlan::default() }.start()
}

#[test]
fn public_keys() {
    let lock = with_keys();
    let with = |key: &std::path::Path| SftpSite { key: Some(key.to_owned()), ..lock.site() };
    pwd(&with(&keys().user), &[]).expect_ok("a key that is known");
    let output = pwd(&with(&keys().stranger), &[]);
    assert!(!output.ok(), "a stranger was let in: {}", output.describe());
    let nobody = SftpSite { user: "nobody-here".to_owned(), ..with(&keys().user) };
    assert!(!pwd(&nobody, &[]).ok(), "a stranger's name was let in with a user's key");
    pwd(&lock.site(), &[]).expect_ok("the password still works");
    lock.at_rest();
}

/// The client chooses among the keys of the server.
#[test]
fn host_keys_of_each_kind() {
    let lock = SftpPlan::default().start();
    for kind in ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"] {
        pwd(&lock.site(), &["-o", &format!("HostKeyAlgorithms={kind}")]).expect_ok(kind);
    }
    let output = pwd(&lock.site(), &["-o", "HostKeyAlgorithms=ssh-rsa"]);
    assert!(!output.ok(), "SHA-1 is not for a listener: {}", output.describe());
}

#[test]
fn algorithms() {
    let lock = SftpPlan::default().start();
    lock.put("file", vec![7; 3 << 20]);
    // A cipher with a MAC of its own would leave a MAC unused.
    const PLAIN: &str = "Ciphers=aes128-ctr";
    let moved = |options: [&str; 2]| {
        let home = tempfile::tempdir().expect("a client's home");
        let more = ["-o", options[0], "-o", options[1]];
        sftp(&lock.site(), home.path(), "get file\nput file again\n", &more)
    };
    for option in [
        "KexAlgorithms=curve25519-sha256",
        "KexAlgorithms=ecdh-sha2-nistp256",
        "Ciphers=aes128-gcm@openssh.com",
        "Ciphers=aes256-gcm@openssh.com",
        "Ciphers=chacha20-poly1305@openssh.com",
        "Ciphers=aes256-ctr",
        "MACs=hmac-sha2-256-etm@openssh.com",
        "MACs=hmac-sha2-512-etm@openssh.com",
        "MACs=hmac-sha2-256",
    ] {
        moved([option, PLAIN]).expect_ok(option);
        assert_eq!(lock.get("again"), lock.get("file"), "{option}");
    }
    for option in
        ["Ciphers=aes128-cbc", "KexAlgorithms=diffie-hellman-group14-sha1", "MACs=hmac-sha1"]
    {
        let output = moved([option, PLAIN]);
        assert!(!output.ok(), "{option} is not for a listener: {}", output.describe());
    }
}

#[test]
fn attempts_are_counted() {
    let limits = "login_attempts: 3, sessions_per_address: 100";
    let lock = SftpPlan { limits, ..SftpPlan::default() }.start();
    let home = tempfile::tempdir().expect("a client's home");
    let (output, asked) = persistent_sftp(&lock.site(), home.path(), 3);
    assert!(!output.ok(), "the right password came too late: {}", output.describe());
    // The client may ask its user once more before it hears that the connection is over.
    assert!((3..=4).contains(&asked), "asked {asked} times");
    lock.at_rest();
}

#[test]
fn login_grace_time() {
    let limits = "login_timeout: 2s, sessions_per_address: 100";
    let lock = SftpPlan { limits, ..SftpPlan::default() }.start();
    lock.scenario("grace", json!({ "grace": 2 }));
    lock.at_rest();
}

#[test]
fn sessions_per_address() {
    let lock = SftpPlan { limits: "sessions_per_address: 1", ..SftpPlan::default() }.start();
    let held = std::net::TcpStream::connect(lock.gateway.address("front")).expect("a connection");
    assert!(
        comes_true(|| !pwd(&lock.site(), &[]).ok()),
        "a second connection from one address was let in"
    );
    drop(held);
    assert!(comes_true(|| pwd(&lock.site(), &[]).ok()), "no seat came back");
}
