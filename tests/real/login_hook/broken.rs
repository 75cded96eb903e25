//! A hook that does not decide: clients read that logins are not possible at present, and nobody is blamed.

use serde_json::Value;
use tempfile::TempDir;

use super::TIMEOUT;
use super::server::HookServer;
use crate::support::audit::{Schema, await_record};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::ssh::keys;

struct Fixture {
    hook: HookServer,
    gateway: Gateway,
    folder: TempDir,
}

fn start() -> Fixture {
    let hook = HookServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(&format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n  \
         sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         login_hooks: {{ directory: {{ socket: {:?}, timeout: 2s }} }}\n\
         backends: {{ files: {{ protocol: local, folder: {:?} }} }}\n\
         routes:\n  - {{ authenticate: http, backend: files }}\n\
         audit: {{ file: audit.jsonl }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n",
        host_keys(),
        hook.socket(),
        folder.path(),
    ));
    Fixture { hook, gateway, folder }
}

#[test]
fn a_login_is_unavailable_and_no_failed_guess() {
    let Fixture { hook, gateway, folder } = start();
    let metric = |name: &str| gateway.metric(name).unwrap_or(0);
    let outcome = |outcome: &str| {
        metric(&format!(
            "lockgate_login_hook_requests_total{{hook=\"directory\",outcome=\"{outcome}\"}}"
        ))
    };
    for (answer, expected) in [
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "status",
        ),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "status"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", "malformed"),
        ("", "unreachable"),
    ] {
        hook.set_raw(answer);
        let before = outcome(expected);
        let (mut client, _) = Raw::connect(gateway.address("ftp"));
        client.expect("USER bob", 331);
        let reply = client.expect("PASS secret", 421);
        assert!(reply.text.contains("cannot be checked at present"), "{}", reply.text);
        assert!(client.at_end());
        assert_eq!(outcome(expected), before + 1, "{answer}");
    }
    let logins = |outcome: &str| {
        metric(&format!("lockgate_logins_total{{listener=\"ftp\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((logins("failed"), logins("refused")), (4, 0));
    let warned = |line: &Value| {
        line["level"] == "WARN"
            && line["event"] == "login"
            && line["detail"]
                .as_str()
                .is_some_and(|it| it.contains("\"directory\" (login_hooks.directory)"))
    };
    gateway.await_log(warned, TIMEOUT);
    // A wrong password is one.
    hook.set("{\"allow\": false}");
    let (mut client, _) = Raw::connect(gateway.address("ftp"));
    client.expect("USER bob", 331);
    client.expect("PASS wrong", 530);
    assert_eq!(logins("refused"), 1);
    // The same connection goes on.
    hook.set("{\"allow\": true, \"user\": \"acme\"}");
    client.login("bob", "secret");
    client.expect("QUIT", 221);
    let is_login = |it: &Value| it["event"] == "login" && it["outcome"] == "ok";
    let login = await_record(&gateway.folder().join("audit.jsonl"), is_login);
    Schema::load().validate(&login);
    assert_eq!((&login["user"], &login["login_name"]), (&"acme".into(), &"bob".into()));
    assert_eq!(login["authentication"]["hook"], "directory");
    drop(folder);
}

/// SSH can tell it only by a disconnect, at the key's offer or after the password. OpenSSH reads it if it has
/// another method to try.
#[test]
fn an_ssh_client_reads_why() {
    let Fixture { hook, gateway, folder: _folder } = start();
    hook.set_raw("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let site = SftpSite::new(gateway.address("sftp").port());
    let home = tempfile::tempdir().expect("a home");
    let methods = "PreferredAuthentications=keyboard-interactive,password";
    let output = sftp(&site, home.path(), "pwd\n", &["-v", "-o", methods]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.ok() && text.contains("cannot be checked at present"), "{text}");
    let with_key = SftpSite { key: Some(keys().user.clone()), user: "keys".into(), ..site };
    assert!(!sftp(&with_key, home.path(), "pwd\n", &[]).ok());
    let disconnected = |line: &Value| {
        let reason = line["reason"].as_str().unwrap_or_default();
        line["event"] == "client-refused" && reason.contains("cannot be checked at present")
    };
    let first = gateway.await_log(disconnected, TIMEOUT);
    gateway.await_log(|line| disconnected(line) && line["session"] != first["session"], TIMEOUT);
    let questions = hook.questions();
    let stages: Vec<_> = questions.iter().map(|it| it["stage"].as_str().unwrap_or("")).collect();
    assert_eq!(stages, ["login", "offer"]);
    let logins = "lockgate_logins_total{listener=\"sftp\",outcome=\"failed\"}";
    assert_eq!(gateway.metric(logins), Some(2));
}
