use super::*;

#[test]
fn twelve_mistakes_are_told_at_once() {
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
    lockgate.yaml:5:5: listeners.public.adress: there is no such key (did you mean "address"?)
        5 |     adress: "0.0.0.0:21"
          |     ^^^^^^
    lockgate.yaml:7:13: listeners.public.tls.mode: "require" is none of none, optional, required, implicit (did you mean "required"?)
        7 |       mode: require
          |             ^^^^^^^
    lockgate.yaml:10:17: listeners.public.data_ports: there is no pool of data ports "publik" (did you mean "public"?)
       10 |     data_ports: publik
          |                 ^^^^^^
    lockgate.yaml:11:5: listeners.public.tls: is here for the second time (first in line 6)
       11 |     tls: { mode: none }
          |     ^^^
    lockgate.yaml:14:12: data_ports.public.range: "50099-50000" ends before it begins (did you mean "50000-50099"?)
       14 |     range: 50099-50000
          |            ^^^^^^^^^^^
    lockgate.yaml:15:23: data_ports.public.listen[1]: "localhost" is no IP address
       15 |     listen: [0.0.0.0, localhost]
          |                       ^^^^^^^^^
    lockgate.yaml:19:14: backends.payroll.address: leave out "ftp://"; an address is a host and a port (did you mean "10.1.2.3"?)
       19 |     address: "ftp://10.1.2.3"
          |              ^^^^^^^^^^^^^^^^
    lockgate.yaml:20:22: backends.payroll.connect_timeout: a duration needs a unit (did you mean "10s"?)
       20 |     connect_timeout: 10
          |                      ^^
    lockgate.yaml:21:5: backends.payroll.login: needs `password_file` or `password_env`
       21 |     login: { user: svc, password: (not shown)
          |     ^^^^^
    lockgate.yaml:21:25: backends.payroll.login.password: there is no such key: a secret does not stand in this file; name it with password_file or password_env
       21 |     login: { user: svc, password: (not shown)
          |                         ^^^^^^^^
    lockgate.yaml:23:14: routes[0].match.groups: groups match only users whom the gateway authenticated, and this route has `authenticate: backend`
       23 |   - match: { groups: [partners] }
          |              ^^^^^^
    lockgate.yaml:25:14: routes[0].backend: there is no backend "pay-roll" (did you mean "payroll"?)
       25 |     backend: pay-roll
          |              ^^^^^^^^
    12 problems
    "#);
}

/// Replaces `from`, which must be there, and expects one problem at `place` with `words`.
#[track_caller]
pub(super) fn one(from: &str, to: &str, place: &str, words: &str) {
    let base = base();
    assert!(base.contains(from), "{from}");
    let told = report(&base.replacen(from, to, 1));
    assert!(told.ends_with("\n1 problem"), "{told}");
    assert!(told.starts_with(&format!("lockgate.yaml:{place}")), "{place} {told}");
    assert!(told.contains(words), "{words}\n{told}");
}

#[test]
fn the_base_is_right() {
    assert!(compiled(&base()).warnings.is_empty());
}

#[test]
fn keys() {
    one("limits:", "limit:", "28:1: limit", r#"no such key (did you mean "limits"?)"#);
    one("sessions: 10", "sesions: 10", "29:3: limits.sesions", r#"did you mean "sessions"?"#);
    one("sessions: 10", "colour: 10", "29:3: limits.colour", "here are: sessions, sessions_per_");
    one("limits:", "policy: {}\nlimits:", "28:1: policy", "not built yet in this version");
    one("sessions: 10", "sessions: 1\n  sessions: 2", "30:3", "second time (first in line 29)");
    one("sessions: 10", "sessions:", "29:3", "has no value");
    one("sessions: 10", "sessions: [1]", "29:13", "not a list");
    one("sessions: 10", "sessions: { a: 1 }", "29:13", "not keys");
    one("  sessions: 10", "", "28:1: limits", "has nothing below it");
    one("limits:\n  sessions: 10", "limits: 5", "28:9", "expected keys here: sessions, ");
    one("data_ports: pool\n", "data_ports: pool\n    mode: optional\n", "7:5", "under `tls`");
    one("data_ports: pool\n", "data_ports: pool\n    port: 21\n", "7:5", "part of `address`");
    one("    protocol: ftp\n", "", "2:3: listeners.public.protocol", "is missing");
    one("limits:", "<<: {}\nlimits:", "28:1", "merge keys");
    one("limits:", "? [a]\n: b\nlimits:", "28:3", "plain name");
}

#[test]
fn listeners() {
    let tls = "{ mode: required, certificate: tls.crt, key: tls.key }";
    one("protocol: ftp", "protocol: ftps", "3:15", "`tls.mode: required` (AUTH TLS");
    one("protocol: ftp", "protocol: ssh", "3:15", r#"did you mean "sftp"?"#);
    one("protocol: ftp", "protocol: ftpx", "3:15", r#"did you mean "ftp"?"#);
    one("\"0.0.0.0:21\"", "0.0.0.0", "4:14", "has no port: write 0.0.0.0:21 for FTP");
    one("\"0.0.0.0:21\"", "\":21\"", "4:14", r#"did you mean "0.0.0.0:21"?"#);
    one("\"0.0.0.0:21\"", "21", "4:14", r#"did you mean "0.0.0.0:21"?"#);
    one("\"0.0.0.0:21\"", "ftp.example.com:21", "4:14", "is no IP address with a port");
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
        r#""on" is none of none, optional, required, implicit"#,
    );
    one(tls, "{ mode: none, certificate: tls.crt }", "5:37", "does nothing with `mode: none`");
    one(
        tls,
        "{ mode: implicit, certificate: tls.crt }",
        "5:5: listeners.public.tls.key",
        "missing",
    );
    one("key: tls.key", "key: other.key", "5:55", "do not belong together");
    one("key: tls.key", "key: tls.crt", "5:55", "holds no private key");
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
    let told = report(&base().replace("tls.crt, key: tls.key", "no.crt, key: no.key"));
    assert!(told.contains("cannot read no.crt") && told.contains("cannot read no.key"), "{told}");
    one("tls.crt,", "tls.crt, require_close_notify: yes,", "5:72", r#"did you mean "true"?"#);
    one("data_ports: pool", "data_ports: pol", "6:17", r#"did you mean "pool"?"#);
    one("  public:", "  pub lic:", "2:3", "a name is made of letters");
}

#[test]
fn a_listener_needs_a_way_for_data() {
    let told = report(&base().replace("    data_ports: pool\n", ""));
    assert!(told.contains("2:3: listeners.public: has no way to transfer anything"), "{told}");
    // That nobody uses the pool follows from it, and is not told.
    assert!(told.ends_with("1 problem"), "{told}");
}

#[test]
fn data_ports() {
    let range = "    range: 50000-50099\n";
    let with = |more: &str| format!("{range}    {more}\n");
    let second = |range: &str| format!("    range: 50000-50099\n  b:\n    range: {range}\n");
    one("50000-50099", "0-10", "9:12", "no range of ports from 1 to 65535");
    one("50000-50099", "50000..50099", "9:12", r#"did you mean "50000-50099"?"#);
    one("50000-50099", "50099-50000", "9:12", r#"did you mean "50000-50099"?"#);
    one(
        "50000-50099",
        "20-30",
        "9:12",
        "0.0.0.0:20-30 overlaps with 0.0.0.0:21 of listeners.public",
    );
    one(range, &with("listen: [0.0.0.0, 10.0.0.1]"), "9:12", "listens twice");
    one(range, &with("listen: any"), "10:13", "\"any\" is no IP address");
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
    let told = report(&base().replace(range, &second("50099")));
    let words = "11:12: data_ports.b.range: 0.0.0.0:50099 overlaps with 0.0.0.0:50000-50099 of \
                 data_ports.pool (line 9)";
    assert!(told.contains(words), "{told}");
}

#[test]
fn proxies() {
    let (listener, pool) = ("data_ports: pool\n", "range: 50000-50099\n");
    let networks = "    proxy_protocol: [10.0.0.0/8]\n";
    let with = |from: &str, line: &str| format!("{from}    {line}\n");
    one(listener, &with(listener, "proxy_protocol: true"), "7:21", "\"true\" is no network");
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
        "is none of none, control, all",
    );
    one(
        address,
        &with(address, "send_proxy_protocol: all\n    data_mode: active\n    data_ports: pool"),
        "14:26",
        "with `data_mode: active` the server makes the data connections",
    );

    let text = base().replacen(listener, &format!("{listener}{networks}"), 1);
    let told = compiled(&text).warnings.to_string();
    assert!(told.contains("data_ports.pool: has no `proxy_protocol`, and listener"), "{told}");
    let everybody = "    proxy_protocol: [10.0.0.7, 0.0.0.0/0]\n";
    let both = base().replacen(pool, &format!("{pool}{networks}"), 1);
    let told = compiled(&both.replacen(listener, &format!("{listener}{everybody}"), 1)).warnings;
    assert!(told.to_string().contains("proxy_protocol[1]: trusts everybody"), "{told}");
    let text = base().replacen(pool, &format!("{pool}{networks}"), 1);
    let told = compiled(&text).warnings.to_string();
    assert!(told.contains("clients of listener \"public\", which has no"), "{told}");
    for text in [
        text.replacen(listener, &format!("{listener}{networks}"), 1),
        text.replacen(pool, &format!("{pool}    advertise: [{{ address: 192.0.2.1 }}]\n"), 1),
    ] {
        assert!(compiled(&text).warnings.is_empty());
    }
}

#[test]
fn backends() {
    let address = "    address: 10.1.2.3\n";
    let with = |more: &str| format!("{address}    {more}\n");
    one("protocol: local", "protocol: ftps", "16:15", "has two meanings");
    one(address, "", "11:3: backends.server.address", "where is the server?");
    one("address: 10.1.2.3", "address: ftp://a.b/c", "13:14", r#"did you mean "a.b"?"#);
    one("address: 10.1.2.3", "address: 10.1.2.300", "13:14", "is no host name or address");
    one(
        "address: 10.1.2.3",
        "address: \"2001:db8::1\"",
        "13:14",
        r#"did you mean "[2001:db8::1]"?"#,
    );
    one("address: 10.1.2.3", "address: a:0", "13:14", "\"0\" is no port");
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
    one(address, &with("tail_copy_max: -1"), "14:20", "is no size such as 512MiB");
    one(
        address,
        &with("unsupported_attributes: ignored"),
        "14:29",
        r#"is none of refuse, ignore (did you mean "ignore"?)"#,
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
    one(address, &with("unchecked_rename: deny"), "14:23", "none of allow, refuse");
    let elsewhere = "folder: files\n    unchecked_rename: allow";
    one("folder: files", elsewhere, "18:23", "belongs to `protocol: ftp`");
    one(address, &with("passive_command: EPSV"), "14:22", r#"did you mean "epsv"?"#);
    let useless = "passive_command: epsv\n    trust_pasv_address: true";
    one(address, &with(useless), "15:25", "does nothing with `passive_command: epsv`");
    let active = "passive_command: auto\n    data_mode: active\n    data_ports: pool";
    one(address, &with(active), "14:22", "does nothing with `data_mode: active`");
    one(
        address,
        "    address: \"[2001:db8::1]\"\n    passive_command: pasv\n",
        "13:14",
        "is an IPv6 address, which PASV cannot name",
    );
    one(address, &with("partial_uploads: remove"), "14:22", "none of keep, delete, temporary-name");
    one(address, &with("connect_timeout: 10"), "14:22", r#"did you mean "10s"?"#);
    one(address, &with("reply_timeout: 0s"), "14:20", "must be longer than nothing");
    one(address, &with("reply_timeout: soon"), "14:20", "is no duration");
    one(
        address,
        &with("tls: { mode: none, ca: tls.crt }"),
        "14:28",
        "does nothing with `mode: none`",
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
        "does nothing with `danger_accept_any: true`",
    );
}

#[test]
fn logins() {
    let pass = "login: pass-through";
    // The route to it must be one that may use an account.
    let base = base().replace(
        "authenticate: backend\n    backend: server",
        "authenticate: gateway\n    backend: server",
    );
    let one = |to: &str, place: &str, words: &str| {
        let told = report(&base.replacen(pass, to, 1));
        assert!(told.ends_with("\n1 problem"), "{told}");
        assert!(told.starts_with(&format!("lockgate.yaml:{place}")), "{place} {told}");
        assert!(told.contains(words), "{words}\n{told}");
    };
    one("login: passthrough", "14:12", r#"did you mean "pass-through"?"#);
    one("login: { user: a }", "14:5", "needs `password_file` or `password_env`");
    one(
        "login: { password_file: exchange.password }",
        "14:5: backends.server.login.user",
        "is missing",
    );
    one("login: { user: a, password_file: no.password }", "14:38", "cannot read no.password");
    one("login: { user: a, password_file: empty.password }", "14:38", "it is empty");
    one("login: { user: a, password_file: lines.password }", "14:38", "must hold one line");
    one("login: { user: a, password_env: NO_SUCH_NAME }", "14:37", "no variable NO_SUCH_NAME");
    one(
        "login: { user: a, password_file: exchange.password, password_env: HOME }",
        "14:71",
        "one of them",
    );
    one("login: { user: \"a\\nb\", password_env: PATH }", "14:20", "holds a control character");
}

#[test]
fn users() {
    let other = "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY$aVzgv0C4t3lnL2cvvQ7gvAdbKI2WvX7FBVCMFsCr2lM";
    one(HASH, "open sesame", "20:20", "make one with `lockgate hash-password`");
    one(HASH, "$1$abc$def", "20:20", "`lockgate hash-password`");
    one(HASH, other, "20:20", "kind argon2i; only argon2id");
    one(HASH, &HASH[..HASH.len() - 60], "20:20", "damaged");
    one("  alice:", "  \"al\\rice\":", "19:3", "control characters");
    let hash = format!("    password_hash: \"{HASH}\"\n");
    one(&hash, "", "19:3: users.alice", "neither `password_hash` nor `authorized_keys`");
}

#[test]
fn routes() {
    one("groups: [staff] }", "groups: [stuff] }", "23:23", r#"did you mean "staff"?"#);
    one(
        "groups: [staff] }",
        "users: [bob] }",
        "23:22",
        "there is no user \"bob\"; there are: alice",
    );
    one("groups: [staff] }", "users: [\"a[\"] }", "23:22", "is no pattern");
    one("groups: [staff] }", "listeners: [publik] }", "23:26", r#"did you mean "public"?"#);
    one("groups: [staff] }", "sources: [10.0.0.0/33] }", "23:24", "is no network");
    one("match: { groups: [staff] }", "match:", "23:5", "has nothing below it");
    one("backend: folder", "backend: foldr", "25:14", r#"did you mean "folder"?"#);
    one("backend: folder", "backend: folder\n    root: srv", "26:11", r#"did you mean "/srv"?"#);
    one("backend: folder", "backend: folder\n    root: Home", "26:11", r#"did you mean "home"?"#);
    one("backend: folder", "backend: folder\n    root: ~/x", "26:11", "must be absolute");
    one("backend: folder", "backend: folder\n    root: /a/../b", "26:11", "must not hold");
    one("- match: { groups: [staff] }\n    auth", "- auth", "25:5: routes[1]", "is never reached");
    one("authenticate: backend", "authenticate: proxy", "26:19", "none of backend, gateway");
    one(
        "- authenticate: backend\n    backend",
        "- backend",
        "26:5: routes[1].authenticate",
        "missing",
    );
}

#[test]
fn an_unchecked_password_never_reaches_an_account_of_the_gateway() {
    let why = "must never be reachable with an unchecked password (did you mean \"gateway\"?)";
    let mapped = "login: { user: svc, password_file: exchange.password }";
    one("login: pass-through", mapped, "26:19: routes[1].authenticate", why);
    // Nor where the account's password cannot be read.
    let told = report(&base().replace("login: pass-through", "login: { user: svc }"));
    assert!(told.contains(why), "{told}");
    let told = report(&base().replace("authenticate: gateway", "authenticate: backend"));
    assert!(told.contains("a local folder, which cannot check") && told.contains(why), "{told}");
    assert!(told.contains("groups match only users whom the gateway authenticated"), "{told}");
}

#[test]
fn the_gateway_cannot_ask_for_users_that_it_has_not() {
    let users = base().find("users:").unwrap()..base().find("routes:").unwrap();
    let mut text = base();
    text.replace_range(users, "");
    let text = text.replace(
        "- match: { groups: [staff] }\n    auth",
        "- match: { sources: 10.0.0.1 }\n    auth",
    );
    let told = report(&text);
    assert!(told.contains("there are no `users`, so nobody could log in"), "{told}");
    assert!(told.ends_with("\n1 problem"), "{told}");
}

#[test]
fn limits_metrics_and_log() {
    one("sessions: 10", "sessions: 0", "29:13", "must be at least 1");
    one("sessions: 10", "sessions: 10_000", "29:13", r#"did you mean "10000"?"#);
    one("sessions: 10", "idle_timeout: 0s", "29:17", "must be longer than nothing");
    one("sessions: 10", "drain_timeout: 0", "29:18", r#"did you mean "0s"?"#);
    one("limits:", "log: { level: warning }\nlimits:", "28:15", r#"did you mean "warn"?"#);
    one("limits:", "log: { format: JSON }\nlimits:", "28:16", r#"did you mean "json"?"#);
    one(
        "limits:",
        "metrics: { address: \"0.0.0.0:21\" }\nlimits:",
        "28:1: metrics",
        "overlaps with",
    );
    one("limits:", "metrics: {}\nlimits:", "28:1: metrics", "nothing below it; it needs: address");
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let text = base().replace(
        "- authenticate: backend",
        "- match: { listeners: public }\n    authenticate: backend",
    );
    let text = text.replace("groups: [staff] }", "groups: [staff], listeners: [public] }");
    let more = "  idle: { protocol: ftp, address: \"0.0.0.0:22\", data_ports: pool }\ndata_ports:";
    let text = text.replacen("\ndata_ports:", &format!("\n{more}"), 1);
    let text = text.replacen("\nusers:", "\n  spare: { protocol: ftp, address: b }\nusers:", 1);
    let told = compiled(&text).warnings.to_string();
    assert!(told.contains("7:3: warning: listeners.idle: no route takes clients"), "{told}");
    assert!(
        told.contains("19:3: warning: backends.spare: no route leads to this backend"),
        "{told}"
    );
    assert!(told.ends_with("2 warnings"), "{told}");
}

#[test]
fn users_whom_no_route_takes_by_their_own_password() {
    let more = |user: &str| base().replace("users:\n", &format!("users:\n  {user}\n"));
    let hash = format!("password_hash: \"{HASH}\"");
    let told = compiled(&more(&format!("bob: {{ {hash} }}"))).warnings.to_string();
    assert!(told.contains("users.bob: no route with `authenticate: gateway` takes"), "{told}");
    assert!(told.ends_with("\n1 warning"), "{told}");
    let fits = compiled(&more(&format!("bob: {{ {hash}, groups: [others, staff] }}"))).warnings;
    assert!(fits.is_empty(), "{fits}");
    let named = more(&format!("bob: {{ {hash} }}"))
        .replace("  - match: {", "  - match: { users: \"b*\" }\n    authenticate: gateway\n    backend: folder\n  - match: {");
    assert!(compiled(&named).warnings.is_empty());
}

/// What the gateway could not open when it starts.
#[test]
fn admin_sockets() {
    let with = |socket: &str| format!("{}admin: {{ socket: \"{socket}\" }}\n", base());
    for (socket, words) in [
        ("nowhere/admin.sock", "there is no folder nowhere"),
        ("tls.crt/admin.sock", "tls.crt is no folder"),
        ("tls.crt", "tls.crt is there and is no socket"),
        (&"long".repeat(30), "the path of a Unix socket has 107 at most"),
    ] {
        let told = report(&with(socket));
        assert!(told.contains(words) && told.ends_with("\n1 problem"), "{words}: {told}");
        assert!(told.contains("admin.socket: "), "{told}");
    }
    assert!(compiled(&with("admin.sock")).warnings.is_empty());
    // What a gateway that was killed left.
    let folder = folder();
    let _left = std::os::unix::net::UnixListener::bind(folder.path().join("left.sock")).unwrap();
    assert!(load_beside(folder.path(), &with("left.sock")).is_ok());
    // Looked at only: the folder may be made later.
    let elsewhere = looked_at();
    let path = folder.path().join("lockgate.yaml");
    fs::write(&path, with("nowhere/admin.sock")).unwrap();
    let warnings = load_file(&path, &elsewhere).unwrap().warnings.to_string();
    assert!(warnings.contains("warning: admin.socket: there is no folder"), "{warnings}");
}
