//! Logins at the SFTP front (RFC 4252, RFC 4256), and the login timeout.

use serde_json::{Value, json};

use crate::support::clients::SftpSite;
use crate::support::clients::openssh::{persistent_sftp, sftp};
use crate::support::process::Output;
use crate::support::sftp_fixture::{SftpFixture, SftpPlan};
use crate::support::ssh::{fingerprint, keys, public};
use crate::support::wait::becomes_true;
use crate::support::{USER, pattern};

use super::TIMEOUT;

fn pwd(site: &SftpSite, more: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    sftp(site, home.path(), "pwd\n", more)
}

#[test]
fn the_right_password_logs_in_and_a_wrong_one_is_refused() {
    let fixture = SftpPlan::default().start();
    fixture.scenario("logins", json!({ "methods": ["password", "keyboard-interactive"] }));
    let wrong = SftpSite { password: "wrong".to_owned(), ..fixture.site() };
    let output = pwd(&wrong, &[]);
    assert!(!output.ok() && output.stdout.is_empty(), "{}", output.describe());
    let home = tempfile::tempdir().expect("a client's home");
    let (output, prompts) = persistent_sftp(&fixture.site(), home.path(), 1);
    output.expect_ok("the right password after a wrong one");
    assert_eq!(prompts, 2);
    let options = ["-o", "PreferredAuthentications=keyboard-interactive"];
    pwd(&fixture.site(), &options).expect_ok("keyboard-interactive");
    fixture.await_no_session();
}

fn with_keys() -> SftpFixture {
    let user = format!(", authorized_keys: {}", public(&keys().user).display());
    SftpPlan { user: &user, ..SftpPlan::default() }.start()
}

#[test]
fn a_listed_key_logs_in_and_others_are_refused() {
    let fixture = with_keys();
    let with = |key: &std::path::Path| SftpSite { key: Some(key.to_owned()), ..fixture.site() };
    pwd(&with(&keys().user), &[]).expect_ok("a key that is known");
    let output = pwd(&with(&keys().stranger), &[]);
    assert!(!output.ok(), "a stranger was let in: {}", output.describe());
    let unknown_user = SftpSite { user: "nobody-here".to_owned(), ..with(&keys().user) };
    assert!(!pwd(&unknown_user, &[]).ok(), "an unknown user logged in with a user's key");
    for (user, key, reason) in [
        (USER, &keys().stranger, "the key is in none of the user's authorized_keys"),
        ("nobody-here", &keys().user, "unknown user"),
    ] {
        let refused = |line: &Value| {
            line["event"] == "key-offer"
                && line["user"] == user
                && line["fingerprint"] == fingerprint(key)
                && line["detail"] == reason
        };
        fixture.gateway.await_log(refused, TIMEOUT);
    }
    let series = "lockgate_logins_total{listener=\"front\",outcome=\"key-refused\"}";
    assert_eq!(fixture.gateway.metric(series), Some(2));
    pwd(&fixture.site(), &[]).expect_ok("the password still works");
    fixture.await_no_session();
}

/// Uses the tests' RSA host key as a user key.
#[test]
fn a_users_rsa_key_signs_with_sha_2() {
    let key = &keys().host[2];
    let user = format!(", authorized_keys: {}", public(key).display());
    let fixture = SftpPlan { user: &user, ..SftpPlan::default() }.start();
    fixture.scenario("old-signature", json!({ "key": key }));
    fixture.await_no_session();
}

/// The client chooses among the keys of the server.
#[test]
fn the_client_chooses_the_kind_of_host_key() {
    let fixture = SftpPlan::default().start();
    for kind in ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"] {
        pwd(&fixture.site(), &["-o", &format!("HostKeyAlgorithms={kind}")]).expect_ok(kind);
    }
    let output = pwd(&fixture.site(), &["-o", "HostKeyAlgorithms=ssh-rsa"]);
    assert!(!output.ok(), "SHA-1 is not for a listener: {}", output.describe());
}

#[test]
fn the_negotiated_algorithms_are_as_configured() {
    let fixture = SftpPlan::default().start();
    // A cipher with a MAC of its own would leave a MAC unused.
    const PLAIN: &str = "Ciphers=aes128-ctr";
    let moved = |options: [&str; 2]| {
        let home = tempfile::tempdir().expect("a client's home");
        let more = ["-o", options[0], "-o", options[1]];
        sftp(&fixture.site(), home.path(), "get file\nput file again\n", &more)
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
        // Different bytes each time, never those left from the time before.
        let _ = std::fs::remove_file(fixture.path("again"));
        let bytes = [option.as_bytes(), &pattern(3 << 20)].concat();
        fixture.put("file", &bytes);
        moved([option, PLAIN]).expect_ok(option);
        assert!(fixture.get("again") == bytes, "{option}: the bytes differ");
    }
    for option in
        ["Ciphers=aes128-cbc", "KexAlgorithms=diffie-hellman-group14-sha1", "MACs=hmac-sha1"]
    {
        let output = moved([option, PLAIN]);
        assert!(!output.ok(), "{option} is not for a listener: {}", output.describe());
    }
}

/// The gateway's first packets, as OpenSSH's client logs them.
#[test]
fn the_newest_is_offered_first_and_key_exchange_is_strict() {
    let fixture = SftpPlan::default().start();
    let output = pwd(&fixture.site(), &["-vvv"]).expect_ok("pwd");
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    let servers = output.split("peer server KEXINIT proposal").nth(1).unwrap_or_default();
    let offered = |what: &str| {
        let line = servers.lines().find_map(|line| line.split_once(what)).unwrap_or_default();
        line.1.trim().split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let kex = offered("KEX algorithms: ");
    assert_eq!(kex[0], "mlkem768x25519-sha256", "{kex:?}");
    assert!(kex.iter().any(|name| name == "kex-strict-s-v00@openssh.com"), "{kex:?}");
    let old = ["sha1", "group1-", "cbc", "md5", "ssh-rsa", "ssh-dss", "arcfour"];
    let all =
        ["host key algorithms: ", "ciphers ctos: ", "ciphers stoc: ", "MACs ctos: ", "MACs stoc: "];
    for name in kex.into_iter().chain(all.into_iter().flat_map(offered)) {
        assert!(!name.is_empty() && !old.iter().any(|old| name.contains(old)), "{name}");
    }
    assert!(output.contains("will use strict KEX ordering"), "{output}");
}

#[test]
fn login_attempts_are_limited() {
    let limits = "login_attempts: 3, sessions_per_address: 100";
    let fixture = SftpPlan { limits, ..SftpPlan::default() }.start();
    let home = tempfile::tempdir().expect("a client's home");
    let (output, prompts) = persistent_sftp(&fixture.site(), home.path(), 3);
    assert!(!output.ok(), "the right password came too late: {}", output.describe());
    // The client may prompt once more before it sees the end of the connection.
    assert!((3..=4).contains(&prompts), "{prompts} prompts");
    fixture.await_no_session();
}

#[test]
fn login_timeout_ends_the_connection() {
    let limits = "login_timeout: 2s, sessions_per_address: 100";
    let fixture = SftpPlan { limits, ..SftpPlan::default() }.start();
    fixture.scenario("grace", json!({ "grace": 2 }));
    fixture.await_no_session();
}

#[test]
fn sessions_per_address_are_limited() {
    let fixture = SftpPlan { limits: "sessions_per_address: 1", ..SftpPlan::default() }.start();
    let held =
        std::net::TcpStream::connect(fixture.gateway.address("front")).expect("a connection");
    assert!(
        becomes_true(|| !pwd(&fixture.site(), &[]).ok()),
        "a second connection from one address was let in"
    );
    drop(held);
    assert!(becomes_true(|| pwd(&fixture.site(), &[]).ok()), "no seat came back");
}
