//! Certificates that the gateway signs for backends, before an sshd that trusts only its authority.

use std::fs;

use serde_json::Value;

use super::{TIMEOUT, sftp_as};
use crate::support::USER;
use crate::support::audit::{Schema, await_record};
use crate::support::backend_fixture::host_keys;
use crate::support::gateway::Gateway;
use crate::support::process::Output;
use crate::support::servers::{Server, sshd_with};
use crate::support::ssh::{fingerprint, keys, public};
use crate::support::ssh_ca::Authority;

/// The gateway, the server that trusts `authority` and nothing else, and the folder of the audit.
struct Site {
    gateway: Gateway,
    server: Server,
    folder: tempfile::TempDir,
}

fn start(authority: &Authority, more_of_sshd: &str, login: &str, more_users: &str) -> Site {
    let server = sshd_with(&format!(
        "{more_of_sshd}TrustedUserCAKeys {}\nAuthorizedKeysFile none\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nAuthenticationMethods publickey\n",
        authority.public().display()
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let audit = folder.path().join("audit.jsonl");
    let key = public(&keys().user);
    let yaml = format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back:\n    protocol: sftp\n    address: \"127.0.0.1:{}\"\n    \
         host_key: \"{}\"\n    login: {{ certificate_authority: {:?}{login} }}\n\
         users:\n  {USER}: {{ authorized_keys: {key:?} }}\n{more_users}\
         routes:\n  - {{ authenticate: gateway, backend: back }}\n\
         limits: {{ sessions_per_address: 1000, login_attempts: 10 }}\naudit: {{ file: {audit:?} }}\n",
        host_keys(),
        server.port(),
        keys().fingerprints[0],
        authority.key,
    );
    Site { gateway: Gateway::start(&yaml), server, folder }
}

impl Site {
    fn login(&self, user: &str) -> Output {
        let identity = format!("IdentityFile={}", keys().user.display());
        let only = ["IdentitiesOnly=yes", "PreferredAuthentications=publickey,password"];
        sftp_as(user, self.gateway.address("front").port(), &[&identity, only[0], only[1]])
    }

    #[track_caller]
    fn refused(&self, user: &str, reason: &str) {
        let output = self.login(user);
        assert!(!output.ok(), "{user}: {}", output.describe());
        let says = |line: &Value| {
            line["event"] == "login"
                && line["outcome"] != "ok"
                && line["detail"].as_str().is_some_and(|it| it.contains(reason))
        };
        self.gateway.await_log(says, TIMEOUT);
    }
}

/// A client with a key only, a server with certificates only, and no secret of the user anywhere.
#[test]
fn keys_at_the_front_become_certificates_at_the_server() {
    let authority = Authority::new();
    let site = start(&authority, "", ", source_address: [127.0.0.0/8]", "");
    site.login(USER).expect_ok("a certificate of the gateway");
    let line = site.gateway.await_log(|it| it["event"] == "login", TIMEOUT);
    let record = await_record(&site.folder.path().join("audit.jsonl"), |it| it["event"] == "login");
    Schema::load().validate(&record);
    let certificate = &record["backend"]["certificate"];
    let (serial, id) = (&certificate["serial"], &certificate["key_id"]);
    let (serial, id) = (serial.as_str().expect("a serial"), id.as_str().expect("a key id"));
    assert_eq!(id, format!("lockgate session {} client 127.0.0.1 user {USER}", record["session"]));
    assert_eq!(certificate["authority"], fingerprint(&authority.key), "{record}");
    let shown = format!("ID {id} (serial {serial}) CA {}", fingerprint(&authority.key));
    assert_eq!(line["backend_certificate"], shown, "{line}");
    // As the server sees it.
    let log = site.server.log_tail(1000);
    assert!(log.contains(&format!("ID {id} (serial {serial}) CA ED25519")), "{log}");
    // Another login, another key.
    site.login(USER).expect_ok("again");
    let prints: std::collections::BTreeSet<_> = site
        .server
        .log_tail(1000)
        .lines()
        .filter(|line| line.contains("Accepted publickey"))
        .filter_map(|line| Some(line.split("ED25519-CERT ").nth(1)?.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(prints.len(), 2, "{prints:?}");
}

#[test]
fn the_server_enforces_what_the_certificate_says() {
    let authority = Authority::new();
    // One account of the server for all, with the user's name as the principal.
    let folder = tempfile::tempdir().expect("a folder");
    let principals = folder.path().join("principals");
    fs::write(&principals, format!("sftp-{USER}\n")).expect("writing principals");
    for file in [folder.path(), &principals] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("opening a file");
    }
    let sshd = format!("AuthorizedPrincipalsFile {}\n", principals.display());
    let login = format!(", user: {USER}, principal: \"sftp-{{user}}\", valid_for: 30s");
    let bob = format!("  bob: {{ authorized_keys: {:?} }}\n", public(&keys().user));
    let site = start(&authority, &sshd, &login, &bob);
    site.login(USER).expect_ok("the principal");
    site.refused("bob", "it does not accept the gateway's certificate");
    // From another address than the certificate says.
    let site = start(&authority, "", ", source_address: 192.0.2.0/24", "");
    site.refused(USER, "it does not accept the gateway's certificate");
    // Without the force-command, and with another.
    let site = start(&authority, "", ", force_command: none", "");
    site.login(USER).expect_ok("no force-command");
    let site = start(&authority, "", ", force_command: \"internal-sftp -R\"", "");
    let home = tempfile::tempdir().expect("a home");
    let identity = format!("IdentityFile={}", keys().user.display());
    let port = site.gateway.address("front").port();
    let mut command =
        super::sftp_command(USER, port, home.path(), &[&identity, "IdentitiesOnly=yes"]);
    let output = crate::support::process::run(&mut command, b"mkdir made\n", TIMEOUT);
    assert!(!output.ok(), "read only: {}", output.describe());
    assert!(!site.server.home.join("made").exists());
    // Another authority.
    let site = start(&authority, "", "", "");
    let other = start(&Authority::new(), "", "", "");
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back: {{ protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{}\", \
         login: {{ certificate_authority: {:?} }} }}\n\
         users:\n  {USER}: {{ authorized_keys: {:?} }}\n\
         routes:\n  - {{ authenticate: gateway, backend: back }}\n",
        host_keys(),
        other.server.port(),
        keys().fingerprints[0],
        authority.key,
        public(&keys().user)
    ));
    let crossed = Site { gateway, server: site.server, folder: site.folder };
    crossed.refused(USER, "it does not accept the gateway's certificate");
}

/// Names that a server could take for those of others never reach it.
#[test]
fn strange_names_get_no_certificate() {
    let authority = Authority::new();
    let key = public(&keys().user);
    let names = ["root", "..", "a/b", "DOMAIN\\\\x", "test:x"];
    let users: String = names
        .iter()
        .map(|name| format!("  \"{name}\": {{ authorized_keys: {key:?} }}\n"))
        .collect();
    let site = start(&authority, "", "", &users);
    for (name, reason) in [
        ("root", "it would be root at the server"),
        ("..", "would lead to the folder itself"),
        ("a/b", "contains a slash"),
        ("DOMAIN\\x", "contains a slash or a backslash"),
        ("test:x", "contains a colon"),
    ] {
        site.refused(name, reason);
    }
    let log = site.server.log_tail(1000);
    assert!(!log.contains("Accepted") && !log.contains("publickey"), "{log}");
}
