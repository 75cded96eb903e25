//! SFTP listeners and backends, and public keys.

mod logins;
mod mistakes;

use std::time::Duration;

use russh::keys::{Algorithm, PublicKey};

use super::*;
use crate::backend::PartialUploads;
use crate::backend::sftp::{HostKey, Settings};
use crate::config::BackendSettings;
use crate::net::ssh::{Algorithms, Base, Side, algorithm_by_name};
use crate::route::{Access, Account};

const FINGERPRINT: &str = "SHA256:7TJTftCboJeWgImhO60Auf1uIL7rkdJp9FdpJ0JZG3o";

/// A valid configuration; tests replace a part of it.
fn base() -> String {
    format!(
        r#"listeners:
  secure:
    protocol: sftp
    address: "0.0.0.0:2222"
    host_keys: ssh_host_ed25519_key
backends:
  server:
    protocol: sftp
    address: server.example.com
    host_key: "{FINGERPRINT}"
    login: {{ user: svc, private_key: exchange_key }}
  legacy:
    protocol: ftp
    address: 10.1.2.9
users:
  alice:
    password_hash: "{HASH}"
    authorized_keys: alice.pub
routes:
  - match: {{ users: [alice] }}
    authenticate: gateway
    backend: server
  - authenticate: backend
    backend: legacy
"#
    )
}

fn public_key() -> PublicKey {
    PublicKey::from_openssh(PUBLIC_KEY).unwrap()
}

fn with(from: &str, to: &str) -> String {
    let base = base();
    assert!(base.contains(from), "{from}");
    base.replacen(from, to, 1)
}

fn server(config: &Compiled, index: usize) -> &Settings {
    let BackendSettings::Sftp(server) = &config.backends[index].1 else { panic!() };
    server
}

#[test]
fn a_minimal_configuration_has_safe_defaults() {
    let config = compiled(&base());
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    assert!(config.listeners.is_empty());
    let listener = &config.sftp_listeners[0];
    assert_eq!(listener.name, "secure");
    assert_eq!(listener.addresses, ["0.0.0.0:2222".parse().unwrap()]);
    assert_eq!(listener.host_keys[0].public_key().key_data(), public_key().key_data());
    assert_eq!((listener.rekey_bytes, listener.rekey_time.as_secs()), (1 << 30, 3600));
    assert_eq!((listener.keepalive.as_secs(), listener.channels), (60, 10));
    let server = server(&config, 0);
    assert_eq!(
        (server.name.as_str(), &*server.addresses),
        ("server", &["server.example.com:22".into()][..])
    );
    let HostKey::Fingerprints(prints) = &server.host_key else { panic!() };
    assert_eq!(*prints, [FINGERPRINT]);
    assert_eq!(server.algorithms, Algorithms::new(Side::Backend, Base::Modern));
    assert_eq!(listener.algorithms, Algorithms::new(Side::Listener, Base::Modern));
    assert_eq!(server.connects_at_once, 8);
    assert_eq!(server.partial_uploads, PartialUploads::Keep);
    let times = [server.connect_timeout, server.reply_timeout, server.keepalive];
    assert_eq!(times.map(|time| time.as_secs()), [10, 60, 30]);
    let BackendSettings::Ftp(legacy) = &config.backends[1].1 else { panic!() };
    assert_eq!(legacy.connections, 4);
    let Access::Gateway { account: Account::Mapped(account), .. } =
        &config.routes.0[0].backends()[0].access
    else {
        panic!()
    };
    assert_eq!((account.user.as_slice(), account.password.len()), (&b"svc"[..], 0));
    let key = account.key.as_ref().unwrap();
    assert_eq!(key.key.public_key().key_data(), public_key().key_data());
    let source = "192.0.2.1".parse().unwrap();
    assert!(config.users.get(b"alice").unwrap().keys.admits(&public_key(), source).is_ok());
}

#[test]
fn every_key_is_compiled() {
    let config = compiled(&format!(
        r#"
listeners:
  a:
    protocol: sftp
    address: ["127.0.0.1:22", "[::1]:22"]
    host_keys: [ssh_host_ed25519_key, ssh_host_rsa_key, ecdsa]
    rekey: {{ bytes: 512MiB, time: 30m }}
    keepalive: 15s
    channels: 3
    algorithms: {{ base: modern, add: [diffie-hellman-group14-sha256] }}
  b: {{ protocol: sftp, address: 127.0.0.1:0, host_keys: pkcs8.pem, rekey: {{ bytes: 1024KiB }} }}
backends:
  by-file:
    protocol: sftp
    address: ["server.example.com", "10.1.2.3:2222"]
    known_hosts: known_hosts
    algorithms: strict
    connects_at_once: 1000
    partial_uploads: temporary-name
    connect_timeout: 1s
    reply_timeout: 2s
    keepalive: 3s
    login: {{ user: svc, private_key: locked, passphrase_file: exchange.passphrase }}
  anybody:
    protocol: sftp
    address: "[2001:db8::1]"
    danger_accept_any_host_key: true
    login: {{ user: svc, password_file: exchange.password }}
  several:
    protocol: sftp
    address: c
    danger_accept_any_host_key: false
    host_key: ["{FINGERPRINT}", "{FINGERPRINT}"]
    login: pass-through
  legacy: {{ protocol: ftp, address: d, connections: 64 }}
users:
  alice: {{ authorized_keys: [alice.pub, acme.keys] }}
routes:
  - {{ match: {{ users: alice }}, authenticate: gateway, backend: by-file }}
  - {{ match: {{ users: alice }}, authenticate: gateway, backend: anybody }}
  - {{ match: {{ listeners: a }}, authenticate: backend, backend: several }}
  - {{ authenticate: backend, backend: legacy }}
"#
    ));
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    let [a, b] = &config.sftp_listeners[..] else { panic!() };
    assert_eq!((a.addresses.len(), a.host_keys.len(), a.channels), (2, 3, 3));
    assert_eq!(
        (a.rekey_bytes, a.rekey_time.as_secs(), a.keepalive.as_secs()),
        (512 << 20, 1800, 15)
    );
    assert_eq!((b.rekey_bytes, b.host_keys[0].algorithm()), (1 << 20, Algorithm::Ed25519));
    let by_file = server(&config, 0);
    assert_eq!(by_file.addresses, ["server.example.com:22"]);
    assert_eq!(server(&config, 1).addresses, ["10.1.2.3:2222"]);
    assert!(matches!(by_file.host_key, HostKey::KnownHosts(_)));
    assert_eq!(by_file.algorithms, Algorithms::new(Side::Backend, Base::Strict));
    let mut added = Algorithms::new(Side::Listener, Base::Modern);
    added.add(&algorithm_by_name("diffie-hellman-group14-sha256").unwrap()).unwrap();
    assert_eq!((&a.algorithms, a.algorithms == b.algorithms), (&added, false));
    assert_eq!(by_file.connects_at_once, 1000);
    assert_eq!(by_file.partial_uploads, PartialUploads::TemporaryName);
    let times = [by_file.connect_timeout, by_file.reply_timeout, by_file.keepalive];
    assert_eq!(times, [1, 2, 3].map(Duration::from_secs));
    let Access::Gateway { account: Account::Mapped(account), .. } =
        &config.routes.0[0].backends()[0].access
    else {
        panic!()
    };
    assert!(!account.key.as_ref().unwrap().key.is_encrypted());
    let anybody = server(&config, 2);
    assert!(matches!(anybody.host_key, HostKey::AcceptAny));
    assert_eq!(anybody.addresses, ["[2001:db8::1]:22"]);
    let Access::Gateway { account: Account::Mapped(account), .. } =
        &config.routes.0[1].backends()[0].access
    else {
        panic!()
    };
    assert!(account.key.is_none() && account.password.as_slice() == b"open sesame");
    assert!(matches!(&server(&config, 3).host_key, HostKey::Fingerprints(two) if two.len() == 2));
    let BackendSettings::Ftp(legacy) = &config.backends[4].1 else { panic!() };
    assert_eq!(legacy.connections, 64);
    let alice = config.users.get(b"alice").unwrap();
    assert!(alice.password_hash.is_none());
    assert!(alice.keys.admits(&public_key(), "192.0.2.1".parse().unwrap()).is_ok());
}
