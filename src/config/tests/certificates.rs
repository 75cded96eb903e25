//! `tls.certificates` of a listener, and `server_names` of a route.

use super::mistakes::one;
use super::*;
use crate::front::ftp::TlsPolicy;

const PAIR: &str = "certificate: tls.crt, key: tls.key";

/// The base with these entries.
fn with(entries: &str) -> String {
    base().replacen(PAIR, &format!("certificates: [{entries}]"), 1)
}

fn warnings(entries: &str) -> String {
    compiled(&with(entries)).warnings.to_string()
}

#[test]
fn several_certificates_are_accepted() {
    let entries =
        "{ certificate: second.crt, key: second.key }, { certificate: tls.crt, key: tls.key }";
    let compiled = compiled(&with(entries));
    assert!(compiled.warnings.is_empty(), "{}", compiled.warnings);
    assert!(matches!(compiled.listeners[0].tls, TlsPolicy::Required(_)));
    // The default needs no name.
    let first = "{ certificate: nameless.crt, key: nameless.key }";
    assert_eq!(warnings(&format!("{first}, {entries}")), "0 warnings");
}

#[test]
fn invalid_certificates_are_errors() {
    let entry = "{ certificate: tls.crt, key: tls.key }";
    let second = "{ certificate: second.crt, key: second.key }";
    let list = |entries: &str| format!("certificates: [{entries}]");
    let one = |to: &str, position: &str, message: &str| one(PAIR, to, position, message);
    one(
        &format!("{PAIR}, {}", list(second)),
        "5:64: listeners.public.tls.certificates",
        "replaces `certificate` and `key`: move them into this list",
    );
    one(&format!("key: tls.key, {}", list(second)), "5:42", "replaces `certificate` and `key`");
    one(&list(""), "5:28: listeners.public.tls.certificates", "is empty; write at least one");
    one(
        &list(&format!("{entry}, {{ certificate: second.crt }}")),
        "5:83: listeners.public.tls.certificates[1].key",
        "is missing",
    );
    one(
        &list(&format!("{entry}, {{ certificate: second.crt, key: tls.key }}")),
        "5:115: listeners.public.tls.certificates[1].key",
        "do not belong together: the private key is not that of the first certificate",
    );
    one(&list(&second.replace("second.crt", "no.crt")), "5:58", "cannot read no.crt");
    one(&list(&second.replace("key: ", "kye: ")), "5:70", r#"did you mean "key"?"#);
    let none = format!("mode: none, certificates: [{entry}]");
    super::mistakes::one(
        &format!("mode: required, {PAIR}"),
        &none,
        "5:24: listeners.public.tls.certificates",
        "has no effect with `mode: none`",
    );
}

#[test]
fn certificates_that_are_never_chosen_are_warnings() {
    let entry = "{ certificate: tls.crt, key: tls.key }";
    let twice =
        warnings(&format!("{entry}, {{ certificate: second.crt, key: second.key }}, {entry}"));
    for part in [
        "5:129: warning: listeners.public.tls.certificates[2]: is never used: earlier certificates",
        "(exchange.example.com)",
        "\n1 warning",
    ] {
        assert!(twice.contains(part), "{part}\n{twice}");
    }
    let nameless =
        warnings(&format!("{entry}, {{ certificate: nameless.crt, key: nameless.key }}"));
    let message = "certificates[1]: is never used: the certificate has no DNS name";
    assert!(nameless.contains(message) && nameless.ends_with("\n1 warning"), "{nameless}");
}

#[test]
fn routes_match_server_names() {
    let compiled = compiled(&base().replacen(
        "match: { groups: [staff] }",
        "match: { server_names: [FTP.example.com, \"*.example.net\"] }",
        1,
    ));
    assert!(compiled.warnings.is_empty(), "{}", compiled.warnings);
    let source = "10.9.9.9".parse().unwrap();
    for (name, expected) in [
        (Some("ftp.example.com"), true),
        (Some("Ftp.Example.Com"), true),
        (Some("partner.EXAMPLE.net"), true),
        (Some("example.net"), false),
        (Some("a.partner.example.net"), false),
        (Some("other.example.com"), false),
        (None, false),
    ] {
        let [named, anybody] = &compiled.routes.0[..] else { panic!() };
        let covers = |route: &crate::route::Route| {
            route.matches.covers("public", source, name, b"alice", None)
        };
        assert_eq!(covers(named), expected, "{name:?}");
        assert!(covers(anybody), "{name:?}");
    }
}

#[test]
fn invalid_server_names_are_errors() {
    let one = |value: &str, position: &str, message: &str| {
        one("groups: [staff] }", &format!("server_names: {value} }}"), position, message);
    };
    one("[]", "23:14: routes[0].match.server_names", "is an empty list");
    one("[a.example.com, 192.0.2.1]", "23:44: routes[0].match.server_names[1]", "is an address");
    for wrong in
        ["ftp_*.example.com", "\"*\"", "\"*.com\"", "\"*.*.example.com\"", "a:990", "\"a b\""]
    {
        one(wrong, "23:28: routes[0].match.server_names", "is neither a DNS name, such as");
    }
}

#[test]
fn server_names_where_no_listener_has_tls_are_warnings() {
    let text = base().replacen("groups: [staff] }", "server_names: ftp.example.com }", 1);
    let plain =
        text.replacen("mode: required, certificate: tls.crt, key: tls.key", "mode: none", 1);
    let output = compiled(&plain).warnings.to_string();
    let message = "23:14: warning: routes[0].match.server_names: never matches: no listener of this \
                   route has TLS";
    assert!(output.contains(message) && output.ends_with("\n1 warning"), "{output}");
    // Nobody can log in at a plain listener whose only routes are for server names.
    let sftp = "  sftp:\n    protocol: sftp\n    address: \"0.0.0.0:22\"\n    host_keys: ecdsa\n";
    let both = text.replacen("data_ports:\n", &format!("{sftp}data_ports:\n"), 1);
    assert!(compiled(&both).warnings.is_empty(), "{}", compiled(&both).warnings);
    let (with_catch_all, catch_all) = (both, "  - authenticate: backend\n    backend: server\n");
    let named = with_catch_all.replacen(
        catch_all,
        "  - match: { server_names: \"*.example.com\" }\n    authenticate: backend\n    backend: server\n",
        1,
    );
    let output = compiled(&named).warnings.to_string();
    let message = "7:3: warning: listeners.sftp: no route matches clients of this listener";
    assert!(output.contains(message) && output.ends_with("\n1 warning"), "{output}");
}

#[test]
fn the_end_of_each_file_is_known() {
    let clients =
        "client_certificate: optional, client_ca: partners-ca.crt, client_crl: partners.crl";
    let server =
        "tls: { mode: required, ca: exchange-ca.crt, certificate: gateway.crt, key: gateway.key }";
    let text = base().replacen(PAIR, &format!("{PAIR}, {clients}"), 1);
    let text =
        text.replacen("login: pass-through", &format!("login: pass-through\n    {server}"), 1);
    let audit = "audit: { syslog: { address: log.example.com, ca: partners-ca.crt } }\n";
    let compiled = compiled(&format!("{text}{audit}"));
    let ends = compiled.certificate_ends.iter();
    let found: Vec<_> =
        ends.map(|it| (it.kind.as_str(), &*it.used_by, &*it.file, it.until)).collect();
    let in_2120 = rcgen::date_time_ymd(2120, 1, 1).unix_timestamp();
    // What rcgen chooses where nothing is said.
    let in_4096 = rcgen::date_time_ymd(4096, 1, 1).unix_timestamp();
    let expected = [
        ("certificate", "listeners.public", "tls.crt", in_4096),
        ("ca", "listeners.public", "partners-ca.crt", in_2120),
        ("crl", "listeners.public", "partners.crl", in_2120),
        ("ca", "backends.server", "exchange-ca.crt", in_4096),
        ("client-certificate", "backends.server", "gateway.crt", in_4096),
        ("ca", "audit", "partners-ca.crt", in_2120),
    ];
    assert_eq!(found, expected);
}
