//! `algorithms` of an SFTP listener: old clients, ssh-audit, and the limit on key exchanges that
//! cost the gateway much.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::TIMEOUT;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::clients::psftp::psftp;
use crate::support::process::{Output, run};
use crate::support::raw::dial;
use crate::support::servers::tools;
use crate::support::sftp_fixture::{SftpFixture, SftpPlan};
use crate::support::ssh::{keys, public};
use crate::support::wait::becomes_true;

/// What `legacy` adds to `modern`, by the option of OpenSSH that asks for it.
const OLD: [(&str, &str); 13] = [
    ("KexAlgorithms", "diffie-hellman-group16-sha512"),
    ("KexAlgorithms", "diffie-hellman-group14-sha256"),
    ("KexAlgorithms", "diffie-hellman-group14-sha1"),
    ("KexAlgorithms", "diffie-hellman-group1-sha1"),
    ("KexAlgorithms", "diffie-hellman-group-exchange-sha256"),
    ("KexAlgorithms", "diffie-hellman-group-exchange-sha1"),
    ("HostKeyAlgorithms", "ssh-rsa"),
    ("Ciphers", "aes128-cbc"),
    ("Ciphers", "aes192-cbc"),
    ("Ciphers", "aes256-cbc"),
    ("Ciphers", "3des-cbc"),
    ("MACs", "hmac-sha1"),
    ("MACs", "hmac-sha1-etm@openssh.com"),
];
/// Concurrent exchanges of one address.
const EXCHANGES_MAX: u64 = 30;
const DISCONNECT: u8 = 1;
const KEXDH_REPLY: u8 = 31;

fn with(algorithms: &str) -> SftpFixture {
    let listener = format!(", algorithms: {algorithms}");
    SftpPlan { listener: &listener, ..SftpPlan::default() }.start()
}

/// Uploads and downloads a file.
fn session(site: &SftpSite, options: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    std::fs::write(home.path().join("up"), vec![7; 100_000]).expect("writing a file");
    let batch = format!("lcd {0}\nput up there\nget there down\nrm there\n", home.path().display());
    let output = sftp(site, home.path(), &batch, options);
    if output.ok() {
        let down = std::fs::read(home.path().join("down")).expect("what came back");
        assert!(down == vec![7; 100_000], "{options:?}: the bytes differ");
    }
    output
}

fn options(setting: &str, name: &str) -> [String; 4] {
    // The first ciphers use no MAC.
    let cipher = if setting == "Ciphers" { name } else { "aes128-ctr" };
    ["-o".into(), format!("{setting}={name}"), "-o".into(), format!("Ciphers={cipher}")]
}

#[test]
fn each_old_algorithm_works_with_legacy_and_if_added() {
    let legacy = with("legacy");
    let modern = with("modern");
    for (setting, name) in OLD {
        let options = options(setting, name);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        session(&legacy.site(), &options).expect_ok(name);
        assert!(!session(&modern.site(), &options).ok(), "modern offers {name}");
        let hint = format!("`algorithms: {{ base: modern, add: [{name}] }}` on the listener");
        let matches = |event: &Value| {
            event["refusal"] == "ssh-algorithms"
                && event["reason"].as_str().is_some_and(|reason| reason.contains(&hint))
        };
        modern.gateway.await_log(matches, TIMEOUT);
    }
    for (setting, name) in [OLD[1], OLD[6], OLD[10], OLD[11]] {
        let added = with(&format!("{{ base: modern, add: [{name}] }}"));
        let options = options(setting, name);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        session(&added.site(), &options).expect_ok(name);
    }
    legacy.await_no_session();
}

/// As OpenSSH 5.3 would do, of 2009.
#[test]
fn a_client_with_old_algorithms_only_logs_in_with_its_rsa_key() {
    let key = &keys().host[2];
    let user = format!(", authorized_keys: {}", public(key).display());
    let plan = SftpPlan { user: &user, listener: ", algorithms: legacy", ..SftpPlan::default() };
    let fixture = plan.start();
    let old: Vec<String> = [
        "KexAlgorithms=diffie-hellman-group1-sha1,diffie-hellman-group-exchange-sha1",
        "HostKeyAlgorithms=ssh-rsa",
        "Ciphers=3des-cbc,aes128-cbc",
        "MACs=hmac-sha1",
        "PubkeyAcceptedAlgorithms=ssh-rsa",
    ]
    .iter()
    .flat_map(|option| ["-o".to_owned(), (*option).to_owned()])
    .collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let site = SftpSite { key: Some(key.clone()), ..fixture.site() };
    session(&site, &old).expect_ok("all of it old");
    fixture.scenario("old-client", json!({ "key": key }));
    let home = tempfile::tempdir().expect("a client's home");
    let site = SftpSite { fingerprints: keys().fingerprints.to_vec(), ..fixture.site() };
    psftp(&site, home.path(), "pwd\n").expect_ok("psftp");
    fixture.await_no_session();
}

#[test]
fn strict_passes_ssh_audit() {
    let audit = |site: &SftpSite| {
        let mut command = Command::new(tools().join("venv/bin/ssh-audit"));
        // Without the test of CVE-2002-20001, which has its own test here.
        command.args(["--json", "--skip-rate-test", "--port", &site.port.to_string(), "127.0.0.1"]);
        run(&mut command, b"", Duration::from_secs(60))
    };
    let strict = with("strict");
    let output = audit(&strict.site());
    let output = output.expect_ok("ssh-audit");
    let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut rated = 0;
    for kind in ["kex", "key", "enc", "mac"] {
        for algorithm in findings[kind].as_array().expect("a list") {
            let notes = &algorithm["notes"];
            assert!(notes.get("fail").is_none() && notes.get("warn").is_none(), "{algorithm}");
            rated += 1;
        }
    }
    assert!(rated > 8, "{findings}");
    for list in ["additional_notes", "cves"] {
        assert!(findings[list].as_array().is_none_or(Vec::is_empty), "{list}: {findings}");
    }
    assert!(
        findings["recommendations"].as_object().is_none_or(serde_json::Map::is_empty),
        "{findings}"
    );
    // The same check succeeds for `modern`.
    assert!(!audit(&with("modern").site()).ok());
}

#[test]
fn strict_serves_current_clients_and_refuses_others() {
    let strict = with("strict");
    strict.scenario("rekey", json!({ "bytes": 1 << 20 }));
    for old in ["KexAlgorithms=curve25519-sha256", "HostKeyAlgorithms=ecdsa-sha2-nistp256"] {
        assert!(!session(&strict.site(), &["-o", old]).ok(), "{old}");
    }
    strict.await_no_session();
    let added = with("{ base: strict, add: curve25519-sha256 }");
    session(&added.site(), &["-o", "KexAlgorithms=curve25519-sha256"]).expect_ok("what is added");
}

fn refused(fixture: &SftpFixture) -> u64 {
    let series = "lockgate_clients_refused_total{listener=\"front\",reason=\"key-exchanges\"}";
    fixture.gateway.metric(series).unwrap_or(0)
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let length = (1 + payload.len() + 8) as u32;
    [&length.to_be_bytes()[..], &[8], payload, &[0; 8]].concat()
}

/// The types of the unencrypted packets.
fn types(mut stream: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    let line = stream.iter().position(|byte| *byte == b'\n').map_or(stream.len(), |at| at + 1);
    stream = &stream[line..];
    while stream.len() > 5 {
        types.push(stream[5]);
        let length = u32::from_be_bytes(stream[..4].try_into().expect("four bytes"));
        stream = &stream[stream.len().min(4 + length as usize)..];
    }
    types
}

/// Requests an exchange with the 2048-bit group, at no cost, and returns the server's bytes.
fn ask(fixture: &SftpFixture) -> Vec<u8> {
    let list = |name: &str| [&(name.len() as u32).to_be_bytes()[..], name.as_bytes()].concat();
    let lists = ["diffie-hellman-group14-sha256", "ssh-ed25519", "aes128-ctr", "aes128-ctr"];
    let more = ["hmac-sha2-256", "hmac-sha2-256", "none", "none", "", ""];
    let lists: Vec<u8> = lists.iter().chain(&more).flat_map(|name| list(name)).collect();
    let kexinit = [&[20; 1][..], &[7; 16], &lists, &[0; 5]].concat();
    // SSH_MSG_KEXDH_INIT with e = 2.
    let init = [30, 0, 0, 0, 1, 2];
    let mut tcp = dial(fixture.gateway.address("front"));
    let begin = [&b"SSH-2.0-eater\r\n"[..], &packet(&kexinit), &packet(&init)].concat();
    tcp.write_all(&begin).expect("sending");
    let mut answers = Vec::new();
    let mut bytes = [0; 4096];
    while !types(&answers).iter().any(|kind| [DISCONNECT, KEXDH_REPLY].contains(kind)) {
        let count = tcp.read(&mut bytes).expect("an answer");
        assert!(count > 0, "no answer: {}", answers.escape_ascii());
        answers.extend_from_slice(&bytes[..count]);
    }
    answers
}

/// CVE-2002-20001: a client that only starts a key exchange costs the gateway an exponentiation.
#[test]
fn finite_field_key_exchanges_are_limited_per_address() {
    let fixture = with("{ base: modern, add: [diffie-hellman-group14-sha256] }");
    let start = Instant::now();
    let attempts = 3 * EXCHANGES_MAX;
    let mut done = 0;
    for _ in 0..attempts {
        let answers = ask(&fixture);
        if types(&answers).contains(&KEXDH_REPLY) {
            done += 1;
            continue;
        }
        let reason = "too many finite field key exchanges from your address";
        let output = String::from_utf8_lossy(&answers);
        assert!(output.contains(reason), "{}", answers.escape_ascii());
    }
    let most = EXCHANGES_MAX + start.elapsed().as_secs() + 1;
    assert!((EXCHANGES_MAX..=most).contains(&done), "{done} were done");
    assert!(
        becomes_true(|| refused(&fixture) == attempts - done),
        "{} are counted",
        refused(&fixture)
    );
    let log = fixture.gateway.log_tail(usize::MAX);
    assert_eq!(log.matches("\"refusal\":\"key-exchanges\"").count(), 1, "{log}");
    // Cheap exchanges are served at once, the others soon.
    session(&fixture.site(), &["-o", "KexAlgorithms=curve25519-sha256"]).expect_ok("curve25519");
    let old = ["-o", "KexAlgorithms=diffie-hellman-group14-sha256"];
    assert!(becomes_true(|| session(&fixture.site(), &old).ok()));
    fixture.await_no_session();
}

/// A client may also request new keys before the login.
#[test]
fn only_key_exchanges_before_a_login_are_limited() {
    let fixture = with("{ base: modern, add: [diffie-hellman-group14-sha256] }");
    fixture.scenario("early-exchanges", json!({ "times": 2 * EXCHANGES_MAX }));
    assert!(becomes_true(|| refused(&fixture) == 1));
    fixture.await_no_session();
    let fixture = with("{ base: modern, add: [diffie-hellman-group14-sha256] }");
    fixture.scenario("late-exchanges", json!({ "times": 2 * EXCHANGES_MAX }));
    assert_eq!(refused(&fixture), 0);
    fixture.await_no_session();
}
