//! Lines and replies of the control connection, and commands other than login, names and transfers.

use std::io::Write;

use super::{Plan, TIMEOUT, check_in_sync};
use crate::support::pattern;

#[test]
fn commands_in_one_packet_are_answered_in_order() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    // More than the queue holds during a transfer.
    let commands = ["NOOP", "SYST", "PWD", "TYPE A", "FOO"].repeat(50);
    let packet: String = commands.iter().map(|line| format!("{line}\r\n")).collect();
    raw.send_bytes(packet.as_bytes());
    for expected in [200, 215, 257, 200, 500].repeat(50) {
        let reply = raw.read();
        assert_eq!(reply.code, expected, "{}", reply.text);
    }
    check_in_sync(&mut raw);
}

#[test]
fn commands_during_a_transfer_wait_for_its_end() {
    let fixture = Plan::default().start();
    let bytes = pattern(3 << 20);
    fixture.put("down", &bytes);
    let mut raw = fixture.client();
    let commands = ["SYST", "PWD", "SIZE down", "FOO"].repeat(20);
    let packet: String = commands.iter().map(|line| format!("{line}\r\n")).collect();
    let replies = [215, 257, 213, 500].repeat(20);

    let mut tcp = raw.passive();
    raw.send_bytes(format!("RETR down\r\n{packet}").as_bytes());
    assert_eq!(raw.read().code, 150);
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut tcp, &mut got).expect("reading the file");
    assert!(got == bytes, "the file differs");
    drop(tcp);
    for expected in [226].iter().chain(&replies) {
        assert_eq!(raw.read().code, *expected);
    }

    let mut tcp = raw.passive();
    raw.send_bytes(format!("STOR up\r\n{packet}").as_bytes());
    assert_eq!(raw.read().code, 150);
    tcp.write_all(&bytes).expect("sending the file");
    drop(tcp);
    for expected in [226].iter().chain(&replies) {
        assert_eq!(raw.read().code, *expected);
    }
    assert!(fixture.get("up") == bytes, "the file differs");
    check_in_sync(&mut raw);
}

#[test]
fn commands_in_one_packet_with_stor_and_quit_are_answered_in_order() {
    let fixture = Plan::default().start();
    let bytes = pattern(100_000);
    let mut raw = fixture.client();
    let mut tcp = raw.passive();
    raw.send_bytes(b"STOR up\r\nSTOR other\r\nQUIT\r\n");
    assert_eq!(raw.read().code, 150);
    tcp.write_all(&bytes).expect("sending the file");
    drop(tcp);
    // The second has no data connection.
    for expected in [226, 425, 221] {
        let reply = raw.read();
        assert_eq!(reply.code, expected, "{}", reply.text);
    }
    assert!(raw.at_end());
    assert!(fixture.get("up") == bytes, "the file differs");
    assert_eq!(fixture.names(), ["up"]);
    let ended = fixture.gateway.await_log(|event| event["event"] == "session", TIMEOUT);
    assert_eq!(ended["reason"], "the client sent QUIT", "{ended}");
    assert_eq!((&ended["fault"], &ended["uploads"]), (&().into(), &1.into()), "{ended}");
}

#[test]
fn a_long_line_gets_one_500_and_the_session_continues() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    let longest = format!("MKD {}", "x".repeat(4096 - 4));
    assert_eq!(raw.command(&longest).code / 100, 5);
    for length in [4097, 5000, 300_000] {
        let reply = raw.command(&"x".repeat(length));
        assert_eq!(reply.code, 500, "{}", reply.text);
        assert!(reply.text.contains("too long"), "{}", reply.text);
        check_in_sync(&mut raw);
    }
    // The part after the limit is not a separate command.
    raw.expect(&format!("{} NOOP", "x".repeat(4096)), 500);
    check_in_sync(&mut raw);
    assert!(fixture.names().is_empty());
}

#[test]
fn unknown_and_malformed_commands_are_refused() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    for line in
        ["FOO", "FOO bar", "", " NOOP", "RETRIEVE a", "\x16\x03\x01", "123", "GET / HTTP/1.0"]
    {
        raw.expect(line, 500);
    }
    check_in_sync(&mut raw);
}

#[test]
fn feat_syst_noop_help_and_allo_get_the_usual_replies() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    let help = raw.expect("HELP", 214).text;
    for verb in ["RETR", "MLSD", "EPSV", "XRMD"] {
        assert!(help.contains(verb), "{help}");
    }
    // Features that depend on the backend are listed only after the login.
    assert!(!fixture.connect().expect("FEAT", 211).text.contains("MFMT"));
    let features = raw.expect("FEAT", 211).text;
    for feature in ["EPSV", "MDTM", "MFMT", "REST STREAM", "SIZE", "UTF8", "MLST type*;size*;"] {
        assert!(features.contains(&format!("\r\n {feature}")), "{feature}: {features}");
    }
    assert!(!features.contains("EPRT"), "active mode is not allowed here: {features}");
    for (line, code) in [
        ("SYST", 215),
        ("ALLO 100", 202),
        ("ACCT x", 202),
        ("OPTS UTF8 ON", 200),
        ("OPTS UTF8 OFF", 504),
        ("OPTS MLST size;", 200),
        ("OPTS FOO", 501),
        ("SITE HELP", 214),
        ("SITE EXEC ls", 502),
        ("SITE CHMOD 99999 a", 501),
        ("SITE CHMOD 600 missing", 550),
        ("TYPE E", 504),
        ("TYPE", 501),
        ("TYPE L 8", 200),
        ("MODE S", 200),
        ("MODE Z", 504),
        ("STRU F", 200),
        ("STRU R", 504),
        ("ABOR", 225),
        ("RETR", 501),
        ("PASS again", 503),
        ("USER other", 503),
    ] {
        raw.expect(line, code);
    }
    assert!(raw.expect("FEAT", 211).text.contains("size*;modify;"));
    check_in_sync(&mut raw);
}

#[test]
fn rest_applies_to_the_next_transfer_only() {
    let fixture = Plan::default().start();
    fixture.put("file", "0123456789");
    let mut raw = fixture.client();
    for line in ["REST", "REST -1", "REST 1x", "REST 99999999999999999999"] {
        raw.expect(line, 501);
    }
    raw.expect("REST 4", 350);
    assert_eq!(raw.download("RETR file").0, b"456789");
    assert_eq!(raw.download("RETR file").0, b"0123456789");
    // Commands that clients send before a transfer do not reset it.
    for between in ["NOOP", "SIZE file", "ALLO 6", "TYPE I", "MODE S"] {
        raw.expect("REST 4", 350);
        raw.command(between);
        assert_eq!(raw.download("RETR file").0, b"456789", "after {between}");
    }
    // Any other command, refused or not, resets it.
    for between in ["FOO", "DELE missing", "RETR missing", "RETR a\rb", "RETR", "LIST"] {
        raw.expect("REST 4", 350);
        let code = raw.command(between).code;
        assert_ne!(code, 150, "a transfer without a data connection got 150");
        assert_eq!(raw.download("RETR file").0, b"0123456789", "after {between}");
    }
    // Without a data connection it fails, and the client tries again from the start.
    raw.expect("REST 4", 350);
    raw.expect("RETR file", 425);
    assert_eq!(raw.download("RETR file").0, b"0123456789");
    raw.expect("REST 11", 350);
    raw.expect("EPSV", 229);
    assert_eq!(raw.command("RETR file").code / 100, 5);
    raw.expect("REST 11", 350);
    raw.expect("EPSV", 229);
    assert_eq!(raw.command("STOR file").code / 100, 5);
    assert_eq!(fixture.get("file"), b"0123456789");
    raw.expect("REST 8", 350);
    assert_eq!(raw.upload("STOR file", b"xyz").code, 226);
    assert_eq!(fixture.get("file"), b"01234567xyz");
}

#[test]
fn rnfr_applies_to_the_next_command_only() {
    let fixture = Plan::default().start();
    fixture.put("file", "");
    let mut raw = fixture.client();
    raw.expect("RNFR missing", 550);
    raw.expect("RNTO new", 503);
    for between in ["NOOP", "FOO", "DELE missing", "RNTO a\rb", "RNFR missing"] {
        raw.expect("RNFR file", 350);
        raw.command(between);
        raw.expect("RNTO new", 503);
    }
    raw.expect("RNFR file", 350);
    raw.expect("RNTO new", 250);
    assert_eq!(fixture.names(), ["new"]);
}

#[test]
fn epsv_and_pasv_get_a_port_until_epsv_all() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    raw.expect("EPSV 3", 522);
    raw.expect("EPSV 2", 522);
    raw.expect("EPSV x", 501);
    raw.expect("EPSV 1", 229);
    assert!(raw.expect("PASV", 227).text.contains("(127,0,0,1,"));
    raw.expect("LIST missing", 550);
    raw.expect("LIST", 425);
    raw.expect("EPSV ALL", 200);
    raw.expect("PASV", 501);
    raw.expect("PORT 127,0,0,1,200,200", 501);
    raw.expect("EPRT |1|127.0.0.1|51400|", 501);
    raw.expect("EPSV", 229);
    raw.expect("REIN", 220);
}

/// The files belong to the gateway's own user: executable files would run as that user.
#[test]
fn site_chmod_does_not_set_setuid() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Plan::default().start();
    fixture.put("file", "");
    let mut raw = fixture.client();
    for (mode, expected) in [("6755", 0o755), ("7700", 0o700), ("0644", 0o644)] {
        raw.expect(&format!("SITE CHMOD {mode} file"), 200);
        let metadata = std::fs::metadata(fixture.path("file")).expect("looking at the file");
        assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{mode}");
    }
}
