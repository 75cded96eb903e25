//! Invalid configurations and their messages.

use super::*;

#[test]
fn twelve_mistakes_are_reported_at_once() {
    let text = r#"
listeners:
  public:
    protocol: ftp
    adress: "0.0.0.0:21"
    tls:
      mode: require
      certificate: tls.crt
      key: missing.key
    data_ports: publik
    tls: { mode: none }
data_ports:
  public:
    range: 50099-50000
    listen: [0.0.0.0, localhost]
backends:
  payroll:
    protocol: ftp
    address: "ftp://10.1.2.3"
    connect_timeout: 10
    login: { user: svc, password: hunter2 }
routes:
  - match: { groups: [partners] }
    authenticate: backend
    backend: pay-roll
"#;
    insta::assert_snapshot!(report(text), @r#"
    lockgate.yaml:5:5: listeners.public.adress: unknown key (did you mean "address"?)
        5 |     adress: "0.0.0.0:21"
          |     ^^^^^^
    lockgate.yaml:7:13: listeners.public.tls.mode: "require" is not one of none, optional, required, implicit (did you mean "required"?)
        7 |       mode: require
          |             ^^^^^^^
    lockgate.yaml:10:17: listeners.public.data_ports: there is no pool of data ports "publik" (did you mean "public"?)
       10 |     data_ports: publik
          |                 ^^^^^^
    lockgate.yaml:11:5: listeners.public.tls: is a duplicate (first in line 6)
       11 |     tls: { mode: none }
          |     ^^^
    lockgate.yaml:14:12: data_ports.public.range: "50099-50000" ends before it starts (did you mean "50000-50099"?)
       14 |     range: 50099-50000
          |            ^^^^^^^^^^^
    lockgate.yaml:15:23: data_ports.public.listen[1]: "localhost" is not an IP address (did you mean "127.0.0.1"?)
       15 |     listen: [0.0.0.0, localhost]
          |                       ^^^^^^^^^
    lockgate.yaml:19:14: backends.payroll.address: remove "ftp://"; an address is a host and a port (did you mean "10.1.2.3"?)
       19 |     address: "ftp://10.1.2.3"
          |              ^^^^^^^^^^^^^^^^
    lockgate.yaml:20:22: backends.payroll.connect_timeout: a duration needs a unit (did you mean "10s"?)
       20 |     connect_timeout: 10
          |                      ^^
    lockgate.yaml:21:5: backends.payroll.login: requires `password_file` or `password_env`
       21 |     login: { user: svc, password: (not shown)
          |     ^^^^^
    lockgate.yaml:21:25: backends.payroll.login.password: unknown key: secrets do not belong in this file; use password_file or password_env
       21 |     login: { user: svc, password: (not shown)
          |                         ^^^^^^^^
    lockgate.yaml:23:14: routes[0].match.groups: groups match only users that the gateway authenticates, but this route has `authenticate: backend`
       23 |   - match: { groups: [partners] }
          |              ^^^^^^
    lockgate.yaml:25:14: routes[0].backend: there is no backend "pay-roll" (did you mean "payroll"?)
       25 |     backend: pay-roll
          |              ^^^^^^^^
    12 problems
    "#);
}

/// Replaces `from` in the base and expects one problem at `position` with `message`.
#[track_caller]
pub(super) fn one(from: &str, to: &str, position: &str, message: &str) {
    let base = base();
    assert!(base.contains(from), "{from}");
    let output = report(&base.replacen(from, to, 1));
    assert!(output.ends_with("\n1 problem"), "{output}");
    assert!(output.starts_with(&format!("lockgate.yaml:{position}")), "{position} {output}");
    assert!(output.contains(message), "{message}\n{output}");
}

#[test]
fn the_base_is_valid() {
    assert!(compiled(&base()).warnings.is_empty());
}

#[test]
fn unknown_duplicate_and_missing_keys_are_errors() {
    one("limits:", "limit:", "28:1: limit", r#"unknown key (did you mean "limits"?)"#);
    one("sessions: 10", "sesions: 10", "29:3: limits.sesions", r#"did you mean "sessions"?"#);
    one("sessions: 10", "colour: 10", "29:3: limits.colour", "known are: sessions, sessions_per_");
    one(
        "limits:",
        "admin: { socket: s, token: t }\nlimits:",
        "28:21: admin.token",
        "secrets do not belong in this file",
    );
    one("sessions: 10", "sessions: 1\n  sessions: 2", "30:3", "a duplicate (first in line 29)");
    one("sessions: 10", "sessions:", "29:3", "has no value");
    one("sessions: 10", "sessions: [1]", "29:13", "not a list");
    one("sessions: 10", "sessions: { a: 1 }", "29:13", "not keys");
    one("  sessions: 10", "", "28:1: limits", "has no keys");
    one(
        "limits:\n  sessions: 10",
        "limits: 5",
        "28:9",
        "expected a mapping with the keys sessions, ",
    );
    one("data_ports: pool\n", "data_ports: pool\n    mode: optional\n", "7:5", "under `tls`");
    one("data_ports: pool\n", "data_ports: pool\n    port: 21\n", "7:5", "part of `address`");
    one("    protocol: ftp\n", "", "2:3: listeners.public.protocol", "is missing");
    one("limits:", "<<: {}\nlimits:", "28:1", "merge keys");
    one("limits:", "? [a]\n: b\nlimits:", "28:3", "plain name");
}

#[test]
fn invalid_listeners_are_errors() {
    let tls = "{ mode: required, certificate: tls.crt, key: tls.key }";
    one("protocol: ftp", "protocol: ftps", "3:15", "`tls.mode: required` (AUTH TLS");
    one("protocol: ftp", "protocol: ssh", "3:15", r#"did you mean "sftp"?"#);
    one("protocol: ftp", "protocol: ftpx", "3:15", r#"did you mean "ftp"?"#);
    one("\"0.0.0.0:21\"", "0.0.0.0", "4:14", "has no port: write 0.0.0.0:21 for FTP");
    one("\"0.0.0.0:21\"", "\":21\"", "4:14", r#"did you mean "0.0.0.0:21"?"#);
    one("\"0.0.0.0:21\"", "21", "4:14", r#"did you mean "0.0.0.0:21"?"#);
    one("\"0.0.0.0:21\"", "ftp.example.com:21", "4:14", "is not an IP address with a port");
    one("\"0.0.0.0:21\"", "localhost:21", "4:14", r#"did you mean "127.0.0.1:21"?"#);
    one("\"0.0.0.0:21\"", "[]", "4:5", "is an empty list");
    one(
        "\"0.0.0.0:21\"",
        "[\"[::]:21\", \"[::1]:21\"]",
        "4:26",
        "listens twice: [::]:21 and [::1]:21",
    );
    one(
        "mode: required",
        "mode: on",
        "5:18",
        r#""on" is not one of none, optional, required, implicit"#,
    );
    one(tls, "{ mode: none, certificate: tls.crt }", "5:37", "has no effect with `mode: none`");
    one(
        tls,
        "{ mode: implicit, certificate: tls.crt }",
        "5:5: listeners.public.tls.key",
        "missing",
    );
    one("key: tls.key", "key: other.key", "5:55", "do not belong together");
    one("key: tls.key", "key: tls.crt", "5:55", "no private key");
    for encrypted in ["encrypted.key", "encrypted-old.key"] {
        one(
            "key: tls.key",
            &format!("key: {encrypted}"),
            "5:55",
            "is encrypted, and passphrases are not",
        );
    }
    one("key: tls.key", "key: nowhere.key", "5:55", "cannot read nowhere.key");
    one("tls.crt", "tls.key", "5:41", "holds no certificate");
    one("tls.crt", "nowhere.crt", "5:41", "cannot read nowhere.crt");
    let output = report(&base().replace("tls.crt, key: tls.key", "no.crt, key: no.key"));
    assert!(
        output.contains("cannot read no.crt") && output.contains("cannot read no.key"),
        "{output}"
    );
    one("tls.crt,", "tls.crt, require_close_notify: yes,", "5:72", r#"did you mean "true"?"#);
    one("data_ports: pool", "data_ports: pol", "6:17", r#"did you mean "pool"?"#);
    one("  public:", "  pub lic:", "2:3", "a name may contain only letters");
}

#[test]
fn a_listener_without_data_connections_is_an_error() {
    let output = report(&base().replace("    data_ports: pool\n", ""));
    assert!(output.contains("2:3: listeners.public: cannot transfer data"), "{output}");
    // The unused pool is a consequence, and not reported.
    assert!(output.ends_with("1 problem"), "{output}");
}

#[test]
fn invalid_pools_are_errors() {
    let range = "    range: 50000-50099\n";
    let with = |more: &str| format!("{range}    {more}\n");
    let second = |range: &str| format!("    range: 50000-50099\n  b:\n    range: {range}\n");
    one("50000-50099", "0-10", "9:12", "not a range of ports from 1 to 65535");
    one("50000-50099", "50000..50099", "9:12", r#"did you mean "50000-50099"?"#);
    one("50000-50099", "50099-50000", "9:12", r#"did you mean "50000-50099"?"#);
    one(
        "50000-50099",
        "20-30",
        "9:12",
        "0.0.0.0:20-30 overlaps with 0.0.0.0:21 of listeners.public",
    );
    one(range, &with("listen: [0.0.0.0, 10.0.0.1]"), "9:12", "listens twice");
    one(range, &with("listen: any"), "10:13", "\"any\" is not an IP address");
    one(range, &with("advertise: [{ address: 0.0.0.0 }]"), "10:28", "no client can connect");
    one(
        range,
        &with("advertise: [{ clients: 10.0.0.0/8 }]"),
        "10:17: data_ports.pool.advertise[0]",
        "missing",
    );
    one(
        range,
        &with("advertise: [{ clients: 10.1.2.3/8, address: 10.0.0.1 }]"),
        "10:28",
        r#"did you mean "10.0.0.0/8"?"#,
    );
    let output = report(&base().replace(range, &second("50099")));
    let message = "11:12: data_ports.b.range: 0.0.0.0:50099 overlaps with 0.0.0.0:50000-50099 of \
                 data_ports.pool (line 9)";
    assert!(output.contains(message), "{output}");
}

#[test]
fn invalid_and_missing_proxy_protocol_settings_are_reported() {
    let (listener, pool) = ("data_ports: pool\n", "range: 50000-50099\n");
    let networks = "    proxy_protocol: [10.0.0.0/8]\n";
    let with = |from: &str, line: &str| format!("{from}    {line}\n");
    one(listener, &with(listener, "proxy_protocol: true"), "7:21", "\"true\" is not a network");
    one(listener, &with(listener, "proxy_protocol: []"), "7:5", "is an empty list");
    one(pool, &with(pool, "proxy_protocol: 10.1.2.3/8"), "10:21", r#"did you mean "10.0.0.0/8"?"#);
    one(
        "folder: files",
        "folder: files\n    send_proxy_protocol: control",
        "18:26",
        "belongs to `protocol: ftp` or `protocol: sftp`",
    );
    let address = "address: 10.1.2.3\n";
    one(
        address,
        &with(address, "send_proxy_protocol: v2"),
        "14:26",
        "is not one of none, control, all",
    );
    one(
        address,
        &with(address, "send_proxy_protocol: all\n    data_mode: active\n    data_ports: pool"),
        "14:26",
        "with `data_mode: active` the server opens the data connections",
    );

    let text = base().replacen(listener, &format!("{listener}{networks}"), 1);
    let output = compiled(&text).warnings.to_string();
    assert!(output.contains("data_ports.pool: has no `proxy_protocol`, but listener"), "{output}");
    let every_network = "    proxy_protocol: [10.0.0.7, 0.0.0.0/0]\n";
    let both = base().replacen(pool, &format!("{pool}{networks}"), 1);
    let output =
        compiled(&both.replacen(listener, &format!("{listener}{every_network}"), 1)).warnings;
    assert!(output.to_string().contains("proxy_protocol[1]: trusts every address"), "{output}");
    let text = base().replacen(pool, &format!("{pool}{networks}"), 1);
    let output = compiled(&text).warnings.to_string();
    assert!(output.contains("clients of listener \"public\", which has no"), "{output}");
    for text in [
        text.replacen(listener, &format!("{listener}{networks}"), 1),
        text.replacen(pool, &format!("{pool}    advertise: [{{ address: 192.0.2.1 }}]\n"), 1),
    ] {
        assert!(compiled(&text).warnings.is_empty());
    }
}

#[test]
fn invalid_backends_are_errors() {
    let address = "    address: 10.1.2.3\n";
    let with = |more: &str| format!("{address}    {more}\n");
    one("protocol: local", "protocol: ftps", "16:15", "is ambiguous");
    one(address, "", "11:3: backends.server.address", "write the server's address");
    one("address: 10.1.2.3", "address: ftp://a.b/c", "13:14", r#"did you mean "a.b"?"#);
    one("address: 10.1.2.3", "address: 10.1.2.300", "13:14", "is not a host name or address");
    one(
        "address: 10.1.2.3",
        "address: \"2001:db8::1\"",
        "13:14",
        r#"did you mean "[2001:db8::1]"?"#,
    );
    one("address: 10.1.2.3", "address: a:0", "13:14", "\"0\" is not a port");
    one(address, &with("folder: files"), "14:13", "belongs to `protocol: local`");
    one(
        "folder: files",
        "folder: files\n    data_mode: passive",
        "18:16",
        "belongs to `protocol: ftp`",
    );
    one(
        "folder: files",
        "folder: files\n    login_folder: /x",
        "18:19",
        "belongs to `protocol: ftp` or `protocol: sftp`",
    );
    one(address, &with("login_folder: x"), "14:19", r#"did you mean "/x"?"#);
    one("folder: files", "folder: nowhere", "17:13", "cannot open the folder nowhere");
    one("    folder: files\n", "", "15:3: backends.folder.folder", "is missing");
    one(address, &with("connections: 65"), "14:18", r#"did you mean "64"?"#);
    one(address, &with("tail_copy_max: 64M"), "14:20", r#"did you mean "64MiB"?"#);
    one(address, &with("tail_copy_max: 1025GiB"), "14:20", "is more than 1024GiB");
    one(address, &with("tail_copy_max: -1"), "14:20", "is not a size such as 512MiB");
    one(
        address,
        &with("unsupported_attributes: ignored"),
        "14:29",
        r#"is not one of refuse, ignore (did you mean "ignore"?)"#,
    );
    for sftp_too in ["tail_copy_max: 1MiB", "unsupported_attributes: ignore"] {
        let local = format!("folder: files\n    {sftp_too}");
        let column = sftp_too.find(' ').unwrap_or_default() + 6;
        one("folder: files", &local, &format!("18:{column}"), "belongs to `protocol: ftp`");
    }
    one(address, &with("algorithms: legacy"), "14:17", "belongs to `protocol: sftp`");
    one(address, &with("host_keys: a"), "14:5", "write host_key, with one");
    one(address, &with("data_mode: activ"), "14:16", r#"did you mean "active"?"#);
    one(address, &with("connects_at_once: 0"), "14:23", "");
    one(address, &with("connects_at_once: 1001"), "14:23", r#"did you mean "1000"?"#);
    one(address, &with("unchecked_rename: deny"), "14:23", "not one of allow, refuse");
    let elsewhere = "folder: files\n    unchecked_rename: allow";
    one("folder: files", elsewhere, "18:23", "belongs to `protocol: ftp`");
    one(address, &with("passive_command: EPSV"), "14:22", r#"did you mean "epsv"?"#);
    let useless = "passive_command: epsv\n    trust_pasv_address: true";
    one(address, &with(useless), "15:25", "has no effect with `passive_command: epsv`");
    let active = "passive_command: auto\n    data_mode: active\n    data_ports: pool";
    one(address, &with(active), "14:22", "has no effect with `data_mode: active`");
    one(
        address,
        "    address: \"[2001:db8::1]\"\n    passive_command: pasv\n",
        "13:14",
        "is an IPv6 address, which PASV does not support",
    );
    one(
        address,
        &with("partial_uploads: remove"),
        "14:22",
        "not one of keep, delete, temporary-name",
    );
    one(address, &with("connect_timeout: 10"), "14:22", r#"did you mean "10s"?"#);
    one(address, &with("reply_timeout: 0s"), "14:20", "must be longer than zero");
    one(address, &with("reply_timeout: soon"), "14:20", "is not a duration");
    one(
        address,
        &with("tls: { mode: none, ca: tls.crt }"),
        "14:28",
        "has no effect with `mode: none`",
    );
    one(address, &with("tls: { mode: required, ca: no.crt }"), "14:32", "cannot read no.crt");
    one(
        address,
        &with("tls: { mode: required, ca: tls.crt, server_name: \"a b\" }"),
        "14:54",
        "not a valid server name",
    );
    one(
        address,
        &with("tls: { mode: required, ca: tls.crt, danger_accept_any: true }"),
        "14:32",
        "has no effect with `danger_accept_any: true`",
    );
}

#[test]
fn invalid_logins_are_errors() {
    let pass = "login: pass-through";
    // A backend with an account requires `authenticate: gateway`.
    let base = base().replace(
        "authenticate: backend\n    backend: server",
        "authenticate: gateway\n    backend: server",
    );
    let one = |to: &str, position: &str, message: &str| {
        let output = report(&base.replacen(pass, to, 1));
        assert!(output.ends_with("\n1 problem"), "{output}");
        assert!(output.starts_with(&format!("lockgate.yaml:{position}")), "{position} {output}");
        assert!(output.contains(message), "{message}\n{output}");
    };
    one("login: passthrough", "14:12", r#"did you mean "pass-through"?"#);
    one("login: { user: a }", "14:5", "requires `password_file` or `password_env`");
    one(
        "login: { password_file: exchange.password }",
        "14:5: backends.server.login.user",
        "is missing",
    );
    one("login: { user: a, password_file: no.password }", "14:38", "cannot read no.password");
    one("login: { user: a, password_file: empty.password }", "14:38", "is empty");
    one("login: { user: a, password_file: lines.password }", "14:38", "must contain one line");
    one(
        "login: { user: a, password_env: NO_SUCH_NAME }",
        "14:37",
        "variable NO_SUCH_NAME is not set",
    );
    one(
        "login: { user: a, password_file: exchange.password, password_env: HOME }",
        "14:71",
        "one of them",
    );
    one("login: { user: \"a\\nb\", password_env: PATH }", "14:20", "contains a control character");
}

#[test]
fn invalid_users_are_errors() {
    let other = "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY$aVzgv0C4t3lnL2cvvQ7gvAdbKI2WvX7FBVCMFsCr2lM";
    one(HASH, "open sesame", "20:20", "create one with `lockgate hash-password`");
    one(HASH, "$1$abc$def", "20:20", "`lockgate hash-password`");
    one(HASH, "abJnggxhB/yWI", "20:20", "kind DES");
    one(
        HASH,
        "$2b$31$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy",
        "20:20",
        "at most 15 ",
    );
    one(HASH, other, "20:20", "kind argon2i, which is not accepted: only argon2id is; create");
    one(HASH, &HASH[..HASH.len() - 60], "20:20", "is an invalid password hash");
    one("  alice:", "  \"al\\rice\":", "19:3", "control characters");
    let hash = format!("    password_hash: \"{HASH}\"\n");
    one(&hash, "", "19:3: users.alice", "neither `password_hash` nor `authorized_keys`");
}

#[test]
fn invalid_routes_are_errors() {
    one("groups: [staff] }", "groups: [stuff] }", "23:23", r#"did you mean "staff"?"#);
    one(
        "groups: [staff] }",
        "users: [bob] }",
        "23:22",
        "there is no user \"bob\"; known are: alice",
    );
    one("groups: [staff] }", "users: [\"a[\"] }", "23:22", "is not a valid pattern");
    one("groups: [staff] }", "listeners: [publik] }", "23:26", r#"did you mean "public"?"#);
    one("groups: [staff] }", "sources: [10.0.0.0/33] }", "23:24", "is not a network");
    one("match: { groups: [staff] }", "match:", "23:5", "has no keys");
    one("backend: folder", "backend: foldr", "25:14", r#"did you mean "folder"?"#);
    one("backend: folder", "backend: folder\n    root: srv", "26:11", r#"did you mean "/srv"?"#);
    one("backend: folder", "backend: folder\n    root: Home", "26:11", r#"did you mean "home"?"#);
    one("backend: folder", "backend: folder\n    root: ~/x", "26:11", "must be absolute");
    one("backend: folder", "backend: folder\n    root: /a/../b", "26:11", "must not contain");
    one(
        "backend: folder",
        "backend: folder\n    root: /home/{username}",
        "26:11: routes[0].root: `{username}` is not replaced: only `{user}` is, by the user's name",
        r#"did you mean "/home/{user}"?"#,
    );
    one(
        "backend: folder",
        "backend: folder\n    root: /{group}/{user}",
        "26:11",
        "`{group}` is not",
    );
    one("backend: folder", "backend: folder\n    root: /{user", "26:11", "`{` is not replaced");
    one("backend: folder", "backend: folder\n    root: \"{user}\"", "26:11", r#"mean "/{user}"?"#);
    one("- match: { groups: [staff] }\n    auth", "- auth", "25:5: routes[1]", "is never reached");
    one("authenticate: backend", "authenticate: proxy", "26:19", "not one of backend, gateway");
    one(
        "- authenticate: backend\n    backend",
        "- backend",
        "26:5: routes[1].authenticate",
        "missing",
    );
}

#[test]
fn an_account_of_the_gateway_requires_authenticate_gateway() {
    let why = "must never be reachable with an unchecked password (did you mean \"gateway\"?)";
    let mapped = "login: { user: svc, password_file: exchange.password }";
    one("login: pass-through", mapped, "26:19: routes[1].authenticate", why);
    // Also if the account's password cannot be read.
    let output = report(&base().replace("login: pass-through", "login: { user: svc }"));
    assert!(output.contains(why), "{output}");
    let output = report(&base().replace("authenticate: gateway", "authenticate: backend"));
    assert!(
        output.contains("a local folder, which cannot check") && output.contains(why),
        "{output}"
    );
    assert!(output.contains("groups match only users that the gateway authenticates"), "{output}");
}

#[test]
fn authenticate_gateway_requires_users() {
    let users = base().find("users:").unwrap()..base().find("routes:").unwrap();
    let mut text = base();
    text.replace_range(users, "");
    let text = text.replace(
        "- match: { groups: [staff] }\n    auth",
        "- match: { sources: 10.0.0.1 }\n    auth",
    );
    let output = report(&text);
    assert!(output.contains("there are no `users`, so nobody could log in"), "{output}");
    assert!(output.ends_with("\n1 problem"), "{output}");
}

#[test]
fn invalid_limits_metrics_and_log_settings_are_errors() {
    one("sessions: 10", "sessions: 0", "29:13", "must be at least 1");
    one("sessions: 10", "sessions: 10_000", "29:13", r#"did you mean "10000"?"#);
    one("sessions: 10", "idle_timeout: 0s", "29:17", "must be longer than zero");
    one("sessions: 10", "drain_timeout: 0", "29:18", r#"did you mean "0s"?"#);
    one("limits:", "drain: { accept_for: 5 }\nlimits:", "28:22", r#"did you mean "5s"?"#);
    one(
        "sessions: 10",
        "drain_timeout: 1m\ndrain: { timeout: 1m }",
        "29:18: limits.drain_timeout",
        "`drain.timeout` says the same",
    );
    one("limits:", "on_reload: judged\nlimits:", "28:12", r#"did you mean "judge"?"#);
    one("limits:", "log: { level: warning }\nlimits:", "28:15", r#"did you mean "warn"?"#);
    one("limits:", "log: { format: JSON }\nlimits:", "28:16", r#"did you mean "json"?"#);
    one(
        "limits:",
        "metrics: { address: \"0.0.0.0:21\" }\nlimits:",
        "28:1: metrics",
        "overlaps with",
    );
    one("limits:", "metrics: {}\nlimits:", "28:1: metrics", "has no keys; it requires address");
}

#[test]
fn unused_listeners_and_backends_are_warnings() {
    let text = base().replace(
        "- authenticate: backend",
        "- match: { listeners: public }\n    authenticate: backend",
    );
    let text = text.replace("groups: [staff] }", "groups: [staff], listeners: [public] }");
    let more = "  idle: { protocol: ftp, address: \"0.0.0.0:22\", data_ports: pool }\ndata_ports:";
    let text = text.replacen("\ndata_ports:", &format!("\n{more}"), 1);
    let text = text.replacen("\nusers:", "\n  spare: { protocol: ftp, address: b }\nusers:", 1);
    let output = compiled(&text).warnings.to_string();
    assert!(output.contains("7:3: warning: listeners.idle: no route matches clients"), "{output}");
    assert!(
        output.contains("19:3: warning: backends.spare: no route leads to this backend"),
        "{output}"
    );
    assert!(output.ends_with("2 warnings"), "{output}");
}

#[test]
fn users_without_a_matching_route_are_warnings() {
    let more = |user: &str| base().replace("users:\n", &format!("users:\n  {user}\n"));
    let hash = format!("password_hash: \"{HASH}\"");
    let output = compiled(&more(&format!("bob: {{ {hash} }}"))).warnings.to_string();
    assert!(
        output.contains("users.bob: no route with `authenticate: gateway` matches"),
        "{output}"
    );
    assert!(output.ends_with("\n1 warning"), "{output}");
    let fits = compiled(&more(&format!("bob: {{ {hash}, groups: [others, staff] }}"))).warnings;
    assert!(fits.is_empty(), "{fits}");
    let named = more(&format!("bob: {{ {hash} }}"))
        .replace("  - match: {", "  - match: { users: \"b*\" }\n    authenticate: gateway\n    backend: folder\n  - match: {");
    assert!(compiled(&named).warnings.is_empty());
}

/// Sockets that the gateway could not open at a start.
#[test]
fn invalid_admin_sockets_are_errors() {
    let with = |socket: &str| format!("{}admin: {{ socket: \"{socket}\" }}\n", base());
    for (socket, message) in [
        ("nowhere/admin.sock", "the folder nowhere does not exist"),
        ("tls.crt/admin.sock", "tls.crt is not a folder"),
        ("tls.crt", "tls.crt exists and is not a socket"),
        (&"long".repeat(30), "the path of a Unix socket has at most 107"),
    ] {
        let output = report(&with(socket));
        assert!(output.contains(message) && output.ends_with("\n1 problem"), "{message}: {output}");
        assert!(output.contains("admin.socket: "), "{output}");
    }
    assert!(compiled(&with("admin.sock")).warnings.is_empty());
    // Left by a killed gateway.
    let folder = folder();
    let _left = std::os::unix::net::UnixListener::bind(folder.path().join("left.sock")).unwrap();
    assert!(load_beside(folder.path(), &with("left.sock")).is_ok());
    // When only checked, the folder may be created later.
    let elsewhere = check_only();
    let path = folder.path().join("lockgate.yaml");
    fs::write(&path, with("nowhere/admin.sock")).unwrap();
    let warnings = load_file(&path, &elsewhere).unwrap().warnings.to_string();
    assert!(warnings.contains("warning: admin.socket: the folder"), "{warnings}");
}
