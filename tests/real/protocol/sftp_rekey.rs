//! New session keys while a transfer is in flight (RFC 4253 section 9), asked for by either side.

use serde_json::json;

use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::pattern;
use crate::support::process::Output;
use crate::support::sftp_lock::{SftpLock, SftpPlan};

const LENGTH: usize = 24 << 20;

/// Of all that are counted in what OpenSSH's client says with `-v`; the first is the connection's own.
fn key_exchanges(told: &Output) -> usize {
    String::from_utf8_lossy(&told.stderr).matches("SSH2_MSG_KEXINIT received").count()
}

/// Brings how often keys were agreed on.
fn both_ways(lock: &SftpLock, site: &SftpSite, more: &[&str]) -> usize {
    let home = tempfile::tempdir().expect("a client's home");
    let bytes = pattern(LENGTH);
    lock.put("down.bin", &bytes);
    let batch = "get down.bin\nput down.bin up.bin\n";
    let more = [&["-v"], more].concat();
    let told = sftp(site, home.path(), batch, &more).expect_ok("both ways");
    let read = std::fs::read(home.path().join("down.bin")).expect("the file");
    assert!(read == bytes, "the download differs");
    assert!(lock.get("up.bin") == bytes, "the upload differs");
    key_exchanges(&told)
}

#[test]
fn the_gateway_rekeys_after_bytes() {
    let listener = ", rekey: { bytes: 1MiB }";
    let lock = SftpPlan { listener, ..SftpPlan::default() }.start();
    // Where a client says nothing, only the gateway can have asked. One at a time, so that there are
    // fewer than MiB, above all while russh's limit is looked at.
    let exchanges = both_ways(&lock, &lock.site(), &[]);
    assert!(exchanges > LENGTH >> 22, "{exchanges} key exchanges");
    lock.at_rest();
}

#[test]
fn the_client_rekeys_after_bytes() {
    let lock = SftpPlan::default().start();
    let exchanges = both_ways(&lock, &lock.site(), &["-o", "RekeyLimit=1M"]);
    assert!(exchanges > LENGTH >> 22, "{exchanges} key exchanges");
    lock.scenario("rekey", json!({ "bytes": LENGTH / 3 }));
    lock.at_rest();
}

#[test]
fn both_rekey() {
    let listener = ", rekey: { bytes: 1MiB }";
    let lock = SftpPlan { listener, ..SftpPlan::default() }.start();
    let exchanges = both_ways(&lock, &lock.site(), &["-o", "RekeyLimit=1M"]);
    assert!(exchanges > LENGTH >> 22, "{exchanges} key exchanges");
    lock.at_rest();
}

/// The client holds its speed down, so that each way takes several seconds.
#[test]
fn the_gateway_rekeys_after_a_time() {
    let listener = ", rekey: { time: 1s }";
    let lock = SftpPlan { listener, ..SftpPlan::default() }.start();
    let (site, home) = (lock.site(), tempfile::tempdir().expect("a client's home"));
    let bytes = pattern(LENGTH);
    lock.put("down.bin", &bytes);
    for batch in ["get down.bin\n", "put down.bin up.bin\n"] {
        let told = sftp(&site, home.path(), batch, &["-v", "-l", "49152"]).expect_ok(batch);
        let exchanges = key_exchanges(&told);
        assert!(exchanges >= 3, "{batch}: {exchanges} key exchanges\n{}", told.describe());
    }
    let read = std::fs::read(home.path().join("down.bin")).expect("the file");
    assert!(read == bytes, "the download differs");
    assert!(lock.get("up.bin") == bytes, "the upload differs");
    lock.at_rest();
}
