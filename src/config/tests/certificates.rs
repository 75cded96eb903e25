//! `tls.certificates` of a listener.

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
        "do not belong together",
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
