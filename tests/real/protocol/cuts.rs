//! Interrupted transfers: never presented as complete.

use std::io::{Read, Write};

use super::{Fixture, Plan, TIMEOUT, check_in_sync};
use crate::support::pattern;
use crate::support::raw::{Raw, Wire};
use crate::support::wait::becomes_true;

pub(super) const KINDS: [&str; 3] = ["keep", "delete", "temporary-name"];
pub(super) const PART: usize = 300_000;

pub(super) fn start(partial_uploads: &'static str, tls: &'static str) -> Fixture {
    Plan { tls, partial_uploads, ..Plan::default() }.start()
}

fn client(fixture: &Fixture, tls: &str) -> Raw {
    if tls == "none" { fixture.client() } else { fixture.tls_client() }
}

/// Starts an upload and sends a part of it.
pub(super) fn begin(raw: &mut Raw, part: &[u8]) -> Wire {
    let tcp = raw.begin("STOR up");
    let mut data = raw.data(tcp);
    data.write_all(part).and_then(|()| data.flush()).expect("sending a part");
    data
}

/// Waits until the gateway has read the whole part: a reset would discard the rest.
pub(super) fn await_taken(raw: &mut Raw, part: &[u8]) {
    while !raw.expect("STAT", 213).text.contains(&format!(" {} bytes", part.len())) {}
}

/// Closes the control connection and waits until the peer's kernel has received the FIN: the
/// order of two connections is not fixed, not even on the loopback.
fn hang_up(raw: Raw) {
    const UNDER_WAY: [&str; 2] = ["01", "04"];
    let own = raw.socket().local_addr().expect("an address");
    let own = format!("0100007F:{:04X}", own.port());
    drop(raw);
    let under_way = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("reading the kernel's table");
        table.lines().any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            columns.next() == Some(&own) && columns.nth(1).is_some_and(|st| UNDER_WAY.contains(&st))
        })
    };
    assert!(becomes_true(|| !under_way()), "the FIN does not arrive");
}

/// Waits for the record of the interrupted upload; the folder is final then.
pub(super) fn await_cut(fixture: &Fixture) -> serde_json::Value {
    let record = fixture
        .gateway
        .await_log(|event| event["event"] == "transfer" && event["operation"] == "write", TIMEOUT);
    assert_ne!(record["outcome"], "ok", "{record}");
    assert_eq!(record["fault"], "client", "{record}");
    record
}

/// No file that looks complete, except with `keep`, where the part stays.
pub(super) fn expect_leftover(fixture: &Fixture, kind: &str, part: &[u8]) {
    let names = fixture.names();
    match kind {
        "keep" => {
            assert_eq!(names, ["up"]);
            assert!(fixture.get("up") == part, "not the part that was sent");
        }
        "delete" => assert_eq!(names, [""; 0]),
        _ => {
            assert!(names.iter().all(|name| name.starts_with(".lockgate-")), "{names:?}");
            assert_eq!(names.len(), 1, "{names:?}");
        }
    }
}

#[test]
fn a_reset_upload_is_incomplete() {
    for kind in KINDS {
        for tls in ["none", "required"] {
            let fixture = start(kind, tls);
            let mut raw = client(&fixture, tls);
            let part = pattern(PART);
            let data = begin(&mut raw, &part);
            await_taken(&mut raw, &part);
            data.reset();
            let reply = raw.read();
            assert_eq!(reply.code, 426, "{kind} {tls}: {}", reply.text);
            check_in_sync(&mut raw);
            await_cut(&fixture);
            expect_leftover(&fixture, kind, &part);
        }
    }
}

#[test]
fn an_upload_of_a_killed_client_is_incomplete() {
    for kind in KINDS {
        for tls in ["none", "required"] {
            let fixture = start(kind, tls);
            let mut raw = client(&fixture, tls);
            let part = pattern(PART);
            let mut data = begin(&mut raw, &part);
            await_taken(&mut raw, &part);
            // The kernel closes a killed client's connections in the order of opening.
            hang_up(raw);
            // It may be reset already.
            let _ = data.finish();
            await_cut(&fixture);
            expect_leftover(&fixture, kind, &part);
        }
    }
}

/// The end of data arrives before the gateway has read the bytes before it.
#[test]
fn an_upload_of_a_client_killed_with_unread_data_is_incomplete() {
    let fixture = start("delete", "none");
    let part = pattern(2 << 20);
    for _ in 0..20 {
        let mut raw = fixture.client();
        let mut tcp = raw.begin("STOR up");
        tcp.write_all(&part).expect("sending a part");
        hang_up(raw);
        drop(tcp);
    }
    // When the last session has ended, all have: each ends after its upload.
    let outcomes = |text: &str| fixture.gateway.log_tail(usize::MAX).matches(text).count();
    fixture
        .gateway
        .await_log(|event| event["event"] == "transfer" && event["session"] == 20, TIMEOUT);
    assert_eq!(outcomes("\"operation\":\"write\",\"path\":\"/up\",\"bytes\""), 20);
    assert_eq!(outcomes("write ok"), 0, "a cut upload counts as whole");
    assert!(fixture.names().is_empty(), "{:?}", fixture.names());
}

/// A client that sent QUIT need not wait for the reply.
#[test]
fn an_upload_followed_by_quit_is_complete() {
    for kind in KINDS {
        let fixture = start(kind, "none");
        let whole = pattern(2 << 20);
        for session in 1..=10 {
            let mut raw = fixture.client();
            let mut tcp = raw.begin("STOR up");
            tcp.write_all(&whole).expect("sending the file");
            raw.send_bytes(b"QUIT\r\n");
            hang_up(raw);
            drop(tcp);
            let record = fixture.gateway.await_log(
                |event| event["event"] == "transfer" && event["session"] == session,
                TIMEOUT,
            );
            assert_eq!(record["outcome"], "ok", "{kind}: {record}");
            assert_eq!(fixture.names(), ["up"], "{kind}");
            assert!(fixture.get("up") == whole, "{kind}: the file differs");
            std::fs::remove_file(fixture.path("up")).expect("deleting the file");
        }
    }
}

#[test]
fn an_aborted_upload_is_incomplete() {
    for kind in KINDS {
        let fixture = start(kind, "none");
        let mut raw = fixture.client();
        let part = pattern(PART);
        let data = begin(&mut raw, &part);
        await_taken(&mut raw, &part);
        raw.send_bytes(b"ABOR\r\n");
        assert_eq!(raw.read().code, 426);
        assert_eq!(raw.read().code, 226);
        check_in_sync(&mut raw);
        drop(data);
        await_cut(&fixture);
        expect_leftover(&fixture, kind, &part);
    }
}

#[test]
fn an_incomplete_upload_with_temporary_name_keeps_the_old_file() {
    let fixture = start("temporary-name", "none");
    fixture.put("up", "old");
    let mut raw = fixture.client();
    let data = begin(&mut raw, b"part");
    await_taken(&mut raw, b"part");
    assert_eq!(fixture.get("up"), b"old");
    data.reset();
    assert_eq!(raw.read().code, 426);
    assert_eq!(fixture.get("up"), b"old");
    assert_eq!(raw.upload("STOR up", b"new").code, 226);
    assert_eq!(fixture.get("up"), b"new");
}

#[test]
fn a_download_reset_by_the_client_is_incomplete() {
    for tls in ["none", "required"] {
        let fixture = start("keep", tls);
        let length = fixture.put_large("large");
        let mut raw = client(&fixture, tls);
        let tcp = raw.begin("RETR large");
        let mut data = raw.data(tcp);
        data.read_exact(&mut vec![0; length / 64]).expect("a part of the file");
        data.reset();
        let reply = raw.read();
        assert_eq!(reply.code, 426, "{tls}: {}", reply.text);
        check_in_sync(&mut raw);
        // Closing with unread bytes also sends a reset.
        drop(raw.begin("RETR large"));
        assert!(matches!(raw.read().code, 425 | 426));
        check_in_sync(&mut raw);
    }
}

/// Scripts pipe their commands and end their half of the control connection without QUIT.
#[test]
fn a_download_whose_client_half_closes_is_complete() {
    for tls in ["none", "required"] {
        let fixture = start("keep", tls);
        let whole = pattern(2 << 20);
        fixture.put("file", &whole);
        let mut raw = client(&fixture, tls);
        let tcp = raw.begin("RETR file");
        raw.socket().shutdown(std::net::Shutdown::Write).expect("the end of what is sent");
        let mut data = raw.data(tcp);
        let mut got = Vec::new();
        data.read_to_end(&mut got).expect("the file to its end");
        drop(data);
        assert!(got == whole, "{tls}: the file differs");
        let record = fixture.gateway.await_log(
            |event| event["event"] == "transfer" && event["operation"] == "read",
            TIMEOUT,
        );
        assert_eq!(record["outcome"], "ok", "{tls}: {record}");
    }
}
