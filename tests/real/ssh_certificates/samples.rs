//! The samples of `config/` with SSH keys and certificates, each with a real server behind it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TIMEOUT, sftp_command, with_certificate};
use crate::support::clients::deadline;
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::process::run;
use crate::support::servers::{endpoint, sshd_with};
use crate::support::ssh::{keys, public};
use crate::support::ssh_ca::Authority;
use crate::support::{PASSWORD, USER};

/// The password of the samples' hashes.
const REPLACE_ME: &str = "replace-me";

fn sample(name: &str, changes: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    let mut text = fs::read_to_string(file).expect("reading a sample");
    for (from, to) in changes {
        assert!(text.contains(from), "{name} does not contain {from:?}");
        text = text.replace(from, to);
    }
    text
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(&path, text).expect("writing a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closing a file");
    path
}

#[test]
fn keys_and_certificates_lead_to_a_legacy_ftp_server() {
    let server = endpoint("vsftpd-plain");
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let work = server.home.join("legacy-sample");
    for name in ["acme", "globex"] {
        fs::create_dir_all(work.join(name)).expect("making a folder");
        fs::write(work.join(name).join("whose"), name).expect("writing a file");
    }
    let text = sample(
        "key-only-to-legacy-ftp.yaml",
        &[
            ("0.0.0.0:22", "127.0.0.1:0"),
            ("10.1.2.3:21", &format!("127.0.0.1:{}", server.port)),
            ("svc-exchange", USER),
            ("/srv/exchange/{user}", "/legacy-sample/{user}"),
        ],
    );
    let gateway = Gateway::start_by(
        Command::new(PROGRAM),
        &text,
        &[
            ("ssh_host_ed25519_key", &keys().host[0]),
            ("user_ca.pub", &authority.public()),
            ("revoked", &file(folder.path(), "revoked", "")),
            ("exchange.password", &file(folder.path(), "password", PASSWORD)),
            ("globex.keys", &public(&keys().user)),
        ],
    );
    let port = gateway.address("public-sftp").port();
    let key = format!("IdentityFile={}", keys().user.display());
    let certificate = authority.sign("acme", &keys().stranger, &["-n", "acme"]);
    let certified = format!("CertificateFile={}", certificate.display());
    let stranger = format!("IdentityFile={}", keys().stranger.display());
    let only = ["IdentitiesOnly=yes", "PreferredAuthentications=publickey"];
    for (user, options) in [
        ("globex", vec![key.as_str(), only[0], only[1]]),
        ("acme", vec![&stranger, &certified, only[0], only[1]]),
    ] {
        let home = tempfile::tempdir().expect("a home");
        let mut command = sftp_command(user, port, home.path(), &options);
        run(&mut command, b"get whose\n", deadline()).expect_ok(user);
        let got = fs::read_to_string(home.path().join("whose")).expect("the file");
        assert_eq!(got, user);
    }
    let other = authority.sign("other", &keys().user, &["-n", "acme"]);
    let as_globex = with_certificate(port, &keys().user, &other);
    assert!(!as_globex.ok(), "no user of that name: {}", as_globex.describe());
}

#[test]
fn a_key_and_a_password_become_a_certificate() {
    let authority = Authority::new();
    let server = sshd_with(&format!(
        "TrustedUserCAKeys {}\nAuthorizedKeysFile none\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n",
        authority.public().display()
    ));
    let text = sample(
        "minted-certificates.yaml",
        &[
            ("10.0.0.5:22", "127.0.0.1:0"),
            ("vault.example.com", &format!("127.0.0.1:{}", server.port())),
            ("SHA256:7TJTftCboJeWgImhO60Auf1uIL7rkdJp9FdpJ0JZG3o", &keys().fingerprints[0]),
            ("source_address: 10.0.0.5", "source_address: 127.0.0.1"),
            ("  alice:\n", &format!("  {USER}:\n")),
        ],
    );
    let gateway = Gateway::start_by(
        Command::new(PROGRAM),
        &text,
        &[
            ("ssh_host_ed25519_key", &keys().host[0]),
            ("vault_ca", &authority.key),
            ("alice.pub", &public(&keys().user)),
        ],
    );
    let port = gateway.address("staff-sftp").port();
    let key = format!("IdentityFile={}", keys().user.display());
    let home = tempfile::tempdir().expect("a home");
    let login = |password: &str| {
        let mut command = sftp_command(USER, port, home.path(), &[&key, "IdentitiesOnly=yes"]);
        command.env("LOCKGATE_TEST_PASSWORD", password);
        run(&mut command, b"pwd\n", TIMEOUT)
    };
    login(REPLACE_ME).expect_ok("the key and the password");
    assert!(!login("wrong").ok());
}
