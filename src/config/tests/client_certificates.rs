//! `client_certificate` and its keys, and a backend's `certificate`.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};

use super::routes::warned;
use super::*;
use crate::front::ftp::TlsPolicy;

const PAIR: &str = "certificate: tls.crt, key: tls.key";

/// The folder with two authorities and a list of each; `old.crl` is the first one's, and has expired.
pub(super) fn add_authorities(folder: &Path) {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    for name in ["partners", "others"] {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2120, 1, 1);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        write(&format!("{name}-ca.crt"), &issuer.pem());
        for (list, until) in [(format!("{name}.crl"), 2120), (format!("{name}-old.crl"), 2021)] {
            let params = CertificateRevocationListParams {
                this_update: date_time_ymd(2020, 1, 1),
                next_update: date_time_ymd(until, 1, 1),
                crl_number: SerialNumber::from(1_u64),
                issuing_distribution_point: None,
                revoked_certs: Vec::new(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            write(&list, &params.signed_by(&issuer).unwrap().pem().unwrap());
        }
    }
}

/// Expects one error, of this key.
#[track_caller]
fn wrong(from: &str, to: &str, place: &str, message: &str) {
    let base = base();
    assert!(base.contains(from), "{from}");
    let output = report(&base.replacen(from, to, 1));
    assert!(output.ends_with("\n1 problem"), "{output}");
    let first = output.lines().next().unwrap();
    assert!(first.contains(place) && first.contains(message), "{place} {message}\n{output}");
}

fn with(keys: &str) -> String {
    base().replacen(PAIR, &format!("{PAIR}, {keys}"), 1)
}

#[test]
fn client_certificates_are_accepted() {
    for keys in [
        "client_certificate: none",
        "client_certificate: optional, client_ca: partners-ca.crt",
        "client_certificate: required, client_ca: [partners-ca.crt, others-ca.crt], certificate_user: any",
        "client_certificate: required, client_ca: partners-ca.crt, client_crl: partners.crl, \
         certificate_user: email",
        "client_certificate: required, client_ca: [partners-ca.crt, others-ca.crt], client_crl: \
         [others.crl, partners.crl, partners-old.crl], certificate_user: upn",
    ] {
        let compiled = compiled(&with(keys));
        assert!(matches!(compiled.listeners[0].tls, TlsPolicy::Required(_)), "{keys}");
        let warnings = compiled.warnings.to_string();
        let expected = usize::from(keys.contains("old"));
        assert_eq!(warnings.matches("warning: ").count(), expected, "{keys}: {warnings}");
    }
}

#[test]
fn invalid_client_certificate_settings_are_errors() {
    let one = |keys: &str, position: &str, message: &str| {
        wrong(PAIR, &format!("{PAIR}, {keys}"), position, message);
    };
    let required = |rest: &str| format!("client_certificate: required, {rest}");
    one(
        "client_certificate: yes",
        "tls.client_certificate:",
        "\"yes\" is not one of none, optional, required",
    );
    one(
        "client_ca: partners-ca.crt",
        "tls.client_ca:",
        "has no effect without `client_certificate",
    );
    one(
        "certificate_user: email",
        "tls.certificate_user:",
        "has no effect without `client_certificate",
    );
    one(
        "client_certificate: none, client_crl: partners.crl",
        "tls.client_crl:",
        "has no effect without",
    );
    one("client_certificate: required", "client_ca", "is missing: the file with the authorities");
    one(&required("client_ca: no.crt"), "tls.client_ca:", "cannot read no.crt");
    one(&required("client_ca: tls.key"), "tls.client_ca:", "holds no certificate");
    one(
        &required("client_ca: tls.crt"),
        "listeners.public.tls.client_ca:",
        "is not an authority's (basic constraints, key usage)",
    );
    let with_crl = |crl: &str| required(&format!("client_ca: partners-ca.crt, client_crl: {crl}"));
    one(&with_crl("no.crl"), "tls.client_crl:", "cannot read no.crl");
    one(&with_crl("partners-ca.crt"), "tls.client_crl:", "holds no list of revoked certificates");
    one(
        &with_crl("[partners.crl, others.crl]"),
        "listeners.public.tls.client_crl[1]:",
        "is a list of \"CN=others\", which is none of the authorities of `client_ca` (line 5)",
    );
    one(
        &required("client_ca: [partners-ca.crt, others-ca.crt], client_crl: partners.crl"),
        "client_crl",
        "has no list of \"CN=others\" of `client_ca` (line 5), so that all certificates",
    );
    one(
        &required("client_ca: partners-ca.crt, certificate_user: cn"),
        "tls.certificate_user:",
        "is not one of common-name",
    );
    wrong(
        "mode: required, certificate",
        "mode: optional, client_certificate: required, client_ca: partners-ca.crt, certificate",
        "listeners.public.tls.client_certificate:",
        "clients without TLS could log in without a certificate",
    );
    wrong(
        &format!("mode: required, {PAIR}"),
        "mode: none, client_certificate: required",
        "listeners.public.tls.client_certificate:",
        "has no effect with `mode: none`",
    );
}

#[test]
fn a_list_that_has_expired_is_a_warning() {
    let keys =
        "client_certificate: required, client_ca: partners-ca.crt, client_crl: partners-old.crl";
    warned(
        &with(keys),
        &["the list of \"CN=partners\" expired on 2021-01-01 (UTC), and none of that authority's"],
    );
}

#[test]
fn users_may_need_a_certificate_or_nothing_else() {
    let ask = "client_certificate: optional, client_ca: partners-ca.crt";
    let user = |keys: &str| {
        with(ask).replacen("    groups: [staff]\n", &format!("    groups: [staff]\n{keys}"), 1)
    };
    for keys in ["    certificate: required\n", "    certificate: sufficient\n"] {
        warned(&user(keys), &[]);
    }
    let hash = format!("    password_hash: \"{HASH}\"\n");
    warned(&user("    certificate: sufficient\n").replacen(&hash, "", 1), &[]);
    let report = report(&user("    certificate: required\n").replacen(&hash, "", 1));
    assert!(report.contains("users.alice: has neither `password_hash` nor"), "{report}");
    let server =
        user("    certificate: sufficient\n").replacen("backend: folder", "backend: server", 1);
    let folder = "no route leads to this backend";
    warned(
        &server,
        &["users.alice.certificate: every route for this user leads to a backend", folder],
    );
    let any = user("    certificate: required\n").replacen(
        ask,
        &format!("{ask}, certificate_user: any"),
        1,
    );
    warned(&any, &["users.alice.certificate: keeps this user from logging in with a password"]);
    let none = base().replacen(
        "    groups: [staff]\n",
        "    groups: [staff]\n    certificate: sufficient\n",
        1,
    );
    warned(
        &none,
        &["users.alice.certificate: has no effect: no listener has `client_certificate`"],
    );
    wrong(
        "    groups: [staff]\n",
        "    groups: [staff]\n    certificate: true\n",
        "users.alice.certificate",
        "\"true\" is not one of required, sufficient",
    );
}

#[test]
fn a_backend_gets_a_certificate_with_its_key() {
    let tls = |keys: &str| format!("address: 10.1.2.3\n    tls: {{ mode: required{keys} }}");
    let text =
        base().replacen("address: 10.1.2.3", &tls(", certificate: second.crt, key: second.key"), 1);
    warned(&text, &[]);
    let one = |keys: &str, position: &str, message: &str| {
        wrong("address: 10.1.2.3", &tls(keys), position, message);
    };
    one(", certificate: second.crt", "backends.server.tls.key", "needs `certificate` and `key`");
    one(", key: second.key", "backends.server.tls.certificate", "needs `certificate` and `key`");
    one(
        ", certificate: second.crt, key: tls.key",
        "backends.server.tls.key",
        "do not belong together",
    );
    one(
        ", certificate: no.crt, key: tls.key",
        "backends.server.tls.certificate",
        "cannot read no.crt",
    );
    wrong(
        "address: 10.1.2.3",
        "address: 10.1.2.3\n    tls: { mode: none, key: second.key }",
        "backends.server.tls.key",
        "has no effect with `mode: none`",
    );
}
