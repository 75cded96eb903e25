//! A route whose `root` does not exist at the backend: the login fails with that reason, on both fronts,
//! with each kind of backend.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::Duration;

use super::{server, sftp_server};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::servers::{endpoint, sftp_endpoint};
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const TIMEOUT: Duration = Duration::from_secs(15);
const NAME: &str = "no-such-root";

/// `root` is the route's setting; `home` is the folder that should contain it.
fn expect_missing_root(name: &str, backend: &str, root: &str, home: &Path) {
    let port = ports::block(1);
    let port = port.start();
    let users = format!("users:\n  {USER}: {{ password_hash: \"{}\" }}\n", argon2_hash());
    let gateway = Gateway::start(&format!(
        "listeners:\n  ftp: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n  \
         sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         data_ports:\n  pool: {{ range: {port}-{port} }}\n\
         backends:\n  back: {{ {backend} }}\n{users}\
         routes:\n  - {{ match: {{ sources: 192.0.2.1 }}, authenticate: gateway, backend: back }}\n  \
         - {{ authenticate: gateway, backend: back, root: {root:?} }}\n",
        host_keys(),
    ));
    let client_home = tempfile::tempdir().expect("a client's home");
    let site = SftpSite::new(gateway.address("sftp").port());

    let (mut client, _) = Raw::connect(gateway.address("ftp"));
    client.expect(&format!("USER {USER}"), 331);
    let refusal = client.expect(&format!("PASS {PASSWORD}"), 421);
    assert!(refusal.text.contains("your folder does not exist at the server"), "{}", refusal.text);
    assert!(!refusal.text.contains(NAME), "{name}: {}", refusal.text);
    assert!(client.at_end(), "{name}");
    let refused = sftp(&site, client_home.path(), "pwd\n", &[]);
    assert!(!refused.ok(), "{name}: {}", refused.describe());
    for listener in ["ftp", "sftp"] {
        let event = gateway
            .await_log(|event| event["event"] == "login" && event["listener"] == listener, TIMEOUT);
        let detail = event["detail"].as_str().unwrap_or_default();
        assert_eq!(
            (&event["level"], &event["backend"]),
            (&"WARN".into(), &"back".into()),
            "{name}"
        );
        assert!(detail.contains(root) && detail.contains("routes[1].root"), "{name}: {detail}");
    }

    let folder = home.join(NAME);
    std::fs::create_dir(&folder).expect("making the root");
    let owner = std::fs::metadata(home).expect("the home");
    chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("giving a folder away");
    let (mut client, _) = Raw::connect(gateway.address("ftp"));
    client.login(USER, PASSWORD);
    client.expect("QUIT", 221);
    sftp(&site, client_home.path(), "ls\n", &[]).expect_ok(name);
    std::fs::remove_dir(folder).expect("removing the root");
}

/// vsftpd has one reply for every folder that it cannot enter; the others report that it does not exist.
#[test]
fn a_missing_root_at_ftp_servers_refuses_the_login() {
    for name in ["vsftpd-plain", "proftpd-plain", "pureftpd-plain"] {
        let endpoint = endpoint(name);
        let backend = format!("protocol: ftp, {}", server(&endpoint));
        expect_missing_root(name, &backend, &format!("/{NAME}"), endpoint.home);
    }
}

#[test]
fn a_missing_root_at_sftp_servers_refuses_the_login() {
    for name in ["sshd", "proftpd-sftp", "asyncssh", "russh-sftp"] {
        let endpoint = sftp_endpoint(name);
        let base =
            if endpoint.jailed { String::new() } else { endpoint.home.display().to_string() };
        let root = format!("{base}/{NAME}");
        expect_missing_root(name, &sftp_server(&endpoint), &root, endpoint.home);
    }
}

#[test]
fn a_missing_root_in_a_folder_refuses_the_login() {
    let folder = tempfile::tempdir().expect("a folder");
    let backend = format!("protocol: local, folder: {:?}", folder.path());
    expect_missing_root("local", &backend, &format!("/{NAME}"), folder.path());
}
