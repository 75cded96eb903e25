//! New session keys while a transfer is in flight (RFC 4253 section 9), asked for by either side.

use serde_json::json;

use crate::support::clients::SftpSite;
use crate::support::clients::openssh::sftp;
use crate::support::pattern;
use crate::support::sftp_lock::{SftpLock, SftpPlan};

const LENGTH: usize = 24 << 20;

fn both_ways(lock: &SftpLock, site: &SftpSite, more: &[&str]) {
    let home = tempfile::tempdir().expect("a client's home");
    let bytes = pattern(LENGTH);
    lock.put("down.bin", &bytes);
    let batch = "get down.bin\nput down.bin up.bin\n";
    sftp(site, home.path(), batch, more).expect_ok("both ways");
    let read = std::fs::read(home.path().join("down.bin")).expect("the file");
    assert!(read == bytes, "the download differs");
    assert!(lock.get("up.bin") == bytes, "the upload differs");
}

#[test]
fn the_gateway_asks_after_bytes() {
    let listener = ", rekey: { bytes: 1MiB }";
    let lock = SftpPlan { listener, ..SftpPlan::default() }.start();
    both_ways(&lock, &lock.site(), &[]);
    lock.at_rest();
}

#[test]
fn the_client_asks_after_bytes() {
    let lock = SftpPlan::default().start();
    both_ways(&lock, &lock.site(), &["-o", "RekeyLimit=1M"]);
    lock.scenario("rekey", json!({ "bytes": LENGTH / 3 }));
    lock.at_rest();
}

#[test]
fn both_ask() {
    let listener = ", rekey: { bytes: 1MiB }";
    let lock = SftpPlan { listener, ..SftpPlan::default() }.start();
    both_ways(&lock, &lock.site(), &["-o", "RekeyLimit=1M"]);
    lock.at_rest();
}
