//! Routes on both fronts with real servers: `user_at_backend`, `rewrite` and greetings. One gateway before all
//! servers.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use russh::keys::PublicKeyOrCertificate;
use tempfile::TempDir;

use super::{server, sftp_server};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::lftp::lftp;
use crate::support::clients::openssh::{openssh, sftp};
use crate::support::clients::{SftpSite, Site, TlsVersion, deadline};
use crate::support::gateway::Gateway;
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::servers::{endpoint, sftp_endpoint};
use crate::support::ssh::accepts_password;
use crate::support::{PASSWORD, Tls, USER, argon2_hash, pattern, ports};

const TIMEOUT: Duration = Duration::from_secs(15);
/// The folder of these tests in each server's home.
const OWN: &str = "rewritten";
const GREETING: &str = "Example Ltd.\n\n220 is not the end\nAuthorized use only.";

struct Fixture {
    gateway: Gateway,
    /// The name of each backend, and what its user sees as `/` on disk.
    homes: Vec<(&'static str, PathBuf)>,
    _local: TempDir,
}

impl Fixture {
    /// The user name for a login at a backend.
    fn user(backend: &str) -> String {
        let user = if backend == "files" { "alice" } else { USER };
        format!("{user}@{backend}")
    }

    fn client(&self, backend: &str) -> Raw {
        let (mut client, _) = Raw::connect(self.gateway.address("ftp"));
        client.login(&Self::user(backend), PASSWORD);
        client.expect("TYPE I", 200);
        client
    }

    fn site(&self, backend: &str) -> SftpSite {
        let port = self.gateway.address("sftp").port();
        SftpSite { user: Self::user(backend), ..SftpSite::new(port) }
    }
}

/// Below each home: `rewritten/data/in`, which clients see as `/incoming`, `rewritten/out` as
/// `/old/place/out`, and `rewritten/plain`.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let local = tempfile::tempdir().expect("a folder");
        let [vsftpd, pureftpd] = ["vsftpd-plain", "pureftpd-plain"].map(endpoint);
        let sshd = sftp_endpoint("sshd");
        let homes = vec![
            ("vsftpd", vsftpd.home.to_owned()),
            ("pureftpd", pureftpd.home.to_owned()),
            ("sshd", sshd.home.to_owned()),
            ("files", local.path().to_owned()),
        ];
        for (_, home) in &homes {
            for folder in ["", "data", "data/in", "out", "plain"] {
                make(&home.join(OWN).join(folder));
            }
        }
        let ports = ports::block(8);
        let (first, last) = (ports.start(), ports.end());
        let indented = GREETING.replace('\n', "\n      ");
        let rewrite = format!(
            "root: home, rewrite: [{{ from: /incoming, to: /{OWN}/data/in }}, \
             {{ from: /old/place/out, to: /{OWN}/out }}]"
        );
        let gateway = Gateway::start(&format!(
            "listeners:\n  ftp:\n    protocol: ftp\n    address: \"127.0.0.1:0\"\n    data_ports: pool\n    \
             greeting: |\n      {indented}\n  \
             sftp:\n    protocol: sftp\n    address: \"127.0.0.1:0\"\n    host_keys: {}\n    \
             greeting: |\n      {indented}\n\
             data_ports:\n  pool: {{ range: {first}-{last} }}\n\
             backends:\n  vsftpd: {{ protocol: ftp, {} }}\n  pureftpd: {{ protocol: ftp, {} }}\n  \
             sshd: {{ {} }}\n  files: {{ protocol: local, folder: {:?} }}\n\
             users:\n  alice: {{ password_hash: \"{hash}\" }}\n  \
             info@mail.example: {{ password_hash: \"{hash}\" }}\n\
             routes:\n  - {{ match: {{ users: alice }}, authenticate: gateway, user_at_backend: files, {rewrite} }}\n  \
             - {{ match: {{ users: \"*@mail.example\" }}, authenticate: gateway, backend: files, \
             greeting: \"Welcome.\\n230 is not the end\" }}\n  \
             - {{ authenticate: backend, user_at_backend: [vsftpd, pureftpd, sshd], {rewrite} }}\n\
             limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n",
            host_keys(),
            server(&vsftpd),
            server(&pureftpd),
            sftp_server(&sshd),
            local.path(),
            hash = argon2_hash(),
        ));
        Fixture { gateway, homes, _local: local }
    })
}

/// A folder that belongs to the owner of its parent.
fn make(folder: &Path) {
    fs::create_dir_all(folder).expect("making a folder");
    let owner = fs::metadata(folder.parent().expect("a parent")).expect("the parent folder");
    chown(folder, Some(owner.uid()), Some(owner.gid())).expect("giving a folder away");
}

/// The answer to an SSH login that the test client does not wait for longer.
fn ssh_logs_in(to: SocketAddr, user: &str, password: &str) -> bool {
    accepts_password(to, user, password, TIMEOUT).expect("an answer in time")
}

#[test]
fn clients_name_one_of_the_routes_backends() {
    let fixture = fixture();
    let sftp_port = fixture.gateway.address("sftp");
    for (backend, home) in &fixture.homes {
        // What the one front stores at this backend, the other reads.
        let sent = pattern(5000 + backend.len());
        let mut client = fixture.client(backend);
        assert_eq!(client.upload(&format!("STOR {OWN}/plain/by-ftp"), &sent).code, 226);
        let stored = home.join(OWN).join("plain/by-ftp");
        assert_eq!(fs::read(&stored).expect("the stored file"), sent, "{backend}");
        let folder = tempfile::tempdir().expect("a client's home");
        let batch = format!("get {OWN}/plain/by-ftp got\nrm {OWN}/plain/by-ftp\n");
        sftp(&fixture.site(backend), folder.path(), &batch, &[]).expect_ok(backend);
        assert_eq!(fs::read(folder.path().join("got")).expect("the file"), sent, "{backend}");
        assert!(!stored.exists(), "{backend}");
        let user = Fixture::user(backend);
        let (user, _) = user.split_once('@').expect("both parts");
        for listener in ["ftp", "sftp"] {
            let is_ours = |event: &serde_json::Value| {
                event["event"] == "login"
                    && event["listener"] == listener
                    && event["backend"] == *backend
                    && event["outcome"] == "ok"
                    // Other tests log in here as others.
                    && event["user"] == user
            };
            fixture.gateway.await_log(is_ours, TIMEOUT);
        }
    }
    // A mail address is a user name, with and without a backend.
    let (mut client, _) = Raw::connect(fixture.gateway.address("ftp"));
    client.login("info@mail.example", PASSWORD);
    assert!(ssh_logs_in(sftp_port, "info@mail.example", PASSWORD));
    for refused in ["info@mail.example@files", "info@mail.example@vsftpd"] {
        assert!(!ssh_logs_in(sftp_port, refused, PASSWORD), "{refused}");
    }
}

#[test]
fn an_unknown_backend_is_refused_like_a_wrong_password() {
    let fixture = fixture();
    let refusal = |name: &str, password: &str| {
        let (mut client, _) = Raw::connect(fixture.gateway.address("ftp"));
        client.expect(&format!("USER {name}"), 331);
        client.expect(&format!("PASS {password}"), 530).text
    };
    let expected = refusal("alice@files", "wrong");
    assert_eq!(expected, "530 Login incorrect.\r\n");
    for name in [
        "alice@nowhere",
        "alice@FILES",
        "alice@127.0.0.1",
        "alice",
        "@files",
        "ftptest@vsftp",
        // Of another route: `users` never reach a backend with an unchecked password.
        "alice@vsftpd",
        // Only with the backend.
        USER,
    ] {
        assert_eq!(refusal(name, PASSWORD), expected, "{name}");
        assert!(!ssh_logs_in(fixture.gateway.address("sftp"), name, PASSWORD), "{name}");
    }
    // Whoever checks the password.
    for backend in ["vsftpd", "pureftpd", "sshd"] {
        assert_eq!(refusal(&Fixture::user(backend), "wrong"), expected, "{backend}");
    }
    let is_ours = |event: &serde_json::Value| event["user"] == "alice@nowhere";
    let event = fixture.gateway.await_log(is_ours, TIMEOUT);
    let detail = event["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("routes[0] (user_at_backend)"), "{detail}");
}

/// The names in a listing, sorted.
fn names(client: &mut Raw, command: &str) -> Vec<String> {
    let (bytes, reply) = client.download(command);
    assert_eq!(reply.code, 226, "{}", reply.text);
    let text = String::from_utf8(bytes).expect("names");
    let mut names: Vec<_> =
        text.lines().map(|line| line.rsplit('/').next().unwrap_or(line).to_owned()).collect();
    names.sort();
    names
}

#[test]
fn ftp_clients_see_rewritten_folders_with_each_backend() {
    for (backend, home) in &fixture().homes {
        let disk = |name: &str| home.join(OWN).join(name);
        let mut client = fixture().client(backend);
        let sent = pattern(70_000);
        client.expect("CWD incoming", 250);
        assert!(client.expect("PWD", 257).text.contains("\"/incoming\""));
        assert_eq!(client.upload("STOR by-ftp", &sent).code, 226, "{backend}");
        assert_eq!(fs::read(disk("data/in/by-ftp")).expect("the file"), sent, "{backend}");
        let made = client.expect("MKD made", 257).text;
        assert!(made.contains("\"/incoming/made\""), "{backend}: {made}");
        assert!(disk("data/in/made").is_dir());
        assert_eq!(names(&mut client, "NLST"), ["by-ftp", "made"], "{backend}");

        client.expect("CWD ../old/place", 250);
        assert!(client.expect("PWD", 257).text.contains("\"/old/place\""));
        assert_eq!(names(&mut client, "NLST"), ["out"], "{backend}");
        client.expect("CWD out", 250);
        client.expect("CDUP", 250);
        client.expect("CDUP", 250);
        assert!(client.expect("PWD", 257).text.contains("\"/old\""));
        let all = names(&mut client, "NLST /");
        for name in ["incoming", "old", OWN] {
            assert_eq!(all.iter().filter(|it| *it == name).count(), 1, "{backend}: {all:?}");
        }
        assert_eq!(names(&mut client, &format!("NLST /{OWN}/data")), [""; 0], "{backend}");
        assert!(!names(&mut client, &format!("NLST /{OWN}")).contains(&"out".to_owned()));

        client.expect("RNFR /incoming/by-ftp", 350);
        client.expect("RNTO /old/place/out/moved", 250);
        assert_eq!(fs::read(disk("out/moved")).expect("the file"), sent, "{backend}");
        let (bytes, _) = client.download("RETR /old/place/out/moved");
        assert_eq!(bytes, sent, "{backend}");
        // The folders have no other path, and stay.
        for hidden in [format!("/{OWN}/out/moved"), format!("/{OWN}/data/in/made")] {
            client.expect(&format!("SIZE {hidden}"), 550);
            client.expect(&format!("DELE {hidden}"), 550);
            client.expect(&format!("RMD {hidden}"), 550);
            client.expect(&format!("CWD {hidden}"), 550);
        }
        for kept in ["/incoming", "/old/place/out", &format!("/{OWN}"), "/old"] {
            let refusal = client.expect(&format!("RMD {kept}"), 550).text;
            assert!(!refusal.contains("data/in"), "{backend}: {refusal}");
            client.expect(&format!("RNFR {kept}"), 350);
            client.expect("RNTO /elsewhere", 550);
        }
        let missing = client.expect("DELE /incoming/none", 550).text;
        assert!(!missing.contains("data/in"), "{backend}: {missing}");
        client.expect("DELE /old/place/out/moved", 250);
        client.expect("RMD /incoming/made", 250);
    }
}

#[test]
fn sftp_clients_see_rewritten_folders_with_each_backend() {
    for (backend, home) in &fixture().homes {
        let disk = |name: &str| home.join(OWN).join(name);
        let folder = tempfile::tempdir().expect("a client's home");
        let sent = pattern(70_001);
        fs::write(folder.path().join("sent"), &sent).expect("writing a file");
        let batch = "cd incoming\npwd\nput sent by-sftp\nmkdir made-by-sftp\nls -1\ncd /old/place\npwd\nls -1\n\
                     rename /incoming/by-sftp /old/place/out/renamed\nget out/renamed got\nls -1 /\n";
        let output = sftp(&fixture().site(backend), folder.path(), batch, &[]).expect_ok(backend);
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown: Vec<_> = output.lines().filter(|line| !line.starts_with("sftp>")).collect();
        for line in [
            "Remote working directory: /incoming",
            "by-sftp",
            "made-by-sftp",
            "Remote working directory: /old/place",
            "out",
            "/incoming",
            "/old",
        ] {
            assert!(shown.contains(&line), "{backend}: {line}: {output}");
        }
        assert_eq!(fs::read(folder.path().join("got")).expect("the file"), sent, "{backend}");
        assert_eq!(fs::read(disk("out/renamed")).expect("the file"), sent, "{backend}");
        for refused in [
            format!("ls /{OWN}/data/in"),
            format!("get /{OWN}/out/renamed"),
            format!("put sent /{OWN}/data/in/x"),
            "rmdir /incoming".to_owned(),
            "rename /old/place/out /elsewhere".to_owned(),
            "symlink x /incoming/link".to_owned(),
        ] {
            let output =
                sftp(&fixture().site(backend), folder.path(), &format!("{refused}\n"), &[]);
            assert!(!output.ok(), "{backend}: {refused}: {}", output.describe());
        }
        let clean = "rm /old/place/out/renamed\nrmdir /incoming/made-by-sftp\n";
        sftp(&fixture().site(backend), folder.path(), clean, &[]).expect_ok(backend);
    }
}

/// A client that shows the whole tree and copies it.
#[test]
fn lftp_mirrors_a_tree_with_rewritten_folders() {
    let backend = "vsftpd";
    let (_, home) = &fixture().homes[0];
    make(&home.join(OWN).join("data/in/tree"));
    let sent = pattern(3000);
    fs::write(home.join(OWN).join("data/in/tree/file"), &sent).expect("writing a file");
    let folder = tempfile::tempdir().expect("a client's home");
    let port = fixture().gateway.address("ftp").port();
    let site = Site { user: Fixture::user(backend), ..Site::new(port, Tls::None) };
    let script = "cls -1 /\nmirror /incoming/tree copy\nmirror -R copy /old/place/out/back\nrm -r /incoming/tree";
    let output = lftp(&site, TlsVersion::Newest, folder.path(), script).expect_ok("lftp");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.contains("incoming/") && output.contains("old/"), "{output}");
    let back = home.join(OWN).join("out/back");
    assert_eq!(fs::read(back.join("file")).expect("the file"), sent);
    assert!(!home.join(OWN).join("data/in/tree").exists());
    fs::remove_dir_all(back).expect("removing the copy");
}

/// The banner that an SSH server sends, byte for byte, and whether it accepts the password.
fn banner(server: SocketAddr, user: &str) -> (String, bool) {
    struct Reading(Arc<Mutex<String>>);
    impl russh::client::Handler for Reading {
        type Error = russh::Error;
        async fn check_server_key(
            &mut self,
            _: &PublicKeyOrCertificate,
        ) -> Result<bool, russh::Error> {
            Ok(true)
        }
        async fn auth_banner(
            &mut self,
            banner: &str,
            _: &mut russh::client::Session,
        ) -> Result<(), russh::Error> {
            self.0.lock().expect("no holder panics").push_str(banner);
            Ok(())
        }
    }
    let read = Arc::new(Mutex::new(String::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let accepted = runtime.expect("a runtime").block_on(async {
        let reading = Reading(read.clone());
        let ssh = russh::client::connect(Default::default(), server, reading).await;
        let mut ssh = ssh.expect("an SSH connection");
        let answer = ssh.authenticate_password(user, PASSWORD).await;
        answer.is_ok_and(|result| result.success())
    });
    let text = read.lock().expect("no holder panics").clone();
    (text, accepted)
}

#[test]
fn greetings_are_whole_and_cannot_end_a_reply() {
    let gateway = &fixture().gateway;
    let (mut client, greeting) = Raw::connect(gateway.address("ftp"));
    let expected = "220-Example Ltd.\r\n\r\n 220 is not the end\r\n220 Authorized use only.\r\n";
    assert_eq!((greeting.code, greeting.text.as_str()), (220, expected));
    client.expect("USER info@mail.example", 331);
    let welcome = client.expect(&format!("PASS {PASSWORD}"), 230).text;
    assert_eq!(welcome, "230-Welcome.\r\n 230 is not the end\r\n230 Login successful.\r\n");
    client.expect("REIN", 220);
    client.expect(&format!("USER {}", Fixture::user("vsftpd")), 331);
    let plain = client.expect(&format!("PASS {PASSWORD}"), 230).text;
    assert_eq!(plain, "230 Login successful.\r\n");

    let port = gateway.address("sftp");
    let lines = GREETING.lines().flat_map(|line| [line, "\r\n"]).collect::<String>();
    assert_eq!(banner(port, "info@mail.example"), (lines.clone(), true));
    // Also to those who are refused.
    assert_eq!(banner(port, "nobody"), (lines, false));
    // As a user reads it. `-v` overrides the `-q` of all tests, which hides banners.
    let folder = tempfile::tempdir().expect("a client's home");
    let site = SftpSite { user: "info@mail.example".into(), ..SftpSite::new(port.port()) };
    let mut command = openssh("sftp", &site, folder.path());
    command.args(["-v", "-o", "BatchMode=no", "-b", "-", "info@mail.example@127.0.0.1"]);
    let output = run(&mut command, b"ls\n", deadline()).expect_ok("sftp");
    let text = String::from_utf8_lossy(&output.stderr).replace('\r', "");
    assert!(text.contains(&format!("{GREETING}\n")), "{text}");
}
