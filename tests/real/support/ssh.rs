//! Keys of SSH servers and users, and what the clients need to give a password.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use russh::keys::PublicKeyOrCertificate;

use super::process::{SharedFolder, run};

/// Made once per process, by ssh-keygen.
pub struct Keys {
    /// One of each kind that servers have.
    pub host: [PathBuf; 3],
    /// `SHA256:…` of each.
    pub fingerprints: [String; 3],
    /// The user's key, without a passphrase; the public key is in the file with `.pub` appended.
    pub user: PathBuf,
    /// The key of another user, which no server accepts.
    pub stranger: PathBuf,
    folder: SharedFolder,
}

/// As one of 512 that ssh-keygen makes: its private number has 31 bytes.
const ECDSA_KEY: &str = include_str!("../../../src/config/tests/keys/short_ecdsa");

pub fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = SharedFolder::new().expect("a folder for keys");
        // An authorized_keys file is read by the user that logs in.
        open(folder.path(), 0o755);
        let make = |name: &str, kind: &str, more: &[&str]| {
            let path = folder.path().join(name);
            keygen(["-q", "-t", kind, "-N", "", "-C", "test", "-f"], &path, more);
            path
        };
        let host = [
            make("host_ed25519", "ed25519", &[]),
            copy(ECDSA_KEY, &folder.path().join("host_ecdsa")),
            make("host_rsa", "rsa", &["-b", "2048"]),
        ];
        let fingerprints = std::array::from_fn(|index: usize| fingerprint(&host[index]));
        let user = make("user", "ed25519", &[]);
        let stranger = make("stranger", "ed25519", &[]);
        open(&public(&user), 0o644);
        Keys { host, fingerprints, user, stranger, folder }
    })
}

/// Writes a key and its public half.
fn copy(key: &str, path: &Path) -> PathBuf {
    std::fs::write(path, key).expect("writing a key");
    open(path, 0o600);
    let line = keygen(["-y", "-f"], path, &[]);
    std::fs::write(public(path), line).expect("writing a public key");
    path.to_owned()
}

/// The file with the public half.
pub fn public(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// A program that prints the password it finds in `LOCKGATE_TEST_PASSWORD`, as SSH_ASKPASS.
pub fn askpass() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = keys().folder.path().join("askpass");
        // Each prompt adds a line to the file $LOCKGATE_TEST_PROMPTS; the first ones get a wrong answer.
        let script = "#!/bin/sh
prompts=${LOCKGATE_TEST_PROMPTS:-/dev/null}
echo prompt >>\"$prompts\"
if [ \"$(wc -l <\"$prompts\")\" -le \"${LOCKGATE_TEST_WRONG:-0}\" ] && [ -s \"$prompts\" ]; then
    echo wrong
else
    printf '%s\\n' \"$LOCKGATE_TEST_PASSWORD\"
fi
";
        std::fs::write(&path, script).expect("writing askpass");
        open(&path, 0o755);
        path
    })
}

/// The hashed `known_hosts` lines of the first host key for a port of 127.0.0.1, as OpenSSH writes
/// them (`HashKnownHosts yes`).
pub fn hashed_known_hosts(port: u16) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("known_hosts");
    std::fs::write(&file, known_hosts(port)).expect("writing known_hosts");
    keygen(["-q", "-H", "-f"], &file, &[]);
    std::fs::read_to_string(&file).expect("reading known_hosts")
}

pub fn known_hosts(port: u16) -> String {
    let line = std::fs::read_to_string(public(&keys().host[0])).expect("reading a public key");
    format!("[127.0.0.1]:{port} {line}")
}

/// The public half as `type base64`.
pub fn public_line(key: &Path) -> String {
    std::fs::read_to_string(public(key)).expect("reading a public key")
}

fn keygen<const N: usize>(arguments: [&str; N], path: &Path, more: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ssh-keygen");
    command.args(arguments).arg(path).args(more);
    run(&mut command, b"", Duration::from_secs(20)).expect_ok("ssh-keygen").stdout
}

/// `SHA256:…`
pub fn fingerprint(key: &Path) -> String {
    let text = String::from_utf8(keygen(["-l", "-f"], key, &[])).expect("ASCII");
    let word = text.split(' ').nth(1).expect("a fingerprint");
    word.to_owned()
}

fn open(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("setting permissions");
}

/// Whether an SSH server, whose host key is not checked, accepts a password. `None`: it does not answer
/// within `limit`, and the client leaves.
pub fn accepts_password(
    server: SocketAddr,
    user: &str,
    password: &str,
    limit: Duration,
) -> Option<bool> {
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
        let ssh = russh::client::connect(Default::default(), server, Trusting).await;
        let mut ssh = ssh.expect("an SSH connection");
        let answer = tokio::time::timeout(limit, ssh.authenticate_password(user, password)).await;
        answer.ok().map(|result| result.is_ok_and(|result| result.success()))
    })
}
