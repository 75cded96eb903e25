use super::*;
use crate::config::load_str;

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
        "second ssh-ed25519 key",
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
    let told = report(&crate::config::tests::base().replacen(
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
fn proxies() {
    let key = format!("host_key: \"{FINGERPRINT}\"");
    let send = |what: &str| format!("{key}\n    send_proxy_protocol: {what}");
    one(&key, &send("all"), "11:26", "SFTP has no data connections: write control");
    let host_keys = "host_keys: ssh_host_ed25519_key";
    let text = with(host_keys, &format!("{host_keys}\n    proxy_protocol: 10.0.0.7"));
    let config = compiled(&text.replacen(&key, &send("control"), 1));
    assert_eq!(config.sftp_listeners[0].proxy_protocol, ["10.0.0.7/32".parse().unwrap()]);
    assert!(server(&config, 0).send_proxy_protocol);
    let plain = compiled(&base());
    assert!(plain.sftp_listeners[0].proxy_protocol.is_empty());
    assert!(!server(&plain, 0).send_proxy_protocol);
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
fn a_known_hosts_file_must_know_every_address() {
    let key = format!("host_key: \"{FINGERPRINT}\"");
    let text = with(&key, "known_hosts: known_hosts");
    assert!(compiled(&text).warnings.is_empty());
    let told =
        report(&text.replace("server.example.com", "[server.example.com, other.example.com]"));
    assert!(
        told.contains(
            "10:18: backends.server.known_hosts: known_hosts holds no key of other.example.com:22"
        ),
        "{told}"
    );
    assert!(
        told.contains("`ssh-keyscan other.example.com`") && told.ends_with("\n1 problem"),
        "{told}"
    );
    // Another port is another server.
    let told = report(&text.replace("server.example.com", "server.example.com:2222"));
    assert!(
        told.contains("no key of server.example.com:2222; `ssh-keyscan -p 2222 server"),
        "{told}"
    );
    one(
        &key,
        "known_hosts: exchange.password",
        "10:18",
        "exchange.password: line 1 is not a known_hosts line",
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
    one(address, &with("tail_copy_max: 0"), "10:20", "belongs to `protocol: ftp`");
    one(address, &with("connections: 2"), "10:18", "belongs to `protocol: ftp`");
    one(address, &with("folder: files"), "10:13", "use a route's `root`");
    one(address, &with("algorithms: old"), "10:17", "is none of strict, modern, legacy");
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
fn algorithms() {
    let keys = "    host_keys: ssh_host_ed25519_key\n";
    let address = "    address: server.example.com\n";
    for (line, from) in [(6, keys), (10, address)] {
        let with = |value: &str| format!("{from}    algorithms: {value}\n");
        let bad = |value: &str, column: usize, words: &str| {
            one(from, &with(value), &format!("{line}:{column}"), words);
        };
        bad("moderne", 17, r#"did you mean "modern"?"#);
        bad("aes128-cbc", 17, "is one algorithm; write { base: modern, add: [aes128-cbc] }");
        bad("[aes128-cbc]", 17, "a list has no base; write { base: modern, add: […] }");
        bad("{ base: legacy }", 5, "algorithms.add: is missing");
        bad("{ base: old, add: ssh-rsa }", 25, "is none of strict, modern, legacy");
        bad("{ add: [ssh-rsa], more: 1 }", 35, "there is no such key");
        bad("{ add: [aes128-cbs] }", 25, r#"did you mean "aes128-cbc"?"#);
        bad("{ add: [arcfour] }", 25, "is no SSH algorithm that is known here");
        bad("{ add: [none] }", 25, "it would leave connections unprotected");
        bad("{ add: [curve25519-sha256] }", 25, "adds nothing: the base already contains it");
        bad("{ base: legacy, add: [ssh-rsa] }", 39, "adds nothing: the base already contains it");
        bad("{ add: [hmac-sha1, hmac-sha1] }", 36, "adds nothing: it is listed twice");
    }
    let with = |value: &str| format!("{keys}    algorithms: {value}\n");
    let large = "{ base: strict, add: [diffie-hellman-group18-sha512] }";
    one(keys, &with(large), "6:39", "diffie-hellman-group16-sha512 is the largest");
    let ecdsa = "    host_keys: ecdsa\n    algorithms: strict\n";
    one(keys, ecdsa, "6:17", "leaves no host key, so that no client could connect");
    // Of 2048 bits.
    let rsa = "    host_keys: [ssh_host_ed25519_key, ssh_host_rsa_key]\n    algorithms: strict\n";
    warned(keys, rsa, "5:39", "an RSA key of 2048 bits is not offered; at least 3072 are required");
    let told = report(&crate::config::tests::base().replacen(
        "    data_ports: pool\n",
        "    data_ports: pool\n    algorithms: legacy\n",
        1,
    ));
    assert!(told.contains("belongs to `protocol: sftp`; of TLS, rustls serves 1.2"), "{told}");
}

#[test]
fn broken_algorithms_are_warned_of() {
    let keys = "    host_keys: ssh_host_ed25519_key\n";
    let both = "    host_keys: [ssh_host_ed25519_key, ssh_host_rsa_key]\n";
    let listener = |value: &str| format!("{both}    algorithms: {value}\n");
    let words = "what clients that agree on these send, passwords too, may be read or changed";
    warned(keys, &listener("legacy"), "6:17", words);
    warned(
        keys,
        &listener("{ base: legacy, add: diffie-hellman-group15-sha512 }"),
        "6:25",
        "Logjam",
    );
    let group1 = "{ base: modern, add: [diffie-hellman-group1-sha1] }";
    warned(keys, &listener(group1), "6:39", "its group of 1024 bits can be broken");
    warned(keys, &listener("{ add: ssh-rsa }"), "6:24", "disabled in OpenSSH since 8.8");
    // Slow, not broken.
    let well = with(keys, &listener("{ add: diffie-hellman-group14-sha256 }"));
    assert!(compiled(&well).warnings.is_empty());
    // Old clients know no other kind of host key.
    let told = compiled(&with(keys, &format!("{keys}    algorithms: legacy\n"))).warnings;
    assert!(
        told.to_string().contains("host_keys: has no RSA key, which old clients need"),
        "{told}"
    );
    assert!(told.to_string().ends_with("\n2 warnings"), "{told}");
    let address = "    address: server.example.com\n";
    let backend = |value: &str| format!("{address}    algorithms: {value}\n");
    warned(address, &backend("legacy"), "10:17", "A server that is updated needs none of it");
    warned(address, &backend("{ add: [3des-cbc] }"), "10:25", "Sweet32");
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
        "is encrypted: name its passphrase",
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
        "11:62",
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
    mode(&folder.path().join("alice.pub"), 0o666);
    let told = load_beside(folder.path(), &base()).err().unwrap().to_string();
    assert!(told.contains("alice.pub can be changed by everybody"), "{told}");
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
