//! Invalid SFTP settings and their messages.

use super::*;
use crate::config::load_str;

/// Replaces `from` and expects one problem at `position` with `message`.
#[track_caller]
fn one(from: &str, to: &str, position: &str, message: &str) {
    let output = report(&with(from, to));
    assert!(output.ends_with("\n1 problem"), "{output}");
    assert!(output.starts_with(&format!("lockgate.yaml:{position}")), "{position} {output}");
    assert!(output.contains(message), "{message}\n{output}");
}

/// Replaces `from` and expects one warning at `position` with `message`.
#[track_caller]
fn warned(from: &str, to: &str, position: &str, message: &str) {
    let output = compiled(&with(from, to)).warnings.to_string();
    assert!(output.ends_with("\n1 warning"), "{output}");
    assert!(
        output.starts_with(position) || output.contains(&format!(":{position}")),
        "{position} \
                                                                                       {output}"
    );
    assert!(output.contains(message), "{message}\n{output}");
}

#[test]
fn invalid_listeners_are_errors() {
    let keys = "host_keys: ssh_host_ed25519_key";
    let with = |more: &str| format!("{keys}\n    {more}");
    one(&format!("    {keys}\n"), "", "2:3: listeners.secure.host_keys", "is missing");
    one(keys, &with("host_key: a"), "6:5", "write host_keys, with one file or a list");
    one(keys, "host_keys: no.key", "5:16", "cannot read no.key: No such file");
    one(keys, "host_keys: alice.pub", "5:16", "alice.pub contains a public key");
    one(keys, "host_keys: exchange.password", "5:16", "no private key");
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
    one(keys, &with("rekey: { bytes: 1000 }"), "6:21", "is not a size such as 512MiB");
    one(keys, &with("rekey: { bytes: 2GiB }"), "6:21", "not between 1MiB and 1GiB");
    one(keys, &with("rekey: { bytes: 99999999999999GiB }"), "6:21", "not between 1MiB and 1GiB");
    one(keys, &with("rekey: { time: 0s }"), "6:20", "longer than zero");
    one(keys, &with("keepalive: 30"), "6:16", r#"did you mean "30s"?"#);
    one(keys, &with("channels: 1001"), "6:15", r#"did you mean "1000"?"#);
    one(keys, &with("channel: 5"), "6:5", r#"did you mean "channels"?"#);
    let output = report(&crate::config::tests::base().replacen(
        "    data_ports: pool\n",
        "    data_ports: pool\n    host_keys: a\n    channels: 5\n",
        1,
    ));
    assert!(
        output.contains("7:5: listeners.public.host_keys: belongs to `protocol: sftp`; FTP is"),
        "{output}"
    );
    let message = "channels: belongs to `protocol: sftp`; a listener of `protocol: ftp` has address, tls, \
                 data_ports, active";
    assert!(output.contains(message) && output.ends_with("2 problems"), "{output}");
}

#[test]
fn a_private_key_that_others_can_read_is_an_error() {
    let folder = folder();
    let key = folder.path().join("ssh_host_ed25519_key");
    let output = |bits: u32| {
        mode(&key, bits);
        let loaded = load_beside(folder.path(), &base());
        loaded.map_or_else(|report| report.to_string(), |config| config.warnings.to_string())
    };
    assert!(output(0o644).contains("can be read by every user of this machine (mode 0644)"));
    assert!(output(0o644).ends_with("1 problem"));
    assert!(
        output(0o620).contains("can be changed by other users")
            && output(0o602).ends_with("1 problem")
    );
    assert_eq!((output(0o400), output(0o640)), ("0 warnings".into(), "0 warnings".into()));
    // As Kubernetes mounts secrets.
    mode(&key, 0o644);
    fs::rename(&key, folder.path().join("..data_key")).unwrap();
    std::os::unix::fs::symlink("..data_key", &key).unwrap();
    let output = load_beside(folder.path(), &base()).unwrap().warnings.to_string();
    assert!(output.contains("5:16: warning: ") && output.contains("defaultMode: 0400"), "{output}");
}

#[test]
fn proxy_protocol_settings_are_compiled() {
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
fn a_server_needs_a_valid_host_key() {
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
    one(&key, "host_key: \"SHA256:abc\"", "10:15", "is not a SHA-256 fingerprint");
    one(
        &key,
        "host_key: \"MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48\"",
        "10:15",
        "is an MD5",
    );
    one(&key, "known_hosts: no.file", "10:18", "cannot read no.file");
    one(&key, "danger_accept_any_host_key: false", "7:3: backends.server.host_key", "is missing");
    one(&key, &format!("{key}\n    known_hosts: known_hosts"), "11:18", "`host_key` is set, too");
    one(
        &key,
        &format!("danger_accept_any_host_key: true\n    {key}"),
        "10:33",
        "`host_key` is set, too",
    );
}

#[test]
fn a_known_hosts_file_must_have_every_address() {
    let key = format!("host_key: \"{FINGERPRINT}\"");
    let text = with(&key, "known_hosts: known_hosts");
    assert!(compiled(&text).warnings.is_empty());
    let output =
        report(&text.replace("server.example.com", "[server.example.com, other.example.com]"));
    assert!(
        output.contains(
            "10:18: backends.server.known_hosts: known_hosts has no key of other.example.com:22"
        ),
        "{output}"
    );
    assert!(
        output.contains("`ssh-keyscan other.example.com`") && output.ends_with("\n1 problem"),
        "{output}"
    );
    // Another port is another server.
    let output = report(&text.replace("server.example.com", "server.example.com:2222"));
    assert!(
        output.contains("no key of server.example.com:2222, and no @cert-authority for it; `ssh-keyscan -p 2222 server"),
        "{output}"
    );
    one(
        &key,
        "known_hosts: exchange.password",
        "10:18",
        "exchange.password: line 1 is not a known_hosts line",
    );
}

#[test]
fn invalid_backends_are_errors() {
    let address = "    address: server.example.com\n";
    let with = |more: &str| format!("{address}    {more}\n");
    one(address, "", "7:3: backends.server.address", "write the server's address");
    one(
        address,
        &with("tls: { mode: none }"),
        "10:5",
        "belongs to `protocol: ftp`; a backend of `protocol: sftp` has address, choose,",
    );
    one(address, &with("tail_copy_max: 0"), "10:20", "belongs to `protocol: ftp`");
    one(address, &with("connections: 2"), "10:18", "belongs to `protocol: ftp`");
    one(address, &with("folder: files"), "10:13", "set a route's `root`");
    one(address, &with("algorithms: old"), "10:17", "is not one of strict, modern, legacy");
    one(address, &with("private_key: exchange_key"), "10:5", "it belongs to the account");
    let local = "legacy:\n    protocol: local\n    folder: files\n    keepalive: 1s\n";
    let output = report(
        &base()
            .replace("legacy:\n    protocol: ftp\n    address: 10.1.2.9\n", local)
            .replace("- authenticate: backend", "- authenticate: gateway"),
    );
    assert!(
        output.contains("belongs to `protocol: sftp`; a backend of `protocol: local` has folder"),
        "{output}"
    );
}

#[test]
fn invalid_algorithms_are_errors() {
    let keys = "    host_keys: ssh_host_ed25519_key\n";
    let address = "    address: server.example.com\n";
    for (line, from) in [(6, keys), (10, address)] {
        let with = |value: &str| format!("{from}    algorithms: {value}\n");
        let bad = |value: &str, column: usize, message: &str| {
            one(from, &with(value), &format!("{line}:{column}"), message);
        };
        bad("moderne", 17, r#"did you mean "modern"?"#);
        bad("aes128-cbc", 17, "is a single algorithm; write { base: modern, add: [aes128-cbc] }");
        bad(
            "[aes128-cbc]",
            17,
            "a list of algorithms needs a base; write { base: modern, add: […] }",
        );
        bad("{ base: legacy }", 5, "algorithms.add: is missing");
        bad("{ base: old, add: ssh-rsa }", 25, "is not one of strict, modern, legacy");
        bad("{ add: [ssh-rsa], more: 1 }", 35, "unknown key");
        bad("{ add: [aes128-cbs] }", 25, r#"did you mean "aes128-cbc"?"#);
        bad("{ add: [arcfour] }", 25, "is not a known SSH algorithm");
        bad("{ add: [none] }", 25, "it would leave connections unprotected");
        bad("{ add: [curve25519-sha256] }", 25, "adds nothing: the base already contains it");
        bad("{ base: legacy, add: [ssh-rsa] }", 39, "adds nothing: the base already contains it");
        bad("{ add: [hmac-sha1, hmac-sha1] }", 36, "adds nothing: it is listed twice");
    }
    let with = |value: &str| format!("{keys}    algorithms: {value}\n");
    let large = "{ base: strict, add: [diffie-hellman-group18-sha512] }";
    one(keys, &with(large), "6:39", "the largest allowed is diffie-hellman-group16-sha512");
    let ecdsa = "    host_keys: ecdsa\n    algorithms: strict\n";
    one(keys, ecdsa, "6:17", "leaves no host key, so no client could connect");
    // Of 2048 bits.
    let rsa = "    host_keys: [ssh_host_ed25519_key, ssh_host_rsa_key]\n    algorithms: strict\n";
    warned(keys, rsa, "5:39", "an RSA key of 2048 bits is not offered; at least 3072 are required");
    let output = report(&crate::config::tests::base().replacen(
        "    data_ports: pool\n",
        "    data_ports: pool\n    algorithms: legacy\n",
        1,
    ));
    assert!(output.contains("belongs to `protocol: sftp`; TLS is 1.2"), "{output}");
}

#[test]
fn weak_algorithms_are_warnings() {
    let keys = "    host_keys: ssh_host_ed25519_key\n";
    let both = "    host_keys: [ssh_host_ed25519_key, ssh_host_rsa_key]\n";
    let listener = |value: &str| format!("{both}    algorithms: {value}\n");
    let message = "data and passwords of clients that negotiate these may be read or changed";
    warned(keys, &listener("legacy"), "6:17", message);
    warned(
        keys,
        &listener("{ base: legacy, add: diffie-hellman-group15-sha512 }"),
        "6:25",
        "Logjam",
    );
    let group1 = "{ base: modern, add: [diffie-hellman-group1-sha1] }";
    warned(keys, &listener(group1), "6:39", "its group of 1024 bits can be broken");
    warned(keys, &listener("{ add: ssh-rsa }"), "6:24", "disabled in OpenSSH since 8.8");
    // Slow, but not weak.
    let well = with(keys, &listener("{ add: diffie-hellman-group14-sha256 }"));
    assert!(compiled(&well).warnings.is_empty());
    // Old clients support RSA host keys only.
    let output = compiled(&with(keys, &format!("{keys}    algorithms: legacy\n"))).warnings;
    assert!(
        output.to_string().contains("host_keys: has no RSA key, which old clients need"),
        "{output}"
    );
    assert!(output.to_string().ends_with("\n2 warnings"), "{output}");
    let address = "    address: server.example.com\n";
    let backend = |value: &str| format!("{address}    algorithms: {value}\n");
    warned(address, &backend("legacy"), "10:17", "Update the server if possible");
    warned(address, &backend("{ add: [3des-cbc] }"), "10:25", "Sweet32");
}

#[test]
fn invalid_accounts_are_errors() {
    let account = "{ user: svc, private_key: exchange_key }";
    one(
        account,
        "{ user: svc }",
        "11:5",
        "requires `password_file`, `password_env` or `private_key`",
    );
    one(account, "{ user: svc, private_key: no.key }", "11:38", "cannot read no.key");
    one(account, "{ user: svc, private_key: alice.pub }", "11:38", "contains a public key");
    one(
        account,
        "{ user: svc, private_key: locked }",
        "11:38",
        "is encrypted: set `passphrase_file`",
    );
    one(
        account,
        "{ user: svc, private_key: locked, passphrase_file: empty.password }",
        "11:63",
        "is empty",
    );
    one(
        account,
        "{ user: svc, private_key: second_ed25519, passphrase_file: exchange.passphrase }",
        "11:38",
        "is not encrypted; remove",
    );
    one(
        account,
        "{ user: svc, private_key: exchange_key, password_env: HOME }",
        "11:38",
        "`password_env` is set, too",
    );
    one(
        account,
        "{ user: svc, password_env: HOME, passphrase_file: exchange.passphrase }",
        "11:62",
        "has no effect without `private_key`",
    );
    let output = report(&with(account, "{ user: svc, passphrase: hunter2 }"));
    assert!(output.contains("use passphrase_file") && !output.contains("hunter2"), "{output}");
}

#[test]
fn a_wrong_passphrase_is_an_error() {
    let account = "{ user: svc, private_key: exchange_key }";
    let other = "{ user: svc, private_key: locked, passphrase_file: alice.pub }";
    one(account, other, "11:38", "check the passphrase");
}

#[test]
fn a_private_key_for_ftp_is_an_error() {
    let output = report(
        &with(
            "address: 10.1.2.9\n",
            "address: 10.1.2.9\n    login: { user: a, private_key: exchange_key }\n",
        )
        .replace("- authenticate: backend", "- authenticate: gateway"),
    );
    assert!(
        output.contains("15:36: backends.legacy.login.private_key: belongs to `protocol: sftp`"),
        "{output}"
    );
    assert!(output.ends_with("\n1 problem"), "{output}");
}

#[test]
fn invalid_authorized_keys_are_errors() {
    let keys = "authorized_keys: alice.pub";
    one(keys, "authorized_keys: no.keys", "18:22", "cannot read no.keys");
    one(
        keys,
        "authorized_keys: exchange.password",
        "18:22",
        "exchange.password: line 1 has no key type",
    );
    one(
        keys,
        "authorized_keys: exchange_key",
        "18:22",
        "contains a private key; name the public key",
    );
    let output = report(&with(keys, "authorized_keys: [alice.pub, bad.keys]"));
    assert!(output.contains("18:34: users.alice.authorized_keys[1]: bad.keys: line 1 has the option `cert-authority`"), "{output}");
    assert!(
        output.contains("bad.keys: line 2 is not a key") && output.ends_with("2 problems"),
        "{output}"
    );
    let folder = folder();
    fs::write(folder.path().join("empty.keys"), "# nobody\n").unwrap();
    let output =
        load_beside(folder.path(), &with("alice.pub", "empty.keys")).err().unwrap().to_string();
    assert!(output.contains("empty.keys contains no key"), "{output}");
    mode(&folder.path().join("alice.pub"), 0o666);
    let output = load_beside(folder.path(), &base()).err().unwrap().to_string();
    assert!(output.contains("alice.pub can be changed by every user"), "{output}");
}

#[test]
fn unused_authorized_keys_are_warnings() {
    let account = "    login: { user: svc, private_key: exchange_key }\n";
    let hash = format!("    password_hash: \"{HASH}\"\n");
    warned(
        account,
        "",
        "17:5: warning: users.alice",
        "which needs the user's password, so these keys have no effect",
    );
    let listeners = "match: { users: [alice], listeners: [plain] }";
    let plain =
        "  plain: { protocol: ftp, address: 127.0.0.1:0, active: { allowed: true } }\nbackends:";
    let two_listeners = with("backends:", plain).replace("match: { users: [alice] }", listeners);
    let output = compiled(&two_listeners).warnings.to_string();
    assert!(output.contains("matches this user at an SFTP listener"), "{output}");
    let secure = base().find("  secure:").unwrap()..base().find("backends:").unwrap();
    let mut only_ftp = base();
    only_ftp.replace_range(secure, plain.trim_end_matches("backends:"));
    let output = compiled(&only_ftp).warnings.to_string();
    assert!(
        output.contains("no listener has `protocol: sftp`, so these keys have no effect"),
        "{output}"
    );
    let output = compiled(&with(account, "").replace(&hash, "")).warnings.to_string();
    assert!(output.contains("so this user can never log in"), "{output}");
}

#[test]
fn file_names_in_text_are_relative_to_the_current_folder() {
    assert!(
        load_str(&base(), "base")
            .err()
            .unwrap()
            .to_string()
            .contains("cannot read ssh_host_ed25519_key")
    );
}
