//! Uploads that end without TLS's close_notify.

use super::cuts::{KINDS, PART, await_cut, await_taken, begin, expect_leftover, start};
use super::{Plan, check_in_sync};
use crate::support::pattern;

#[test]
fn an_upload_without_close_notify_is_incomplete() {
    for kind in KINDS {
        let fixture = start(kind, "required");
        let mut raw = fixture.tls_client();
        let part = pattern(PART);
        let data = begin(&mut raw, &part);
        data.socket().shutdown(std::net::Shutdown::Write).expect("FIN");
        let reply = raw.read();
        assert!(matches!(reply.code, 426 | 451), "{kind}: {}", reply.text);
        assert!(reply.text.contains("close_notify"), "{}", reply.text);
        check_in_sync(&mut raw);
        let reason = await_cut(&fixture)["reason"].to_string();
        assert!(reason.contains("tls.require_close_notify: true"), "{reason}");
        expect_leftover(&fixture, kind, &part);
    }
}

#[test]
fn an_upload_without_close_notify_is_accepted_if_configured() {
    for kind in KINDS {
        let tls_keys = ", require_close_notify: false";
        let fixture =
            Plan { tls: "required", tls_keys, partial_uploads: kind, ..Plan::default() }.start();
        let mut raw = fixture.tls_client();
        let whole = pattern(PART);
        let data = begin(&mut raw, &whole);
        data.socket().shutdown(std::net::Shutdown::Write).expect("FIN");
        assert_eq!(raw.read().code, 226, "{kind}");
        check_in_sync(&mut raw);
        assert_eq!(fixture.names(), ["up"]);
        assert!(fixture.get("up") == whole, "{kind}");
        // A reset is always an interrupted upload.
        let data = begin(&mut raw, &whole);
        await_taken(&mut raw, &whole);
        data.reset();
        assert_eq!(raw.read().code, 426, "{kind}");
        check_in_sync(&mut raw);
    }
}

/// A client without TCP_NODELAY holds a small file back until its last handshake flight is
/// acknowledged; a delayed acknowledgement costs 40 ms a file.
#[test]
fn small_uploads_do_not_wait_for_a_delayed_acknowledgement() {
    let fixture = start(KINDS[0], "required");
    let mut raw = fixture.tls_client();
    let mut times: Vec<_> = (0..15)
        .map(|i| {
            let started = std::time::Instant::now();
            assert_eq!(raw.upload(&format!("STOR small{i}"), b"small").code, 226);
            started.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[times.len() / 2].as_millis() < 35, "{times:?}");
}
