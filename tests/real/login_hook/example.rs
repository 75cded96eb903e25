//! The example of docs/login-hook.md with the sample of config/, and curl and OpenSSH as clients.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::clients::curl::{self, CurlOptions};
use crate::support::clients::openssh::sftp;
use crate::support::clients::{SftpSite, Site, TlsVersion};
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::pki::pki;
use crate::support::process::{CleanupGuard, kill_group, run, spawn};
use crate::support::ssh::{keys, public};
use crate::support::{DataMode, Tls, pattern, ports};

const OPTIONS: CurlOptions = CurlOptions { data: DataMode::Epsv, tls: TlsVersion::Newest };

/// The running sample, and the example that it asks.
struct Sample {
    gateway: Gateway,
    folder: TempDir,
    hook: Child,
    _cleanup: CleanupGuard,
}

impl Drop for Sample {
    fn drop(&mut self) {
        kill_group(&mut self.hook);
    }
}

fn script() -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/login_hook.py"));
    command
}

fn hashed(password: &str) -> String {
    let output = run(script().arg("hash"), format!("{password}\n").as_bytes(), TIMEOUT);
    let output = output.expect_ok("hashing a password");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn start(users: &Value) -> Sample {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for user in ["alice", "acme"] {
        fs::create_dir_all(path(&format!("files/srv/partners/{user}"))).expect("a folder");
    }
    fs::write(path("users.json"), users.to_string()).expect("the users");
    fs::write(path("login-hook.token"), "b3BlbiBzZXNhbWU=\n").expect("the token");
    let mut command = script();
    command.arg("serve").args([path("hook.sock"), path("users.json"), path("login-hook.token")]);
    command.stdout(Stdio::piped());
    let mut hook = {
        use std::os::unix::process::CommandExt;
        spawn(command.process_group(0))
    };
    let cleanup = CleanupGuard::new(Some(&hook), None);
    let mut line = String::new();
    let stdout = hook.stdout.take().expect("standard output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line, "listening\n");

    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/login-hook.yaml");
    let mut text = fs::read_to_string(sample).expect("the sample");
    let begin = text.find("  exchange:\n").expect("the backend");
    let end = begin + text[begin..].find("\n\n").expect("an empty line");
    let local = format!("  exchange: {{ protocol: local, folder: {:?} }}", path("files"));
    text.replace_range(begin..end, &local);
    let pool = ports::block(16);
    for (from, to) in [
        ("range: 50000-50049", format!("range: {}-{}", pool.start(), pool.end())),
        ("10.0.0.5:21", "127.0.0.1:0".to_owned()),
        ("10.0.0.5:22", "127.0.0.1:0".to_owned()),
        ("/run/lockgate/login-hook.sock", path("hook.sock").display().to_string()),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    text.push_str("metrics: { address: \"127.0.0.1:0\" }\n");
    let token = path("login-hook.token");
    let files: [(&str, &Path); 4] = [
        ("tls.crt", &pki().certificate),
        ("tls.key", &pki().key),
        ("ssh_host_ed25519_key", &keys().host[0]),
        ("login-hook.token", &token),
    ];
    let gateway = Gateway::start_by(Command::new(PROGRAM), &text, &files);
    Sample { gateway, folder, hook, _cleanup: cleanup }
}

impl Sample {
    fn ftps(&self, user: &str, password: &str) -> Site {
        let site = Site::new(self.gateway.address("ftps").port(), Tls::Explicit);
        Site { user: user.into(), password: password.into(), ..site }
    }

    fn sftp(&self, user: &str, key: Option<PathBuf>) -> SftpSite {
        let site = SftpSite::new(self.gateway.address("sftp").port());
        SftpSite { user: user.into(), key, ..site }
    }

    fn stored(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join("files/srv/partners").join(path)).ok()
    }

    fn requests(&self, outcome: &str) -> u64 {
        let series = format!(
            "lockgate_login_hook_requests_total{{hook=\"directory\",outcome=\"{outcome}\"}}"
        );
        self.gateway.metric(&series).unwrap_or(0)
    }
}

#[test]
fn the_documented_hook_lets_users_in_over_both_protocols() {
    let key = fs::read_to_string(public(&keys().user)).expect("a public key");
    let sample = start(&json!({
        "alice": { "scrypt": hashed("Secret.1"), "groups": ["partners"] },
        "carol": { "keys": [key], "groups": ["staff"], "user": "acme" },
        "erin": { "scrypt": hashed("Secret.2"), "source": ["192.0.2.0/24"] },
        "operator": { "scrypt": hashed("Secret.3"), "groups": ["partners"] },
    }));
    let folder = tempfile::tempdir().expect("a folder");
    let (file, bytes) = (folder.path().join("file"), pattern(300_000));
    fs::write(&file, &bytes).expect("a file");
    let alice = sample.ftps("alice", "Secret.1");
    curl::upload(&alice, OPTIONS, &file, "up").expect_ok("an upload");
    assert_eq!(sample.stored("alice/up").as_deref(), Some(&bytes[..]));
    // The answer is still known.
    assert_eq!((sample.requests("allowed"), sample.requests("cached")), (1, 0));
    let output = curl::download(&alice, OPTIONS, "up").expect_ok("a download");
    assert_eq!(output.stdout, bytes);
    assert_eq!((sample.requests("allowed"), sample.requests("cached")), (1, 1));
    // Partners may not overwrite: groups of the answer are those of the policy.
    assert!(!curl::upload(&alice, OPTIONS, &file, "up").ok());

    let carol = sample.sftp("carol", Some(keys().user.clone()));
    sftp(&carol, folder.path(), "put file\nput file\n", &[]).expect_ok("a key, and staff");
    assert_eq!(sample.stored("acme/file").as_deref(), Some(&bytes[..]));
    let renamed = |line: &Value| line["event"] == "login" && line["user"] == "acme";
    sample.gateway.await_log(renamed, TIMEOUT);

    let refused = sample.requests("refused");
    for (user, password) in [
        ("alice", "Secret.2"),
        ("nobody", "Secret.1"),
        // Not from here.
        ("erin", "Secret.2"),
        // Keys only.
        ("carol", "Secret.1"),
    ] {
        let output = curl::download(&sample.ftps(user, password), OPTIONS, "up");
        let code = output.status.and_then(|status| status.code());
        assert_eq!(code, Some(67), "{user}: {}", output.describe());
    }
    assert_eq!(sample.requests("refused"), refused + 4);
    let stranger = sample.sftp("carol", Some(keys().stranger.clone()));
    assert!(!sftp(&stranger, folder.path(), "pwd\n", &[]).ok());
    // One of `users`: the hook is not asked, whatever it would say.
    let refused = sample.requests("refused");
    assert!(!curl::download(&sample.ftps("operator", "Secret.3"), OPTIONS, "up").ok());
    assert_eq!((sample.requests("refused"), sample.requests("allowed")), (refused, 3));
}

#[test]
fn explain_says_that_the_hook_decides() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lockgate.yaml");
    let text = "listeners: { ftp: { protocol: ftp, address: \"127.0.0.1:0\", active: { allowed: true } } }\n\
                login_hooks: { directory: { socket: hook.sock } }\n\
                backends: { files: { protocol: local, folder: . } }\n\
                routes:\n  - { authenticate: http, backend: files, root: \"/{user}\" }\n";
    fs::write(&path, text).expect("the configuration");
    let path = path.display().to_string();
    let asked = ["explain", "--config", &path, "--user", "bob", "--source", "192.0.2.1"];
    let output = lockgate(&asked, "").expect_ok("explaining");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("bob (no groups): the login hook \"directory\" decides"), "{text}");
    assert!(text.contains("leads to backend \"files\", root /bob"), "{text}");
}
