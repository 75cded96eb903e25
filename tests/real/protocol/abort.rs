//! ABOR, STAT and QUIT while a transfer runs (RFC 959 section 4.1.3, Telnet of RFC 854).

use std::io::{Read, Write};
use std::net::TcpStream;

use super::cuts::await_cut;
use super::{Fixture, Plan, check_in_sync};
use crate::support::raw::{Raw, Wire};

/// How a client sends ABOR.
type Saying = fn(&mut Raw);

const ABOR_FORMS: [(&str, Saying); 10] = [
    ("bare", |raw| raw.send_bytes(b"ABOR\r\n")),
    ("small letters", |raw| raw.send_bytes(b"abor\r\n")),
    ("IAC IP IAC DM in line", |raw| raw.send_bytes(b"\xff\xf4\xff\xf2ABOR\r\n")),
    ("DM without its IAC", |raw| raw.send_bytes(b"\xf2ABOR\r\n")),
    ("IP and IAC in the other order", |raw| raw.send_bytes(b"\xf4\xffABOR\r\n")),
    ("urgent IP, then IAC", |raw| {
        raw.send_urgent(b"\xf4");
        raw.send_bytes(b"\xffABOR\r\n");
    }),
    ("urgent IAC alone", |raw| {
        raw.send_urgent(b"\xff");
        raw.send_bytes(b"ABOR\r\n");
    }),
    ("urgent IAC, as in RFC 959's clients", |raw| {
        raw.send_urgent(b"\xff\xf4\xff");
        raw.send_bytes(b"\xf2ABOR\r\n");
    }),
    ("urgent DM", |raw| {
        raw.send_bytes(b"\xff\xf4");
        raw.send_urgent(b"\xff\xf2");
        raw.send_bytes(b"ABOR\r\n");
    }),
    ("all of it urgent", |raw| raw.send_urgent(b"\xff\xf4\xff\xf2ABOR\r\n")),
];

/// A download that the client does not read to its end.
fn stuck_download(fixture: &Fixture, raw: &mut Raw) -> Wire {
    let length = fixture.put_large("large");
    let tcp = raw.begin("RETR large");
    let mut data = raw.data(tcp);
    data.read_exact(&mut vec![0; length / 64]).expect("the beginning of the file");
    data
}

/// An upload of which `part` has been written to the folder.
fn stuck_upload(fixture: &Fixture, raw: &mut Raw, part: &[u8]) -> Wire {
    let tcp = raw.begin("STOR up");
    let mut data = raw.data(tcp);
    data.write_all(part).and_then(|()| data.flush()).expect("sending a part");
    while !raw.expect("STAT", 213).text.contains(&format!(" {} bytes", part.len())) {}
    assert!(fixture.path("up").exists());
    data
}

#[track_caller]
fn expect_aborted(raw: &mut Raw, how: &str) {
    let first = raw.read();
    assert_eq!(first.code, 426, "{how}: {}", first.text);
    let second = raw.read();
    assert_eq!(second.code, 226, "{how}: {}", second.text);
    check_in_sync(raw);
}

fn at_end(mut data: Wire, how: &str) {
    let mut rest = Vec::new();
    let end = data.read_to_end(&mut rest);
    assert!(end.is_err(), "{how}: an end that looks complete");
}

#[test]
fn abor_ends_a_download() {
    for tls in ["none", "required"] {
        let fixture = Plan { tls, ..Plan::default() }.start();
        let mut raw = if tls == "none" { fixture.client() } else { fixture.tls_client() };
        // Urgent data only in clear: under TLS it would damage a record.
        let forms = ABOR_FORMS.iter().take(if tls == "none" { ABOR_FORMS.len() } else { 5 });
        for (how, send) in forms {
            let data = stuck_download(&fixture, &mut raw);
            send(&mut raw);
            expect_aborted(&mut raw, how);
            at_end(data, how);
        }
    }
}

#[test]
fn abor_ends_an_upload() {
    for tls in ["none", "required"] {
        let fixture = Plan { tls, partial_uploads: "delete", ..Plan::default() }.start();
        let mut raw = if tls == "none" { fixture.client() } else { fixture.tls_client() };
        let forms = ABOR_FORMS.iter().take(if tls == "none" { ABOR_FORMS.len() } else { 5 });
        for (how, send) in forms {
            let data = stuck_upload(&fixture, &mut raw, b"part");
            send(&mut raw);
            expect_aborted(&mut raw, how);
            at_end(data, how);
            assert!(fixture.names().is_empty(), "{how}");
        }
    }
}

#[test]
fn abor_before_the_data_connection() {
    let fixture = Plan { partial_uploads: "delete", ..Plan::default() }.start();
    fixture.put("file", "bytes");
    let mut raw = fixture.client();
    for line in ["RETR file", "STOR new", "LIST"] {
        raw.expect("EPSV", 229);
        raw.expect(line, 150);
        raw.send_bytes(b"ABOR\r\n");
        expect_aborted(&mut raw, line);
    }
    assert_eq!(fixture.names(), ["file"]);
    assert_eq!(raw.download("RETR file").0, b"bytes");
}

#[test]
fn commands_after_abor_are_answered_after_it() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    let _data = stuck_download(&fixture, &mut raw);
    raw.send_bytes(b"SYST\r\nABOR\r\nPWD\r\n");
    for expected in [426, 226, 215, 257] {
        assert_eq!(raw.read().code, expected);
    }
    check_in_sync(&mut raw);
}

/// Clients keep a NAT mapping alive with NOOP.
#[test]
fn abor_is_seen_after_many_commands_during_an_upload() {
    const NOOPS: usize = 20_000;
    let fixture = Plan { partial_uploads: "delete", ..Plan::default() }.start();
    let mut raw = fixture.client();
    let data = stuck_upload(&fixture, &mut raw, b"part");
    raw.send_bytes("NOOP\r\n".repeat(NOOPS).as_bytes());
    let status = raw.expect("STAT", 213);
    assert!(status.text.contains(" 4 bytes"), "{}", status.text);
    raw.send_bytes(b"ABOR\r\n");
    assert_eq!(raw.read().code, 426);
    assert_eq!(raw.read().code, 226);
    for n in 0..NOOPS {
        let reply = raw.read();
        assert_eq!(reply.code, 200, "NOOP {n}: {}", reply.text);
    }
    raw.expect("SYST", 215);
    check_in_sync(&mut raw);
    at_end(data, "an upload with NOOPs");
    assert!(fixture.names().is_empty());
}

#[test]
fn the_clients_close_is_seen_after_many_commands() {
    let fixture = Plan { partial_uploads: "delete", ..Plan::default() }.start();
    let mut raw = fixture.client();
    let mut data = stuck_upload(&fixture, &mut raw, b"part");
    raw.send_bytes("NOOP\r\n".repeat(5000).as_bytes());
    // All lines have been read.
    raw.expect("STAT", 213);
    drop(raw);
    await_cut(&fixture);
    let _ = data.finish();
    assert!(fixture.names().is_empty(), "{:?}", fixture.names());
}

/// A client that sends this much during a transfer does not wait for replies.
#[test]
fn too_many_queued_commands_end_the_session() {
    for line in ["PWD", "RETR large", &"x".repeat(2000)] {
        let fixture = Plan { partial_uploads: "delete", ..Plan::default() }.start();
        let mut raw = fixture.client();
        let data = stuck_upload(&fixture, &mut raw, b"part");
        // It may end before all is sent.
        let _ = raw.try_send(format!("{line}\r\n").repeat(1025).as_bytes());
        assert_eq!(raw.read().code, 426, "{line}");
        assert_eq!(raw.read().code, 421, "{line}");
        await_cut(&fixture);
        assert!(fixture.names().is_empty(), "{line}: {:?}", fixture.names());
        at_end(data, line);
    }
}

#[test]
fn quit_is_seen_after_the_most_queued_commands() {
    let fixture = Plan::default().start();
    let mut raw = fixture.client();
    let mut data = stuck_upload(&fixture, &mut raw, b"first ");
    raw.send_bytes("PWD\r\nNOOP\r\n".repeat(1024).as_bytes());
    raw.send_bytes(b"QUIT\r\n");
    raw.expect("STAT", 213);
    data.write_all(b"second").expect("sending the rest");
    data.finish().expect("the end of the file");
    let codes: Vec<u16> = (0..2050).map(|_| raw.read().code).collect();
    assert_eq!((codes[0], codes[1], codes[2], codes[2049]), (226, 257, 200, 221));
    assert_eq!(fixture.get("up"), b"first second");
}

#[test]
fn stat_reports_the_progress_of_a_transfer() {
    let fixture = Plan::default().start();
    let length = fixture.put_large("file");
    let mut raw = fixture.client();
    let mut tcp = raw.begin("RETR file");
    tcp.read_exact(&mut vec![0; length / 4]).expect("a quarter of the file");
    raw.send_bytes(b"\xff\xf4\xff\xf2STAT\r\n");
    let text = raw.read().text;
    let bytes: usize = text
        .split(' ')
        .find_map(|word| word.parse().ok().filter(|_| !word.starts_with("213")))
        .unwrap_or_else(|| panic!("no count in {text}"));
    assert!((length / 4..length).contains(&bytes), "{text}");
    let rest = read_to_end(tcp);
    assert_eq!(rest, length - length / 4);
    assert_eq!(raw.read().code, 226);
    assert_eq!(raw.expect("STAT", 211).code, 211);
    check_in_sync(&mut raw);
}

#[test]
fn quit_waits_for_the_transfer() {
    let fixture = Plan::default().start();
    let length = fixture.put_large("file");
    let mut raw = fixture.client();
    let tcp = raw.begin("RETR file");
    raw.send_bytes(b"QUIT\r\n");
    assert_eq!(read_to_end(tcp), length);
    assert_eq!(raw.read().code, 226);
    assert_eq!(raw.read().code, 221);
    assert!(raw.at_end());

    let mut raw = fixture.client();
    let mut tcp = raw.begin("STOR up");
    tcp.write_all(b"first ").expect("sending a part");
    raw.send_bytes(b"QUIT\r\n");
    tcp.write_all(b"second").expect("sending the rest");
    drop(tcp);
    assert_eq!(raw.read().code, 226);
    assert_eq!(raw.read().code, 221);
    assert!(raw.at_end());
    assert_eq!(fixture.get("up"), b"first second");
}

fn read_to_end(mut tcp: TcpStream) -> usize {
    std::io::copy(&mut tcp, &mut std::io::sink()).expect("the rest of the file") as usize
}
