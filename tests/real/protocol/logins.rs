//! Who is let in, and that a refusal tells nothing about which users there are.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use russh::keys::PublicKeyOrCertificate;
use serde_json::Value;

use super::{Lock, Plan, SOON};
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::{PASSWORD, USER};

/// The time and the words of a refused login.
fn refused(gateway: &Gateway, user: &str) -> (Duration, String) {
    let (mut raw, _) = Raw::connect(gateway.address("front"));
    raw.expect(&format!("USER {user}"), 331);
    let begun = Instant::now();
    let reply = raw.expect("PASS wrong", 530);
    (begun.elapsed(), reply.text)
}

#[test]
fn an_unknown_user_gets_the_same_reply_in_the_same_time_as_a_wrong_password() {
    let folder = tempfile::tempdir().expect("a folder");
    // Much more work than everything around it, however slow this build is.
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
    // In turns, so that a busy moment of the machine meets all of them.
    for _ in 0..5 {
        for (user, runs) in users.iter().zip(&mut runs) {
            runs.push(refused(&gateway, user));
        }
    }
    let words: Vec<&String> = runs.iter().flatten().map(|(_, text)| text).collect();
    assert!(words.iter().all(|text| *text == words[0]), "{words:?}");
    let medians = runs.map(|mut runs| {
        runs.sort();
        runs[2].0
    });
    let (least, most) = (medians.iter().min(), medians.iter().max());
    let (least, most) = (least.expect("four"), most.expect("four"));
    assert!(*most < *least * 2, "medians for {users:?}: {medians:?}");
}

/// A check under way goes to its end; those that wait for their turn are given up.
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
        dear(2),
        dear(8),
    ));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..4 * cores {
        let (mut raw, _) = Raw::connect(gateway.address("front"));
        raw.expect("USER dear", 331);
        raw.send_bytes(b"PASS wrong\r\n");
    }
    let (mut alive, _) = Raw::connect(gateway.address("front"));
    alive.login(USER, PASSWORD);
    // Turns come in the order of asking: all that had one before are in the log.
    let log = gateway.log_tail(usize::MAX);
    let checked = log.lines().filter(|line| line.contains("login incorrect")).count();
    assert!(checked <= cores, "{log}");

    offer_password_and_go(gateway.address("ssh"));
    let of_ssh = |event: &Value| event["event"] == "login" && event["protocol"] == "sftp";
    let login = gateway.await_log(of_ssh, SOON);
    let reason = login["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("ended before its login was done"), "{login}");
}

fn offer_password_and_go(to: SocketAddr) {
    struct Trusting;
    impl russh::client::Handler for Trusting {
        type Error = russh::Error;
        async fn check_server_key(
            &mut self,
            _: &PublicKeyOrCertificate,
        ) -> Result<bool, russh::Error> {
            Ok(true)
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut ssh = russh::client::connect(Default::default(), to, Trusting).await.expect("SSH");
        let answer = ssh.authenticate_password("dearest", "wrong");
        let answered = tokio::time::timeout(Duration::from_millis(300), answer).await;
        assert!(answered.is_err(), "the check takes no time: {answered:?}");
    });
}

/// A gateway whose backend is another lockgate that knows the user by another password.
fn chain(routes: &str) -> (Lock, Gateway) {
    let behind = Plan::default().start();
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         backends:\n  behind: {{ protocol: ftp, address: \"{}\" }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n{routes}",
        behind.address(),
        hash(b"of the gateway", 8, 1),
    ));
    (behind, gateway)
}

fn hash(password: &[u8], memory: u32, passes: u32) -> String {
    let params = Params::new(memory, passes, 1, None).expect("argon2's parameters");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let salt = SaltString::encode_b64(b"lockgate-test").expect("a salt");
    argon2.hash_password(password, &salt).expect("hashing a password").to_string()
}

#[test]
fn a_wrong_password_of_a_gateway_user_is_not_tried_at_the_backend() {
    let (behind, gateway) = chain("  - { authenticate: backend, backend: behind }\n");
    // The backend itself would let this in.
    behind.client();
    let (mut raw, _) = Raw::connect(gateway.address("front"));
    for password in [PASSWORD, "of the gateway"] {
        raw.expect(&format!("USER {USER}"), 331);
        raw.expect(&format!("PASS {password}"), 530);
    }
    let logins = behind.gateway.log_tail(usize::MAX).matches("\"event\":\"login\"").count();
    assert_eq!(logins, 1, "the backend was asked");
    // Somebody whom the gateway does not know is the backend's affair: its words come through.
    raw.expect("USER stranger", 331);
    raw.expect("PASS wrong", 530);
    let asked = |event: &serde_json::Value| event["user"] == "stranger";
    behind.gateway.await_log(asked, super::SOON);
}
