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

/// The client holds its speed down, so that each way takes several seconds.
#[test]
fn the_gateway_asks_after_a_time() {
    let listener = ", rekey: { time: 1s }";
    let lock = SftpPlan { listener, ..SftpPlan::default() }.start();
    let (site, home) = (lock.site(), tempfile::tempdir().expect("a client's home"));
    let bytes = pattern(LENGTH);
    lock.put("down.bin", &bytes);
    for batch in ["get down.bin\n", "put down.bin up.bin\n"] {
        let told = sftp(&site, home.path(), batch, &["-v", "-l", "49152"]).expect_ok(batch);
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        let exchanges = told.matches("SSH2_MSG_KEXINIT received").count();
        // The first is the connection's own.
        assert!(exchanges >= 3, "{batch}: {exchanges} key exchanges\n{told}");
    }
    let read = std::fs::read(home.path().join("down.bin")).expect("the file");
    assert!(read == bytes, "the download differs");
    assert!(lock.get("up.bin") == bytes, "the upload differs");
    lock.at_rest();
}
