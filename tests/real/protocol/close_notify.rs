//! Uploads that end without TLS's close_notify.

use super::cuts::{KINDS, PART, await_cut, await_taken, begin, expect_leftover, start};
use super::{Plan, in_step};
use crate::support::pattern;

#[test]
fn an_upload_without_close_notify_is_incomplete() {
    for kind in KINDS {
        let lock = start(kind, "required");
        let mut raw = lock.tls_client();
        let part = pattern(PART);
        let data = begin(&mut raw, &part);
        data.socket().shutdown(std::net::Shutdown::Write).expect("FIN");
        let reply = raw.read();
        assert!(matches!(reply.code, 426 | 451), "{kind}: {}", reply.text);
        assert!(reply.text.contains("close_notify"), "{}", reply.text);
        in_step(&mut raw);
        let reason = await_cut(&lock)["reason"].to_string();
        assert!(reason.contains("tls.require_close_notify: true"), "{reason}");
        expect_leftover(&lock, kind, &part);
    }
}

#[test]
fn an_upload_without_close_notify_is_accepted_if_configured() {
    for kind in KINDS {
        let tls_keys = ", require_close_notify: false";
        let lock =
            Plan { tls: "required", tls_keys, partial_uploads: kind, ..Plan::default() }.start();
        let mut raw = lock.tls_client();
        let whole = pattern(PART);
        let data = begin(&mut raw, &whole);
        data.socket().shutdown(std::net::Shutdown::Write).expect("FIN");
        assert_eq!(raw.read().code, 226, "{kind}");
        in_step(&mut raw);
        assert_eq!(lock.names(), ["up"]);
        assert!(lock.get("up") == whole, "{kind}");
        // A reset is a cut all the same.
        let data = begin(&mut raw, &whole);
        await_taken(&mut raw, &whole);
        data.reset();
        assert_eq!(raw.read().code, 426, "{kind}");
        in_step(&mut raw);
    }
}

/// A client that does not set TCP_NODELAY holds a small file back until its last flight of the
/// handshake is acknowledged; delayed, that is 40 ms a file.
#[test]
fn small_uploads_do_not_wait_for_a_delayed_acknowledgement() {
    let lock = start(KINDS[0], "required");
    let mut raw = lock.tls_client();
    let mut times: Vec<_> = (0..15)
        .map(|i| {
            let begun = std::time::Instant::now();
            assert_eq!(raw.upload(&format!("STOR small{i}"), b"small").code, 226);
            begun.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[times.len() / 2].as_millis() < 35, "{times:?}");
}
