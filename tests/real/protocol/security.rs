//! AUTH, PBSZ, PROT, REIN (RFC 2228, 4217).

use super::{Fixture, Plan, check_in_sync};
use crate::support::{PASSWORD, USER};

fn start(mode: &'static str) -> Fixture {
    Plan { tls: mode, ..Plan::default() }.start()
}

#[test]
fn commands_in_clear_after_auth_tls_are_discarded() {
    let fixture = start("optional");
    for injected in ["USER evil\r\nNOOP\r\n", "USER evil\r\nSYST", "NOOP\r\n".repeat(100).as_str()]
    {
        let mut raw = fixture.connect();
        raw.send_bytes(format!("AUTH TLS\r\n{injected}").as_bytes());
        assert_eq!(raw.read().code, 234);
        raw.start_tls();
        // The reply to PWD differs from all injected ones.
        let reply = raw.command("PWD");
        assert_eq!(reply.code, 530, "{}", reply.text);
        let reply = raw.command(&format!("PASS {PASSWORD}"));
        assert_eq!(reply.code, 503, "USER in clear took effect: {}", reply.text);
        raw.login(USER, PASSWORD);
        check_in_sync(&mut raw);
    }
}

#[test]
fn a_password_in_clear_is_refused_if_tls_is_required() {
    let fixture = start("required");
    let mut raw = fixture.connect();
    let reply = raw.expect(&format!("USER {USER}"), 530);
    assert!(reply.text.contains("AUTH TLS"), "{}", reply.text);
    let reply = raw.command(&format!("PASS {PASSWORD}"));
    assert!(matches!(reply.code, 503 | 530), "{}", reply.text);
    raw.expect("PWD", 530);
    raw.expect("PBSZ 0", 503);
    raw.expect("PROT P", 503);
    raw.auth_tls();
    raw.login(USER, PASSWORD);
    raw.expect("PWD", 257);
}

#[test]
fn data_in_clear_is_refused_if_tls_is_required() {
    for mode in ["required", "implicit"] {
        let fixture = start(mode);
        fixture.put("there", "secret");
        let mut raw = fixture.connect();
        if mode == "required" {
            raw.expect("AUTH TLS", 234);
            raw.start_tls();
            raw.login(USER, PASSWORD);
            raw.expect("PBSZ 0", 200);
            // Without PROT the level is C.
            for line in ["RETR there", "STOR new", "APPE there", "STOU", "LIST", "NLST", "MLSD"] {
                raw.expect("EPSV", 229);
                raw.expect(line, 521);
            }
        } else {
            raw.login(USER, PASSWORD);
        }
        raw.expect("PROT C", 534);
        raw.expect("PROT S", 536);
        raw.expect("PROT X", 504);
        check_in_sync(&mut raw);
        assert_eq!(fixture.names(), ["there"]);
        assert_eq!(fixture.get("there"), b"secret");
    }
}

#[test]
fn prot_requires_pbsz_and_neither_requires_a_login() {
    let fixture = start("optional");
    let mut raw = fixture.connect();
    raw.expect("PBSZ 0", 503);
    raw.expect("PROT P", 503);
    raw.expect("AUTH TLS", 234);
    raw.start_tls();
    raw.expect("PROT P", 503);
    raw.expect("PBSZ nothing", 501);
    raw.expect("PROT P", 503);
    raw.expect("PBSZ 0", 200);
    raw.expect("PROT P", 200);
    raw.expect("PROT C", 200);
    raw.expect("CCC", 533);
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    // Protected control connection and data in clear: `optional` allows it.
    assert_eq!(raw.upload("STOR clear", b"bytes").code, 226);
    assert_eq!(fixture.get("clear"), b"bytes");
}

#[test]
fn prot_releases_a_reserved_port() {
    let fixture = start("optional");
    fixture.put("file", "bytes");
    let mut raw = fixture.tls_client();
    raw.expect("EPSV", 229);
    raw.expect("PROT C", 200);
    raw.expect("RETR file", 425);
    check_in_sync(&mut raw);
}

#[test]
fn implicit_tls_starts_with_prot_p() {
    let fixture = start("implicit");
    let mut raw = fixture.client();
    assert_eq!(raw.upload("STOR file", b"bytes").code, 226);
    assert_eq!(raw.download("RETR file").0, b"bytes");
    raw.expect("AUTH TLS", 503);
    let status = raw.expect("STAT", 211);
    assert!(status.text.contains("data connections under TLS"), "{}", status.text);
}

/// draft-murray-auth-ftp-ssl: old clients send neither PBSZ nor PROT before their first transfer.
#[test]
fn auth_ssl_and_tls_p_protect_data_connections_at_once() {
    let fixture = start("required");
    for mechanism in ["SSL", "TLS-P", "ssl"] {
        let mut raw = fixture.connect();
        raw.expect(&format!("AUTH {mechanism}"), 234);
        raw.start_tls();
        raw.protect();
        raw.login(USER, PASSWORD);
        assert_eq!(raw.upload("STOR file", b"bytes").code, 226, "{mechanism}");
        assert_eq!(raw.download("RETR file").0, b"bytes", "{mechanism}");
        raw.expect("PBSZ 0", 200);
        raw.expect("PROT P", 200);
        check_in_sync(&mut raw);
    }
}

#[test]
fn auth_is_refused_with_wrong_mechanism_or_at_the_wrong_time() {
    let fixture = start("none");
    let mut raw = fixture.connect();
    raw.expect("AUTH TLS", 502);
    raw.login(USER, PASSWORD);
    assert!(!raw.expect("FEAT", 211).text.contains("AUTH"));

    let fixture = start("optional");
    let mut raw = fixture.connect();
    assert!(raw.expect("FEAT", 211).text.contains("\r\n AUTH TLS\r\n"));
    raw.expect("AUTH", 501);
    raw.expect("AUTH GSSAPI", 504);
    raw.expect(&format!("USER {USER}"), 331);
    raw.expect("AUTH TLS", 503);
    raw.expect(&format!("PASS {PASSWORD}"), 230);
    raw.expect("AUTH TLS", 503);
    raw.expect("REIN", 220);
    raw.auth_tls();
    raw.expect("AUTH TLS", 503);
    check_in_sync(&mut raw);
}

#[test]
fn rein_ends_the_login_and_keeps_tls() {
    let fixture = start("required");
    fixture.put("file", "0123456789");
    std::fs::create_dir(fixture.path("sub")).expect("a folder");
    let mut raw = fixture.tls_client();
    raw.expect("CWD sub", 250);
    raw.expect("RNFR /file", 350);
    raw.expect("REST 5", 350);
    raw.expect("REIN", 220);
    raw.expect("PWD", 530);
    raw.expect(&format!("PASS {PASSWORD}"), 503);
    raw.login(USER, PASSWORD);
    assert!(raw.expect("PWD", 257).text.contains("\"/\""));
    raw.expect("RNTO moved", 503);
    let (bytes, _) = raw.download("RETR file");
    // TYPE A is the default again; there is no line in the file.
    assert_eq!(bytes, b"0123456789");
    assert_eq!(fixture.names(), ["file", "sub"]);
}
