//! SFTP at both ends, and public keys.

use std::time::Duration;

use russh::keys::{Algorithm, PublicKey};

use super::*;
use crate::backend::PartialUploads;
use crate::backend::sftp::{HostKey, Settings};
use crate::config::{BackendSettings, load_str};
use crate::route::Access;

const FINGERPRINT: &str = "SHA256:7TJTftCboJeWgImhO60Auf1uIL7rkdJp9FdpJ0JZG3o";

/// A right configuration; tests replace a part of it.
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

/// Replaces `from` and expects one problem at `place` with `words`.
#[track_caller]
fn one(from: &str, to: &str, place: &str, words: &str) {
    let told = report(&with(from, to));
    assert!(told.ends_with("\n1 problem"), "{told}");
    assert!(told.starts_with(&format!("lockgate.yaml:{place}")), "{place} {told}");
    assert!(told.contains(words), "{words}\n{told}");
}

/// Replaces `from` and expects one warning at `place` with `words`.
#[track_caller]
fn warned(from: &str, to: &str, place: &str, words: &str) {
    let told = compiled(&with(from, to)).warnings.to_string();
    assert!(told.ends_with("\n1 warning"), "{told}");
    assert!(told.starts_with(place) || told.contains(&format!(":{place}")), "{place} {told}");
    assert!(told.contains(words), "{words}\n{told}");
}

fn server(config: &Compiled, index: usize) -> &Settings {
    let BackendSettings::Sftp(server) = &config.backends[index].1 else { panic!() };
    server
}

#[test]
fn the_least_has_safe_defaults() {
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
    assert!(!server.legacy_algorithms);
    assert_eq!(server.partial_uploads, PartialUploads::Keep);
    let times = [server.connect_timeout, server.reply_timeout, server.keepalive];
    assert_eq!(times.map(|time| time.as_secs()), [10, 60, 30]);
    let BackendSettings::Ftp(legacy) = &config.backends[1].1 else { panic!() };
    assert_eq!(legacy.connections, 4);
    let Access::GatewayMapped(account) = &config.routes.0[0].access else { panic!() };
    assert_eq!((account.user.as_slice(), account.password.len()), (&b"svc"[..], 0));
    let key = account.key.as_ref().unwrap();
    assert_eq!(key.public_key().key_data(), public_key().key_data());
    let source = "192.0.2.1".parse().unwrap();
    assert!(config.users.get(b"alice").unwrap().keys.admits(&public_key(), source));
}

#[test]
fn every_key_arrives() {
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
  b: {{ protocol: sftp, address: 127.0.0.1:0, host_keys: pkcs8.pem, rekey: {{ bytes: 1024KiB }} }}
backends:
  by-file:
    protocol: sftp
    address: ["server.example.com", "10.1.2.3:2222"]
    known_hosts: known_hosts
    algorithms: legacy
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
    assert_eq!(by_file.addresses, ["server.example.com:22", "10.1.2.3:2222"]);
    assert!(matches!(by_file.host_key, HostKey::KnownHosts(_)) && by_file.legacy_algorithms);
    assert_eq!(by_file.partial_uploads, PartialUploads::TemporaryName);
    let times = [by_file.connect_timeout, by_file.reply_timeout, by_file.keepalive];
    assert_eq!(times, [1, 2, 3].map(Duration::from_secs));
    let Access::GatewayMapped(account) = &config.routes.0[0].access else { panic!() };
    assert!(!account.key.as_ref().unwrap().is_encrypted());
    let anybody = server(&config, 1);
    assert!(matches!(anybody.host_key, HostKey::AcceptAny));
    assert_eq!(anybody.addresses, ["[2001:db8::1]:22"]);
    let Access::GatewayMapped(account) = &config.routes.0[1].access else { panic!() };
    assert!(account.key.is_none() && account.password.as_slice() == b"open sesame");
    assert!(matches!(&server(&config, 2).host_key, HostKey::Fingerprints(two) if two.len() == 2));
    let BackendSettings::Ftp(legacy) = &config.backends[3].1 else { panic!() };
    assert_eq!(legacy.connections, 64);
    let alice = config.users.get(b"alice").unwrap();
    assert!(alice.password_hash.is_none());
    assert!(alice.keys.admits(&public_key(), "192.0.2.1".parse().unwrap()));
}

#[test]
fn listeners() {
    let keys = "host_keys: ssh_host_ed25519_key";
    let with = |more: &str| format!("{keys}\n    {more}");
    one(&format!("    {keys}\n"), "", "2:3: listeners.secure.host_keys", "is missing");
    one(keys, &with("host_key: a"), "6:5", "write host_keys, with one file or a list");
    one(keys, "host_keys: no.key", "5:16", "cannot read no.key: No such file");
    one(keys, "host_keys: alice.pub", "5:16", "alice.pub holds a public key");
    one(keys, "host_keys: exchange.password", "5:16", "holds no private key");
    one(keys, "host_keys: weak_rsa", "5:16", "RSA key of 1024 bits");
    one(keys, "host_keys: locked", "5:16", "is encrypted");
    one(
        keys,
        "host_keys: [ssh_host_ed25519_key, ecdsa, second_ed25519]",
        "5:46: listeners.secure.host_keys[2]",
        "second key of the kind ssh-ed25519",
    );
    one(keys, &with("tls: { mode: none }"), "6:5", "SFTP is encrypted by SSH");
    one(keys, &with("data_ports: pool"), "6:17", "SFTP has no data connections");
    one(keys, &with("active: { allowed: true }"), "6:5", "SFTP has no data connections");
    one(keys, &with("rekey: { bytes: 1GB }"), "6:21", r#"did you mean "1GiB"?"#);
    one(keys, &with("rekey: { bytes: 1000 }"), "6:21", "is no size such as 512MiB");
    one(keys, &with("rekey: { bytes: 2GiB }"), "6:21", "not between 1MiB and 1GiB");
    one(keys, &with("rekey: { bytes: 99999999999999GiB }"), "6:21", "not between 1MiB and 1GiB");
    one(keys, &with("rekey: { time: 0s }"), "6:20", "longer than nothing");
    one(keys, &with("keepalive: 30"), "6:16", r#"did you mean "30s"?"#);
    one(keys, &with("channels: 1001"), "6:15", r#"did you mean "1000"?"#);
    one(keys, &with("channel: 5"), "6:5", r#"did you mean "channels"?"#);
    let told = report(&super::base().replacen(
        "    data_ports: pool\n",
        "    data_ports: pool\n    host_keys: a\n    channels: 5\n",
        1,
    ));
    assert!(
        told.contains("7:5: listeners.public.host_keys: belongs to `protocol: sftp`; FTP is"),
        "{told}"
    );
    let words = "channels: belongs to `protocol: sftp`; a listener of `protocol: ftp` has address, tls, \
                 data_ports, active";
    assert!(told.contains(words) && told.ends_with("2 problems"), "{told}");
}

#[test]
fn a_key_file_that_others_can_read() {
    let folder = folder();
    let key = folder.path().join("ssh_host_ed25519_key");
    let told = |bits: u32| {
        mode(&key, bits);
        let loaded = load_beside(folder.path(), &base());
        loaded.map_or_else(|report| report.to_string(), |config| config.warnings.to_string())
    };
    assert!(told(0o644).contains("can be read by everybody on this machine (mode 0644)"));
    assert!(told(0o644).ends_with("1 problem"));
    assert!(told(0o620).contains("can be changed by others") && told(0o602).ends_with("1 problem"));
    assert_eq!((told(0o400), told(0o640)), ("0 warnings".into(), "0 warnings".into()));
    // As Kubernetes mounts secrets.
    mode(&key, 0o644);
    fs::rename(&key, folder.path().join("..data_key")).unwrap();
    std::os::unix::fs::symlink("..data_key", &key).unwrap();
    let told = load_beside(folder.path(), &base()).unwrap().warnings.to_string();
    assert!(told.contains("5:16: warning: ") && told.contains("defaultMode: 0400"), "{told}");
}

#[test]
fn how_a_server_is_known() {
    let key = format!("host_key: \"{FINGERPRINT}\"");
    let bare = FINGERPRINT.trim_start_matches("SHA256:");
    let meant = format!("did you mean \"{FINGERPRINT}\"?");
    one(
        &format!("    {key}\n"),
        "",
        "7:3: backends.server.host_key",
        "`ssh-keyscan server.example.com | ssh-keygen -lf -`",
    );
    one(
        &format!("server.example.com\n    {key}"),
        "server.example.com:2222",
        "7:3",
        "`ssh-keyscan -p 2222 server.example.com |",
    );
    one(&key, &format!("host_key: \"{bare}\""), "10:15", &meant);
    one(&key, &format!("host_key: \"{FINGERPRINT}=\""), "10:15", &meant);
    one(&key, &format!("host_key: \"{}\"", PUBLIC_KEY.trim()), "10:15", &meant);
    one(&key, &format!("host_key: \"host {}\"", PUBLIC_KEY.trim()), "10:15", &meant);
    one(&key, "host_key: \"SHA256:abc\"", "10:15", "is no SHA-256 fingerprint");
    one(
        &key,
        "host_key: \"MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48\"",
        "10:15",
        "is an MD5",
    );
    one(&key, "known_hosts: no.file", "10:18", "cannot read no.file");
    one(&key, "danger_accept_any_host_key: false", "7:3: backends.server.host_key", "is missing");
    one(&key, &format!("{key}\n    known_hosts: known_hosts"), "11:18", "`host_key` is there too");
    one(
        &key,
        &format!("danger_accept_any_host_key: true\n    {key}"),
        "10:33",
        "`host_key` is there too",
    );
}

#[test]
fn backends() {
    let address = "    address: server.example.com\n";
    let with = |more: &str| format!("{address}    {more}\n");
    one(address, "", "7:3: backends.server.address", "where is the server?");
    one(
        address,
        &with("tls: { mode: none }"),
        "10:5",
        "belongs to `protocol: ftp`; a backend of `protocol: sftp` has address, host_key,",
    );
    one(address, &with("connections: 2"), "10:18", "belongs to `protocol: ftp`");
    one(address, &with("folder: files"), "10:13", "use a route's `root`");
    one(address, &with("algorithms: old"), "10:17", "is none of modern, legacy");
    one(address, &with("private_key: exchange_key"), "10:5", "it belongs to the account");
    let local = "legacy:\n    protocol: local\n    folder: files\n    keepalive: 1s\n";
    let told = report(
        &base()
            .replace("legacy:\n    protocol: ftp\n    address: 10.1.2.9\n", local)
            .replace("- authenticate: backend", "- authenticate: gateway"),
    );
    assert!(
        told.contains("belongs to `protocol: sftp`; a backend of `protocol: local` has folder"),
        "{told}"
    );
}

#[test]
fn accounts() {
    let account = "{ user: svc, private_key: exchange_key }";
    one(account, "{ user: svc }", "11:5", "needs `password_file`, `password_env` or `private_key`");
    one(account, "{ user: svc, private_key: no.key }", "11:38", "cannot read no.key");
    one(account, "{ user: svc, private_key: alice.pub }", "11:38", "holds a public key");
    one(
        account,
        "{ user: svc, private_key: locked }",
        "11:38",
        "is encrypted, and there is no passphrase",
    );
    one(
        account,
        "{ user: svc, private_key: locked, passphrase_file: empty.password }",
        "11:63",
        "it is empty",
    );
    one(
        account,
        "{ user: svc, private_key: second_ed25519, passphrase_file: exchange.passphrase }",
        "11:38",
        "is not encrypted; take",
    );
    one(
        account,
        "{ user: svc, private_key: exchange_key, password_env: HOME }",
        "11:38",
        "`password_env` is there too",
    );
    one(
        account,
        "{ user: svc, password_env: HOME, passphrase_file: exchange.passphrase }",
        "11:63",
        "does nothing without `private_key`",
    );
    let told = report(&with(account, "{ user: svc, passphrase: hunter2 }"));
    assert!(told.contains("name it with passphrase_file") && !told.contains("hunter2"), "{told}");
}

#[test]
fn a_wrong_passphrase_is_told() {
    let account = "{ user: svc, private_key: exchange_key }";
    let other = "{ user: svc, private_key: locked, passphrase_file: alice.pub }";
    one(account, other, "11:38", "is it the right passphrase?");
}

#[test]
fn an_ftp_server_takes_no_key() {
    let told = report(
        &with(
            "address: 10.1.2.9\n",
            "address: 10.1.2.9\n    login: { user: a, private_key: exchange_key }\n",
        )
        .replace("- authenticate: backend", "- authenticate: gateway"),
    );
    assert!(
        told.contains("15:36: backends.legacy.login.private_key: belongs to `protocol: sftp`"),
        "{told}"
    );
    assert!(told.ends_with("\n1 problem"), "{told}");
}

#[test]
fn users() {
    let keys = "authorized_keys: alice.pub";
    one(keys, "authorized_keys: no.keys", "18:22", "cannot read no.keys");
    one(
        keys,
        "authorized_keys: exchange.password",
        "18:22",
        "exchange.password: line 1 has no key type where one belongs",
    );
    one(keys, "authorized_keys: exchange_key", "18:22", "holds a private key; its public half");
    let told = report(&with(keys, "authorized_keys: [alice.pub, bad.keys]"));
    assert!(told.contains("18:34: users.alice.authorized_keys[1]: bad.keys: line 1 has the option `cert-authority`"), "{told}");
    assert!(told.contains("bad.keys: line 2 is no key") && told.ends_with("2 problems"), "{told}");
    let folder = folder();
    fs::write(folder.path().join("empty.keys"), "# nobody\n").unwrap();
    let told =
        load_beside(folder.path(), &with("alice.pub", "empty.keys")).err().unwrap().to_string();
    assert!(told.contains("empty.keys holds no key"), "{told}");
}

#[test]
fn keys_that_open_nothing_are_a_warning() {
    let account = "    login: { user: svc, private_key: exchange_key }\n";
    let hash = format!("    password_hash: \"{HASH}\"\n");
    warned(
        account,
        "",
        "17:5: warning: users.alice",
        "a key cannot be passed on, so these keys open nothing",
    );
    let listeners = "match: { users: [alice], listeners: [plain] }";
    let plain =
        "  plain: { protocol: ftp, address: 127.0.0.1:0, active: { allowed: true } }\nbackends:";
    let two_doors = with("backends:", plain).replace("match: { users: [alice] }", listeners);
    let told = compiled(&two_doors).warnings.to_string();
    assert!(told.contains("takes this user from an SFTP listener"), "{told}");
    let secure = base().find("  secure:").unwrap()..base().find("backends:").unwrap();
    let mut only_ftp = base();
    only_ftp.replace_range(secure, plain.trim_end_matches("backends:"));
    let told = compiled(&only_ftp).warnings.to_string();
    assert!(
        told.contains("no listener has `protocol: sftp`, so these keys open nothing"),
        "{told}"
    );
    let told = compiled(&with(account, "").replace(&hash, "")).warnings.to_string();
    assert!(told.contains("so this user can never log in"), "{told}");
}

#[test]
fn texts_without_a_file_read_from_the_current_folder() {
    assert!(
        load_str(&base(), "base")
            .err()
            .unwrap()
            .to_string()
            .contains("cannot read ssh_host_ed25519_key")
    );
}
