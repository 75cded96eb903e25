//! `on_reload: judge`: open sessions are held against what logins need now.

use rcgen::{DnType, SerialNumber};
use rustls::version::TLS13;

use super::{Config, Fixture};
use crate::support::client_pki::ClientCa;
use crate::support::raw::Raw;
use crate::support::{PASSWORD, USER, argon2_hash};

const REVOKED: u64 = 66;

/// The configuration with these keys of `tls` of the listener `front`, and of the only route.
fn text(config: &Config, tls: &str, route: &str) -> String {
    let text = config.text();
    let users = format!(
        "users:\n  {USER}: {{ password_hash: '{0}', certificate: sufficient }}\n  \
         other: {{ password_hash: '{0}' }}\n",
        argon2_hash()
    );
    let (before, after) = text.split_once("users:\n").expect("users");
    let (_, after) = after.split_once("routes:").expect("routes");
    format!("{before}{users}routes:{after}on_reload: judge\n")
        .replace("mode: optional,", tls)
        .replace("{ authenticate: gateway,", &format!("{{ authenticate: gateway,{route}"))
}

#[track_caller]
fn expect_ended(raw: &mut Raw, reason: &str) {
    let end = raw.read();
    assert!(end.code == 421 && end.text.contains(reason), "{}", end.text);
    assert!(raw.at_end());
}

#[test]
fn sessions_end_with_their_certificates_and_methods() {
    let fixture = Fixture::start(4);
    let (ca, other_ca) = (ClientCa::new("a CA"), ClientCa::new("another CA"));
    let tls = |mode: &str, ca: &ClientCa, revoked: &[u64]| {
        let list = ca.write_crl(revoked, 10);
        format!(
            "mode: {mode}, client_certificate: optional, client_ca: {}, client_crl: {},",
            ca.file().display(),
            list.display()
        )
    };
    let apply = |tls: &str, route: &str| {
        fixture.write_text(&text(&fixture.config, tls, route));
        fixture.reload().expect_ok("reloading");
    };
    apply(&tls("optional", &ca, &[]), "");
    let address = fixture.gateway.address("front");
    let by_certificate = |serial: u64| {
        let identity = ca.client_with(|params| {
            params.distinguished_name.push(DnType::CommonName, USER);
            params.serial_number = Some(SerialNumber::from(serial));
        });
        let (mut raw, _) = Raw::connect(address);
        raw.set_tls(identity.config(&TLS13));
        raw.auth_tls();
        raw.expect(&format!("USER {USER}"), 232);
        raw
    };
    let mut revoked = by_certificate(REVOKED);
    let mut good = by_certificate(67);
    let mut in_clear = Raw::connect(address).0;
    in_clear.login("other", PASSWORD);
    let mut encrypted = Raw::connect(address).0;
    encrypted.auth_tls();
    encrypted.login("other", PASSWORD);

    apply(&tls("optional", &ca, &[REVOKED]), "");
    expect_ended(&mut revoked, "it is revoked (tls.client_crl)");
    for raw in [&mut good, &mut in_clear, &mut encrypted] {
        raw.expect("NOOP", 200);
    }
    apply(&tls("required", &ca, &[REVOKED]), "");
    expect_ended(&mut in_clear, "its listener requires TLS now");
    // Its users log in with passwords, too.
    let mut also_good = by_certificate(68);
    apply(&tls("required", &other_ca, &[]), "");
    for raw in [&mut good, &mut also_good] {
        expect_ended(raw, "no authority of `tls.client_ca` has issued it");
    }
    apply(&tls("required", &ca, &[]), "");
    let mut without_password = by_certificate(69);
    apply(&tls("required", &ca, &[]), " require: password,");
    expect_ended(&mut without_password, "password is required now");
    encrypted.expect("NOOP", 200);
}
