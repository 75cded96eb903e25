//! Logins at the FTP front; a refusal does not reveal which users exist.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use serde_json::Value;

use super::{Fixture, Plan, TIMEOUT};
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::ssh::accepts_password;
use crate::support::{PASSWORD, USER};

/// The duration and the reply of a refused login.
fn refused(gateway: &Gateway, user: &str) -> (Duration, String) {
    let (mut raw, _) = Raw::connect(gateway.address("front"));
    raw.expect(&format!("USER {user}"), 331);
    let started = Instant::now();
    let reply = raw.expect("PASS wrong", 530);
    (started.elapsed(), reply.text)
}

#[test]
fn an_unknown_user_gets_the_same_reply_in_the_same_time_as_a_wrong_password() {
    let folder = tempfile::tempdir().expect("a folder");
    // Much more work than everything else, also in a slow build.
    let hash = hash(PASSWORD.as_bytes(), 8192, 2);
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{hash}\" }}\n  unrouted: {{ password_hash: \"{hash}\" }}\n  unison: {{ password_hash: \"{hash}\" }}\n\
         routes:\n  - {{ match: {{ users: [{USER}, \"un*n\"] }}, authenticate: gateway, backend: files }}\n",
        folder.path(),
    ));
    // Known, unknown with a route, unknown without one, known without one.
    let users = [USER, "unknown", "nobody", "unrouted"];
    let mut runs = users.map(|_| Vec::new());
    // Interleaved, so that a busy moment of the machine affects all of them.
    for _ in 0..5 {
        for (user, runs) in users.iter().zip(&mut runs) {
            runs.push(refused(&gateway, user));
        }
    }
    let texts: Vec<&String> = runs.iter().flatten().map(|(_, text)| text).collect();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    let medians = runs.map(|mut runs| {
        runs.sort();
        runs[2].0
    });
    let (least, most) = (medians.iter().min(), medians.iter().max());
    let (least, most) = (least.expect("four"), most.expect("four"));
    assert!(*most < *least * 2, "medians for {users:?}: {medians:?}");
}

/// A running check finishes; queued ones are cancelled.
#[test]
fn a_client_that_disconnects_leaves_the_queue_of_password_checks() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("host_key");
    std::fs::write(&key, include_bytes!("../../../src/config/tests/keys/ed25519")).expect("a key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the key's mode");
    let dear = |passes: u32| {
        format!(
            "$argon2id$v=19$m=65536,t={passes},p=1$bG9ja2dhdGUtdGVzdA$\
             aVzgv0C4t3lnL2cvvQ7gvAdbKI2WvX7FBVCMFsCr2lM"
        )
    };
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         \x20 ssh: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: [{key:?}] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         \x20 dear: {{ password_hash: \"{}\" }}\n  dearest: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        folder.path(),
        hash(PASSWORD.as_bytes(), 8, 1),
        dear(8),
        dear(48),
    ));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..4 * cores {
        let (mut raw, _) = Raw::connect(gateway.address("front"));
        raw.expect("USER dear", 331);
        raw.send_bytes(b"PASS wrong\r\n");
    }
    let (mut alive, _) = Raw::connect(gateway.address("front"));
    alive.login(USER, PASSWORD);
    // Checks run in the order of requests: all earlier ones are in the log.
    let log = gateway.log_tail(usize::MAX);
    let checked = log.lines().filter(|line| line.contains("login incorrect")).count();
    assert!(checked <= cores, "{log}");

    let limit = Duration::from_millis(300);
    let answered = accepts_password(gateway.address("ssh"), "dearest", "wrong", limit);
    assert!(answered.is_none(), "the check takes no time: {answered:?}");
    let of_ssh = |event: &Value| event["event"] == "login" && event["protocol"] == "sftp";
    let login = gateway.await_log(of_ssh, TIMEOUT);
    let reason = login["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("ended before its login was done"), "{login}");
}

/// A gateway whose backend is another lockgate that knows the user by another password.
fn chain(routes: &str) -> (Fixture, Gateway) {
    let backend = Plan::default().start();
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         backends:\n  second: {{ protocol: ftp, address: \"{}\" }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n{routes}",
        backend.address(),
        hash(b"of the gateway", 8, 1),
    ));
    (backend, gateway)
}

fn hash(password: &[u8], memory: u32, passes: u32) -> String {
    let params = Params::new(memory, passes, 1, None).expect("argon2's parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(b"lockgate-test").expect("a salt");
    argon2.hash_password(password, &salt).expect("hashing a password").to_string()
}

#[test]
fn a_wrong_password_of_a_gateway_user_is_not_tried_at_the_backend() {
    let (backend, gateway) = chain("  - { authenticate: backend, backend: second }\n");
    // The backend itself would accept this password.
    backend.client();
    let (mut raw, _) = Raw::connect(gateway.address("front"));
    for password in [PASSWORD, "of the gateway"] {
        raw.expect(&format!("USER {USER}"), 331);
        raw.expect(&format!("PASS {password}"), 530);
    }
    let logins = backend.gateway.log_tail(usize::MAX).matches("\"event\":\"login\"").count();
    assert_eq!(logins, 1, "logins at the backend");
    // The backend checks users that the gateway does not know: its reply is forwarded.
    raw.expect("USER stranger", 331);
    raw.expect("PASS wrong", 530);
    let of_stranger = |event: &serde_json::Value| event["user"] == "stranger";
    backend.gateway.await_log(of_stranger, super::TIMEOUT);
}
