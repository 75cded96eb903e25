//! `algorithms` of an SFTP backend, with an sshd that supports only old ones.

use serde_json::Value;

use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::process::Output;
use crate::support::servers::sshd_with;
use crate::support::ssh::{keys, public};
use crate::support::{USER, argon2_hash};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// A gateway with an SFTP listener and the server at this port, with a user of the gateway.
fn before(port: u16, algorithms: &str, login: &str) -> Gateway {
    let fingerprints = keys().fingerprints.join("\", \"");
    Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back:\n    protocol: sftp\n    address: \"127.0.0.1:{port}\"\n    \
           host_key: [\"{fingerprints}\"]\n    algorithms: {algorithms}\n    login: {login}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: back }}\n",
        host_keys(),
        argon2_hash(),
    ))
}

fn pwd(gateway: &Gateway) -> Output {
    let home = tempfile::tempdir().expect("a client's home");
    sftp(&SftpSite::new(gateway.address("front").port()), home.path(), "pwd\n", &[])
}

fn account() -> String {
    format!("{{ user: {USER}, private_key: {} }}", keys().user.display())
}

#[test]
fn each_old_algorithm_is_offered_by_legacy_or_added_by_its_name() {
    for (setting, name) in [
        ("KexAlgorithms", "diffie-hellman-group14-sha256"),
        ("KexAlgorithms", "diffie-hellman-group14-sha1"),
        ("KexAlgorithms", "diffie-hellman-group1-sha1"),
        ("KexAlgorithms", "diffie-hellman-group-exchange-sha1"),
        ("HostKeyAlgorithms", "ssh-rsa"),
        ("Ciphers", "aes128-cbc"),
        ("Ciphers", "aes192-cbc"),
        ("Ciphers", "aes256-cbc"),
        ("Ciphers", "3des-cbc"),
        ("MACs", "hmac-sha1"),
        ("MACs", "hmac-sha1-etm@openssh.com"),
    ] {
        // The first ciphers use no MAC.
        let ciphers = if setting == "MACs" { "Ciphers aes128-ctr\n" } else { "" };
        let server = sshd_with(&format!("{setting} {name}\n{ciphers}"));
        let added = format!("{{ base: modern, add: {name} }}");
        for algorithms in ["legacy", &added] {
            let gateway = before(server.port(), algorithms, &account());
            pwd(&gateway).expect_ok(&format!("{name} by {algorithms}"));
        }
        let gateway = before(server.port(), "modern", &account());
        assert!(!pwd(&gateway).ok(), "modern offers {name}");
        let line = gateway.await_log(|it: &Value| it["event"] == "backend", TIMEOUT);
        let hint = format!("`algorithms: {{ base: modern, add: [{name}] }}` on the backend");
        assert!(line["detail"].as_str().is_some_and(|detail| detail.contains(&hint)), "{line}");
    }
}

#[test]
fn an_old_server_accepts_the_gateways_rsa_key_with_sha_1() {
    let key = &keys().host[2];
    let old = format!(
        "KexAlgorithms diffie-hellman-group14-sha1\nHostKeyAlgorithms ssh-rsa\nCiphers 3des-cbc\n\
         MACs hmac-sha1\nPubkeyAcceptedAlgorithms ssh-rsa\nAuthorizedKeysFile {}\n",
        public(key).display()
    );
    let server = sshd_with(&old);
    let login = format!("{{ user: {USER}, private_key: {} }}", key.display());
    pwd(&before(server.port(), "legacy", &login)).expect_ok("an RSA key and SHA-1");
}

#[test]
fn strict_refuses_a_server_without_a_post_quantum_key_exchange() {
    let server = sshd_with("KexAlgorithms curve25519-sha256\n");
    let gateway = before(server.port(), "strict", &account());
    assert!(!pwd(&gateway).ok(), "strict offers curve25519-sha256");
    let added = "{ base: strict, add: [curve25519-sha256] }";
    pwd(&before(server.port(), added, &account())).expect_ok(added);
}
