//! The gateway with backends: real servers, and a scripted one.

mod active;
mod big;
mod bursts;
mod client_certificate;
mod cut_policies;
mod cuts;
mod groups;
mod keepalive;
mod login_folder;
mod logins;
mod opaque;
mod opaque_replies;
mod outages;
mod reuse;
mod roots;
mod routes;
mod scripted_control;
mod scripted_data;
mod scripted_drop_box;
mod scripted_ends;
mod scripted_listings;
mod scripted_logins;
mod scripted_renames;
mod scripted_tls;
mod sftp_algorithms;
mod sftp_cuts;
mod sftp_logins;
mod sftp_overwrites;
mod sftp_to_ftp;
mod sftp_uploads;
mod times;
mod unique;
mod user_roots;

use std::fmt::Write as _;

use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::raw::Raw;
use crate::support::scripted::Scripted;
use crate::support::servers::{Endpoint, SftpEndpoint};
use crate::support::ssh::keys;
use crate::support::{PASSWORD, Tls, USER, ports};

/// Three servers, in clear and with AUTH TLS.
const SERVERS: [&str; 6] = [
    "vsftpd-plain",
    "vsftpd-tls",
    "proftpd-plain",
    "proftpd-tls",
    "pureftpd-plain",
    "pureftpd-tls",
];

/// The keys of a backend for a real server: `address` and `tls`.
fn server(endpoint: &Endpoint) -> String {
    let ca = pki().ca.display();
    let mode = match endpoint.tls {
        Tls::None => return format!("address: \"127.0.0.1:{}\"", endpoint.port),
        Tls::Explicit => "required",
        Tls::Implicit => "implicit",
    };
    format!(
        "address: \"127.0.0.1:{}\", tls: {{ mode: {mode}, ca: {ca}, server_name: localhost }}",
        endpoint.port
    )
}

/// As [`server`], of an SFTP server.
fn sftp_server(endpoint: &SftpEndpoint) -> String {
    let fingerprint = &keys().fingerprints[0];
    format!("protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{fingerprint}\"", endpoint.port)
}

/// The listeners `NAME` (in clear) and `NAME-tls` of each name, and their data ports.
fn ports(names: &[&str], data_ports: u16) -> String {
    let (certificate, key) = (pki().certificate.display(), pki().key.display());
    let mut yaml = String::from("listeners:\n");
    for name in names {
        for (suffix, tls) in [
            ("", "{ mode: none }".to_owned()),
            ("-tls", format!("{{ mode: required, certificate: {certificate}, key: {key} }}")),
        ] {
            writeln!(
                yaml,
                "  {name}{suffix}: {{ protocol: ftp, address: \"127.0.0.1:0\", tls: {tls}, \
                 data_ports: pool }}"
            )
            .expect("writing to a string");
        }
    }
    let pool = ports::block(data_ports);
    let (first, last) = (pool.start(), pool.end());
    write!(
        yaml,
        "data_ports:\n  pool: {{ range: {first}-{last}, listen: [\"127.0.0.1\"] }}\n\
         limits: {{ sessions: 1000, sessions_per_address: 1000 }}\n"
    )
    .expect("writing to a string");
    yaml
}

/// A gateway with the listeners `NAME` (in clear) and `NAME-tls` for each backend; the keys are
/// those of the backend; without `protocol` it is an FTP server. The backends check the passwords.
fn gateway(backends: &[(&str, String)]) -> Gateway {
    Gateway::start(&configuration(backends))
}

fn configuration(backends: &[(&str, String)]) -> String {
    let names: Vec<&str> = backends.iter().map(|(name, _)| *name).collect();
    let mut yaml = ports(&names, 24);
    yaml.push_str("backends:\n");
    for (name, keys) in backends {
        let protocol = if keys.starts_with("protocol:") { "" } else { "protocol: ftp, " };
        writeln!(yaml, "  {name}: {{ {protocol}{keys} }}").expect("writing to a string");
    }
    yaml.push_str("routes:\n");
    for name in names {
        writeln!(
            yaml,
            "  - {{ match: {{ listeners: [{name}, {name}-tls] }}, authenticate: backend, \
             backend: {name} }}"
        )
        .expect("writing to a string");
    }
    yaml
}

/// A gateway with a scripted backend and the listener `back`. `keys` is empty or begins with a
/// comma.
fn before(backend: &Scripted, keys: &str) -> Gateway {
    gateway(&[("back", format!("address: \"{}\"{keys}", backend.address))])
}

/// A client after the greeting, with TLS if the listener's name says so.
fn greeted(gateway: &Gateway, listener: &str) -> Raw {
    let (mut client, greeting) = Raw::connect(gateway.address(listener));
    assert_eq!(greeting.code, 220, "{}", greeting.text);
    if listener.ends_with("-tls") {
        client.auth_tls();
    }
    client
}

/// A client that is logged in as the test user, with TYPE I.
fn client(gateway: &Gateway, listener: &str) -> Raw {
    let mut client = greeted(gateway, listener);
    client.login(USER, PASSWORD);
    client.expect("TYPE I", 200);
    client
}
