//! Users of other servers, and users that change while the gateway runs.

use std::path::Path;
use std::process::Command;

use super::TIMEOUT;
use crate::support::backend_fixture::host_keys;
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::{PASSWORD, USER, argon2_hash};

/// What another program prints for the test's password.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let made = run(command.args(arguments), b"", TIMEOUT).expect_ok("hashing a password");
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

fn write(folder: &Path, content: &str) {
    std::fs::write(folder.join("new"), content).expect("writing a file");
    std::fs::rename(folder.join("new"), folder.join("users.yaml")).expect("renaming a file");
}

/// A gateway whose users are in a file with this content.
fn start(content: &str) -> Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users.yaml");
    std::fs::write(&file, content).expect("writing a file");
    let yaml = format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n  \
         ssh: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  files: {{ protocol: local, folder: /tmp }}\n\
         users_file: users.yaml\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n",
        host_keys(),
    );
    Gateway::start_by(Command::new(PROGRAM), &yaml, &[("users.yaml", &file)])
}

/// The code of the reply to the password.
fn log_in(gateway: &Gateway, user: &str, password: &str) -> u16 {
    let (mut raw, _) = Raw::connect(gateway.address("front"));
    raw.expect(&format!("USER {user}"), 331);
    raw.command(&format!("PASS {password}")).code
}

/// htpasswd, AuthUserFile and shadow lines with hashes of openssl and libxcrypt; those that cannot be taken
/// are told, and the others log in.
#[test]
fn users_of_other_servers_are_imported_and_log_in() {
    let crypt =
        |salt: &str| output_of("perl", &["-e", "print crypt($ARGV[0], $ARGV[1])", PASSWORD, salt]);
    let openssl = |kind: &str| output_of("openssl", &["passwd", kind, PASSWORD]);
    let lines = [
        format!("apr1:{}", openssl("-apr1")),
        format!("md5:{}:1001:1001::/srv/md5:/bin/false", openssl("-1")),
        format!("sha256:{}:1001:1001:A B:/srv/sha256:/bin/false", openssl("-5")),
        format!("sha512:{}:19000:0:99999:7:::", openssl("-6")),
        format!("yescrypt:{}:19000:0:99999:7:::", crypt("$y$j9T$abcdefghijklmnop$")),
        format!("bcrypt:{}", crypt("$2y$05$abcdefghijklmnopqrstuu")),
        format!("des:{}", crypt("ab")),
        "locked:!:19000:0:99999:7:::".to_owned(),
        "# a comment".to_owned(),
    ];
    let mut command = Command::new(PROGRAM);
    let imported = run(command.args(["import-users", "-"]), lines.join("\n").as_bytes(), TIMEOUT);
    let told = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert_eq!(imported.status.and_then(|status| status.code()), Some(1), "{told}");
    for expected in [
        "line 7: des: the password is a hash of kind DES",
        "line 8: locked: the account is locked",
        "6 users taken, 2 lines not taken",
        "2 users have MD5 hashes",
    ] {
        assert!(told.contains(expected), "{expected}:\n{told}");
    }
    let yaml = String::from_utf8(imported.stdout).expect("text");
    assert!(yaml.contains("# home: /srv/sha256\n"), "{yaml}");
    let gateway = start(&yaml);
    for user in ["apr1", "md5", "sha256", "sha512", "yescrypt", "bcrypt"] {
        assert_eq!(log_in(&gateway, user, PASSWORD), 230, "{user}");
        assert_eq!(log_in(&gateway, user, "wrong"), 530, "{user}");
    }
    assert_eq!(log_in(&gateway, "des", PASSWORD), 530);
}

#[test]
fn hashes_that_the_program_prints_are_accepted() {
    let hash = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let made = run(command.arg("hash-password").args(more), PASSWORD.as_bytes(), TIMEOUT);
        String::from_utf8(made.expect_ok("hashing").stdout).expect("text").trim().to_owned()
    };
    let (argon2id, pbkdf2) = (hash(&[]), hash(&["--pbkdf2"]));
    assert!(pbkdf2.starts_with("$pbkdf2-sha512$"), "{pbkdf2}");
    let gateway = start(&format!(
        "users:\n  a: {{ password_hash: '{argon2id}' }}\n  p: {{ password_hash: '{pbkdf2}' }}\n"
    ));
    assert_eq!((log_in(&gateway, "a", PASSWORD), log_in(&gateway, "p", PASSWORD)), (230, 230));
}

#[test]
fn a_changed_users_file_applies_and_a_broken_one_does_not() {
    let hash = argon2_hash();
    let users = |name: &str| format!("users:\n  {name}: {{ password_hash: '{hash}' }}\n");
    let gateway = start(&users(USER));
    assert_eq!((log_in(&gateway, USER, PASSWORD), log_in(&gateway, "other", PASSWORD)), (230, 530));
    let of = |outcome: &str| {
        let series = format!("lockgate_users_file_reloads_total{{outcome=\"{outcome}\"}}");
        gateway.metric(&series)
    };
    // A session goes on without its user.
    let (mut session, _) = Raw::connect(gateway.address("front"));
    session.login(USER, PASSWORD);

    write(gateway.folder(), &users("other"));
    let read = |event: &serde_json::Value| event["message"] == "users_file was read again";
    assert_eq!(gateway.await_log(read, TIMEOUT)["users"], 1);
    assert_eq!((log_in(&gateway, USER, PASSWORD), log_in(&gateway, "other", PASSWORD)), (530, 230));
    session.expect("PWD", 257);
    assert_eq!((of("ok"), of("failed")), (Some(1), Some(0)));

    write(gateway.folder(), &format!("{}  third: {{ password_hash: x }}\n", users(USER)));
    let broken = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|text| text.starts_with("users_file has an error"))
    };
    let reason = gateway.await_log(broken, TIMEOUT)["reason"].to_string();
    assert!(
        reason.contains("users.yaml:3:27: users.third.password_hash: is not a password hash"),
        "{reason}"
    );
    assert_eq!((log_in(&gateway, USER, PASSWORD), log_in(&gateway, "other", PASSWORD)), (530, 230));
    assert_eq!(gateway.metric("lockgate_users_file_broken"), Some(1));

    let two = format!("{}  third: {{ password_hash: '{hash}' }}\n", users(USER));
    write(gateway.folder(), &two);
    gateway.await_log(|event| read(event) && event["users"] == 2, TIMEOUT);
    assert_eq!((log_in(&gateway, USER, PASSWORD), log_in(&gateway, "other", PASSWORD)), (230, 530));
    assert_eq!(gateway.metric("lockgate_users_file_broken"), Some(0));
    assert_eq!(of("failed"), Some(1), "a broken file is told once");
}
