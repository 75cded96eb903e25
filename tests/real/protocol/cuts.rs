//! Transfers that end before their end: never presented as whole.

use std::io::{Read, Write};
use std::time::Instant;

use super::{Lock, Plan, SOON, in_step};
use crate::support::pattern;
use crate::support::raw::{Raw, Wire};

pub(super) const KINDS: [&str; 3] = ["keep", "delete", "temporary-name"];
pub(super) const PART: usize = 300_000;

pub(super) fn start(partial_uploads: &'static str, tls: &'static str) -> Lock {
    Plan { tls, partial_uploads, ..Plan::default() }.start()
}

fn client(lock: &Lock, tls: &str) -> Raw {
    if tls == "none" { lock.client() } else { lock.tls_client() }
}

/// Begins an upload and sends a part of it.
pub(super) fn begin(raw: &mut Raw, part: &[u8]) -> Wire {
    let tcp = raw.begin("STOR up");
    let mut data = raw.data(tcp);
    data.write_all(part).and_then(|()| data.flush()).expect("sending a part");
    data
}

/// Until the gateway has taken all of the part: what a reset overtakes would be lost.
pub(super) fn await_taken(raw: &mut Raw, part: &[u8]) {
    while !raw.expect("STAT", 213).text.contains(&format!(" {} bytes", part.len())) {}
}

/// Closes the control connection and waits until the other side's kernel has its FIN: two
/// connections keep no order between them, not even on the loopback of a busy machine.
fn hang_up(raw: Raw) {
    const UNDER_WAY: [&str; 2] = ["01", "04"];
    let own = raw.socket().local_addr().expect("an address");
    let own = format!("0100007F:{:04X}", own.port());
    drop(raw);
    let end = Instant::now() + SOON;
    let under_way = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("reading the kernel's table");
        table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next() == Some(&own) && words.nth(1).is_some_and(|st| UNDER_WAY.contains(&st))
        })
    };
    while under_way() {
        assert!(Instant::now() < end, "the FIN does not arrive");
    }
}

/// The record of the cut upload; what is in the folder is settled then.
pub(super) fn await_cut(lock: &Lock) -> serde_json::Value {
    let record = lock
        .gateway
        .await_log(|event| event["event"] == "transfer" && event["operation"] == "write", SOON);
    assert_ne!(record["outcome"], "ok", "{record}");
    assert_eq!(record["fault"], "client", "{record}");
    record
}

/// No file that looks whole, except under `keep`, where the part stays.
pub(super) fn expect_leftover(lock: &Lock, kind: &str, part: &[u8]) {
    let names = lock.names();
    match kind {
        "keep" => {
            assert_eq!(names, ["up"]);
            assert!(lock.get("up") == part, "not the part that was sent");
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
            let lock = start(kind, tls);
            let mut raw = client(&lock, tls);
            let part = pattern(PART);
            let data = begin(&mut raw, &part);
            await_taken(&mut raw, &part);
            data.reset();
            let reply = raw.read();
            assert_eq!(reply.code, 426, "{kind} {tls}: {}", reply.text);
            in_step(&mut raw);
            await_cut(&lock);
            expect_leftover(&lock, kind, &part);
        }
    }
}

#[test]
fn an_upload_of_a_killed_client_is_incomplete() {
    for kind in KINDS {
        for tls in ["none", "required"] {
            let lock = start(kind, tls);
            let mut raw = client(&lock, tls);
            let part = pattern(PART);
            let mut data = begin(&mut raw, &part);
            await_taken(&mut raw, &part);
            // The kernel closes a dead client's connections in the order it opened them.
            hang_up(raw);
            // It may be reset already.
            let _ = data.finish();
            await_cut(&lock);
            expect_leftover(&lock, kind, &part);
        }
    }
}

/// The end of data is on its way before the gateway has read what came before it.
#[test]
fn an_upload_of_a_client_killed_with_unread_data_is_incomplete() {
    let lock = start("delete", "none");
    let part = pattern(2 << 20);
    for _ in 0..20 {
        let mut raw = lock.client();
        let mut tcp = raw.begin("STOR up");
        tcp.write_all(&part).expect("sending a part");
        hang_up(raw);
        drop(tcp);
    }
    // The last session has ended when all have: each gives its seat back behind its upload.
    let outcomes = |text: &str| lock.gateway.log_tail(usize::MAX).matches(text).count();
    lock.gateway.await_log(|event| event["event"] == "transfer" && event["session"] == 20, SOON);
    assert_eq!(outcomes("\"operation\":\"write\",\"path\":\"/up\",\"bytes\""), 20);
    assert_eq!(outcomes("write ok"), 0, "a cut upload counts as whole");
    assert!(lock.names().is_empty(), "{:?}", lock.names());
}

/// One who said QUIT need not wait for its answer.
#[test]
fn an_upload_followed_by_quit_is_complete() {
    for kind in KINDS {
        let lock = start(kind, "none");
        let whole = pattern(2 << 20);
        for session in 1..=10 {
            let mut raw = lock.client();
            let mut tcp = raw.begin("STOR up");
            tcp.write_all(&whole).expect("sending the file");
            raw.send_bytes(b"QUIT\r\n");
            hang_up(raw);
            drop(tcp);
            let record = lock.gateway.await_log(
                |event| event["event"] == "transfer" && event["session"] == session,
                SOON,
            );
            assert_eq!(record["outcome"], "ok", "{kind}: {record}");
            assert_eq!(lock.names(), ["up"], "{kind}");
            assert!(lock.get("up") == whole, "{kind}: the file differs");
            std::fs::remove_file(lock.path("up")).expect("deleting the file");
        }
    }
}

#[test]
fn an_aborted_upload_is_incomplete() {
    for kind in KINDS {
        let lock = start(kind, "none");
        let mut raw = lock.client();
        let part = pattern(PART);
        let data = begin(&mut raw, &part);
        await_taken(&mut raw, &part);
        raw.send_bytes(b"ABOR\r\n");
        assert_eq!(raw.read().code, 426);
        assert_eq!(raw.read().code, 226);
        in_step(&mut raw);
        drop(data);
        await_cut(&lock);
        expect_leftover(&lock, kind, &part);
    }
}

#[test]
fn an_incomplete_upload_with_temporary_name_keeps_the_old_file() {
    let lock = start("temporary-name", "none");
    lock.put("up", "old");
    let mut raw = lock.client();
    let data = begin(&mut raw, b"part");
    await_taken(&mut raw, b"part");
    assert_eq!(lock.get("up"), b"old");
    data.reset();
    assert_eq!(raw.read().code, 426);
    assert_eq!(lock.get("up"), b"old");
    assert_eq!(raw.upload("STOR up", b"new").code, 226);
    assert_eq!(lock.get("up"), b"new");
}

#[test]
fn a_download_reset_by_the_client_is_incomplete() {
    for tls in ["none", "required"] {
        let lock = start("keep", tls);
        let length = lock.put_large("large");
        let mut raw = client(&lock, tls);
        let tcp = raw.begin("RETR large");
        let mut data = raw.data(tcp);
        data.read_exact(&mut vec![0; length / 64]).expect("a part of the file");
        data.reset();
        let reply = raw.read();
        assert_eq!(reply.code, 426, "{tls}: {}", reply.text);
        in_step(&mut raw);
        // Closed with bytes unread, which is a reset too.
        drop(raw.begin("RETR large"));
        assert!(matches!(raw.read().code, 425 | 426));
        in_step(&mut raw);
    }
}

/// Scripts pipe their commands and end their half of the control connection without QUIT.
#[test]
fn a_download_whose_client_half_closes_is_complete() {
    for tls in ["none", "required"] {
        let lock = start("keep", tls);
        let whole = pattern(2 << 20);
        lock.put("file", &whole);
        let mut raw = client(&lock, tls);
        let tcp = raw.begin("RETR file");
        raw.socket().shutdown(std::net::Shutdown::Write).expect("the end of what is sent");
        let mut data = raw.data(tcp);
        let mut got = Vec::new();
        data.read_to_end(&mut got).expect("the file to its end");
        drop(data);
        assert!(got == whole, "{tls}: the file differs");
        let record = lock
            .gateway
            .await_log(|event| event["event"] == "transfer" && event["operation"] == "read", SOON);
        assert_eq!(record["outcome"], "ok", "{tls}: {record}");
    }
}
