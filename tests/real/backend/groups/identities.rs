//! Groups whose servers have host keys and certificates of their own.

use std::path::Path;

use super::super::gateway;
use super::{CHECKED, TIMEOUT, log_in, named, server_of};
use crate::support::client_pki::ClientCa;
use crate::support::gateway::Gateway;
use crate::support::servers::{Server, sshd_with, vsftpd_with_certificate};
use crate::support::ssh::keys;

/// The server of two logins, one after the other.
fn servers_of(gateway: &Gateway, listener: &str) -> [usize; 2] {
    [0, 1].map(|_| server_of(&mut log_in(gateway.address(listener))))
}

/// The server was not used, with the reason in these words.
fn await_refusal(gateway: &Gateway, server: &str, words: &str) {
    let is_refusal = |event: &serde_json::Value| {
        let reason = event["reason"].as_str().unwrap_or_default();
        event["event"] == "backend" && event["server"] == server && reason.contains(words)
    };
    gateway.await_log(is_refusal, TIMEOUT);
}

/// Two sshd with host keys of different kinds.
fn sshds() -> [Server; 2] {
    [0, 1].map(|number| named(sshd_with(&format!("HostKeyAlgorithms {}\n", kind(number))), number))
}

/// The kind of `keys().host[number]`, as sshd_config names it.
fn kind(number: usize) -> &'static str {
    ["ssh-ed25519", "ecdsa-sha2-nistp256"][number]
}

fn sftp(server: &Server, key: usize) -> String {
    let (port, key) = (server.port(), &keys().fingerprints[key]);
    format!("protocol: sftp, address: \"127.0.0.1:{port}\", host_key: \"{key}\", {CHECKED}")
}

#[test]
fn each_server_of_a_group_has_its_own_host_key() {
    let [north, south] = sshds();
    let group = |servers: &str| format!("protocol: group, servers: [{servers}]");
    let gateway = gateway(&[
        ("north", sftp(&north, 0)),
        ("south", sftp(&south, 1)),
        ("both", group("north, south")),
        // With the key of the other server.
        ("swapped", sftp(&north, 1)),
        ("one-wrong", group("swapped, south")),
        ("wrong", group("swapped")),
    ]);
    assert_eq!(servers_of(&gateway, "both"), [0, 0]);
    assert_eq!(servers_of(&gateway, "one-wrong"), [1, 1]);
    await_refusal(&gateway, "swapped", "`host_key`");
    refused(&gateway, "wrong");
    drop(north);
    assert_eq!(servers_of(&gateway, "both"), [1, 1]);
}

/// No server of the group has the client's password.
fn refused(gateway: &Gateway, listener: &str) {
    let reply = super::try_log_in(gateway.address(listener)).err().expect("no login");
    assert_eq!(reply.code, 421, "{reply:?}");
}

/// Two vsftpd with certificates of different authorities, for different names.
#[test]
fn each_server_of_a_group_has_its_own_certificate() {
    let authorities = ["north", "south"].map(ClientCa::new);
    let servers = [0, 1].map(|number| {
        let identity = authorities[number].server(NAMES[number]);
        named(vsftpd_with_certificate(&identity.certificate, &identity.key), number)
    });
    let member = |server: &Server, ca: usize, name: &str| {
        let ca = authorities[ca].file();
        ftps(
            &format!("\"127.0.0.1:{}\"", server.ftp_port()),
            &ca,
            &format!(", server_name: {name}"),
        )
    };
    let group =
        |servers: &str| format!("protocol: group, servers: [{servers}], choose: round-robin");
    let [north, south] = &servers;
    let gateway = gateway(&[
        ("north", member(north, 0, NAMES[0])),
        ("south", member(south, 1, NAMES[1])),
        ("both", group("north, south")),
        ("other-authority", member(north, 1, NAMES[0])),
        ("other-name", member(north, 0, NAMES[1])),
        ("two-wrong", group("other-authority, other-name, south")),
        ("wrong", group("other-authority, other-name")),
    ]);
    let mut both = servers_of(&gateway, "both");
    both.sort_unstable();
    assert_eq!(both, [0, 1]);
    assert_eq!(servers_of(&gateway, "two-wrong"), [1, 1]);
    refused(&gateway, "wrong");
    await_refusal(&gateway, "other-authority", "certificate");
    await_refusal(&gateway, "other-name", "certificate");
}

const NAMES: [&str; 2] = ["north.example", "south.example"];

/// Without `server_name`, a certificate must be for the host of its own address.
#[test]
fn each_address_of_a_list_has_its_own_certificate() {
    let authority = ClientCa::new("hosts");
    let hosts = ["127.0.0.1", "localhost"];
    let servers = [0, 1].map(|number| {
        let identity = authority.server(hosts[number]);
        named(vsftpd_with_certificate(&identity.certificate, &identity.key), number)
    });
    let address =
        |host: usize, server: usize| format!("{}:{}", hosts[host], servers[server].ftp_port());
    let list = |addresses: [String; 2]| {
        let keys = ftps(&format!("[\"{}\"]", addresses.join("\", \"")), &authority.file(), "");
        format!("{keys}, choose: round-robin")
    };
    let gateway = gateway(&[
        ("right", list([address(0, 0), address(1, 1)])),
        ("one-wrong", list([address(1, 0), address(1, 1)])),
        ("wrong", list([address(1, 0), address(0, 1)])),
    ]);
    let mut right = servers_of(&gateway, "right");
    right.sort_unstable();
    assert_eq!(right, [0, 1]);
    assert_eq!(servers_of(&gateway, "one-wrong"), [1, 1]);
    await_refusal(&gateway, &format!("one-wrong/{}", address(1, 0)), "certificate");
    refused(&gateway, "wrong");
}

fn ftps(address: &str, ca: &Path, more: &str) -> String {
    let ca = ca.display();
    format!("address: {address}, tls: {{ mode: required, ca: {ca}{more} }}, {CHECKED}")
}
