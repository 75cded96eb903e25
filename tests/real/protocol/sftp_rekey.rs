//! Key re-exchange during a transfer (RFC 4253 section 9), started by either side.

use serde_json::json;

use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::pattern;
use crate::support::process::Output;
use crate::support::sftp_fixture::{SftpFixture, SftpPlan};

const LENGTH: usize = 24 << 20;

/// The key exchanges in the debug output of OpenSSH's client (`-v`), including the initial one.
fn key_exchanges(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stderr).matches("SSH2_MSG_KEXINIT received").count()
}

/// Returns the number of key exchanges.
fn both_ways(fixture: &SftpFixture, site: &SftpSite, more: &[&str]) -> usize {
    let home = tempfile::tempdir().expect("a client's home");
    let bytes = pattern(LENGTH);
    fixture.put("down.bin", &bytes);
    let batch = "get down.bin\nput down.bin up.bin\n";
    let more = [&["-v"], more].concat();
    let output = sftp(site, home.path(), batch, &more).expect_ok("both ways");
    let read = std::fs::read(home.path().join("down.bin")).expect("the file");
    assert!(read == bytes, "the download differs");
    assert!(fixture.get("up.bin") == bytes, "the upload differs");
    key_exchanges(&output)
}

#[test]
fn the_gateway_rekeys_after_bytes() {
    let listener = ", rekey: { bytes: 1MiB }";
    let fixture = SftpPlan { listener, ..SftpPlan::default() }.start();
    // This client starts none, so the gateway did. One transfer at a time, so that there are
    // fewer than MiB, above all while russh's limit is looked at.
    let exchanges = both_ways(&fixture, &fixture.site(), &[]);
    assert!(exchanges > LENGTH >> 22, "{exchanges} key exchanges");
    fixture.await_no_session();
}

#[test]
fn the_client_rekeys_after_bytes() {
    let fixture = SftpPlan::default().start();
    let exchanges = both_ways(&fixture, &fixture.site(), &["-o", "RekeyLimit=1M"]);
    assert!(exchanges > LENGTH >> 22, "{exchanges} key exchanges");
    fixture.scenario("rekey", json!({ "bytes": LENGTH / 3 }));
    fixture.await_no_session();
}

#[test]
fn both_sides_rekey_during_a_transfer() {
    let listener = ", rekey: { bytes: 1MiB }";
    let fixture = SftpPlan { listener, ..SftpPlan::default() }.start();
    let exchanges = both_ways(&fixture, &fixture.site(), &["-o", "RekeyLimit=1M"]);
    assert!(exchanges > LENGTH >> 22, "{exchanges} key exchanges");
    fixture.await_no_session();
}

/// The client holds its speed down, so that each way takes several seconds.
#[test]
fn the_gateway_rekeys_after_a_time() {
    let listener = ", rekey: { time: 1s }";
    let fixture = SftpPlan { listener, ..SftpPlan::default() }.start();
    let (site, home) = (fixture.site(), tempfile::tempdir().expect("a client's home"));
    let bytes = pattern(LENGTH);
    fixture.put("down.bin", &bytes);
    for batch in ["get down.bin\n", "put down.bin up.bin\n"] {
        let output = sftp(&site, home.path(), batch, &["-v", "-l", "49152"]).expect_ok(batch);
        let exchanges = key_exchanges(&output);
        assert!(exchanges >= 3, "{batch}: {exchanges} key exchanges\n{}", output.describe());
    }
    let read = std::fs::read(home.path().join("down.bin")).expect("the file");
    assert!(read == bytes, "the download differs");
    assert!(fixture.get("up.bin") == bytes, "the upload differs");
    fixture.await_no_session();
}
