//! Host certificates: of the listener, and of backends (`@cert-authority` in known_hosts).

use std::fs;

use serde_json::Value;

use super::{Site, TIMEOUT, sftp_as};
use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::servers::{Server, sshd_with};
use crate::support::ssh::{keys, known_hosts, public_line};
use crate::support::ssh_ca::Authority;
use crate::support::{USER, argon2_hash};

/// OpenSSH's client knows the authority only.
#[test]
fn clients_that_trust_the_authority_accept_the_listener() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let [ed25519, _, rsa] = &keys().host;
    let arguments = ["-h", "-n", "gateway.example,127.0.0.1"];
    let certificates =
        [authority.sign("ed25519", ed25519, &arguments), authority.sign("rsa", rsa, &arguments)];
    let site = Site::start(
        &format!(", host_certificates: {certificates:?}"),
        &format!("  {USER}: {{ password_hash: \"{}\" }}", argon2_hash()),
        "  - { authenticate: gateway, backend: files }",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("known_hosts");
    let knows = |text: &str| {
        fs::write(&file, text).expect("writing known_hosts");
        format!("UserKnownHostsFile={}", file.display())
    };
    let strict = |known: &str, more: &str| {
        let known = knows(known);
        let options = [&known, "StrictHostKeyChecking=yes", "PubkeyAuthentication=no", more];
        sftp_as(USER, site.port(), &options)
    };
    let any = "LogLevel=INFO";
    strict(&authority.known_hosts("*"), any).expect_ok("the authority");
    let only_rsa = "HostKeyAlgorithms=rsa-sha2-512-cert-v01@openssh.com";
    strict(&authority.known_hosts("*"), only_rsa).expect_ok("the RSA key's certificate");
    assert!(!strict(&stranger.known_hosts("*"), any).ok(), "another authority");
    let known = known_hosts(site.port());
    strict(&known, any).expect_ok("clients that know the key");
}

fn before(server: &Server, known_hosts: &str) -> Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("known_hosts");
    fs::write(&file, known_hosts).expect("writing known_hosts");
    Gateway::start_by(
        std::process::Command::new(crate::support::gateway::PROGRAM),
        &format!(
            "listeners:\n  front: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
             backends:\n  back: {{ protocol: sftp, address: \"127.0.0.1:{}\", known_hosts: known_hosts }}\n\
             routes:\n  - {{ authenticate: backend, backend: back }}\n",
            crate::support::backend_fixture::host_keys(),
            server.port()
        ),
        &[("known_hosts", &file)],
    )
}

fn pwd(gateway: &Gateway) -> crate::support::process::Output {
    let home = tempfile::tempdir().expect("a home");
    sftp(&SftpSite::new(gateway.address("front").port()), home.path(), "pwd\n", &[])
}

#[test]
fn backends_are_known_by_the_authority_of_their_certificates() {
    let authority = Authority::new();
    let certificate = |name: &str, arguments: &[&str]| {
        let arguments = [&["-h"][..], arguments].concat();
        let file = authority.sign(name, &keys().host[1], &arguments);
        format!("HostCertificate {}\n", file.display())
    };
    let server = sshd_with(&certificate("good", &["-n", "127.0.0.1"]));
    let names = format!("[127.0.0.1]:{}", server.port());
    let trusted = authority.known_hosts(&names);
    pwd(&before(&server, &trusted)).expect_ok("a host certificate");
    // Also besides a key that the server has, too.
    let both = format!("{trusted}{}", known_hosts(server.port()));
    pwd(&before(&server, &both)).expect_ok("a certificate and a key");
    let own = public_line(&keys().host[1]);
    let ca = fs::read_to_string(authority.public()).expect("a public key");
    for (known, reason) in [
        (format!("{trusted}@revoked * {own}"), "@revoked in `known_hosts`"),
        (format!("{trusted}@revoked * {ca}"), "@revoked in `known_hosts`"),
        (Authority::new().known_hosts(&names), "no `@cert-authority` line"),
    ] {
        refused(&before(&server, &known), reason);
    }
    for (name, arguments, reason) in [
        ("other", &["-n", "other.example"][..], "is for other.example, not for this server"),
        ("expired", &["-n", "127.0.0.1", "-V", "-2d:-1d"], "has expired"),
        ("early", &["-n", "127.0.0.1", "-V", "+1d:+2d"], "is not valid yet"),
    ] {
        let server = sshd_with(&certificate(name, arguments));
        refused(&before(&server, &authority.known_hosts("*")), reason);
    }
    // A server without a certificate is known by its key only.
    let plain = sshd_with("");
    refused(&before(&plain, &authority.known_hosts("*")), "which is not in `known_hosts`");
    let known = format!("{}{}", authority.known_hosts("*"), known_hosts(plain.port()));
    pwd(&before(&plain, &known)).expect_ok("a key besides an authority");
}

#[track_caller]
fn refused(gateway: &Gateway, reason: &str) {
    let output = pwd(gateway);
    assert!(!output.ok(), "{reason}: {}", output.describe());
    let says = |line: &Value| {
        line["event"] == "login" && line["detail"].as_str().is_some_and(|it| it.contains(reason))
    };
    gateway.await_log(says, TIMEOUT);
}
