//! Uploads that clients abort: the end of data and the command arrive on two connections, in any order.
//! None may pass for a complete file.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use super::cuts::start;
use super::{Fixture, check_in_sync};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::raw::Raw;
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER};

const ROUNDS: usize = 500;
/// The timeout for all rounds of client processes.
const ROUNDS_TIMEOUT: Duration = Duration::from_secs(240);
static PART: [u8; 100_000] = [7; 100_000];

fn uploads(fixture: &Fixture, outcome: &str) -> u64 {
    let series = format!(
        "lockgate_transfers_total{{backend=\"files\",direction=\"upload\",listener=\"front\",outcome=\"{outcome}\"}}"
    );
    fixture.gateway.metric(&series).unwrap_or(0)
}

#[track_caller]
fn await_aborted(fixture: &Fixture, how: &str, rounds: usize) {
    let all_end = becomes_true(|| uploads(fixture, "aborted") >= rounds as u64);
    let (aborted, whole) = (uploads(fixture, "aborted"), uploads(fixture, "ok"));
    assert!(all_end, "{how}: of {rounds}, {aborted} were cut, {whole} whole");
}

fn client(fixture: &Fixture, tls: &str) -> Raw {
    if tls == "none" { fixture.client() } else { fixture.tls_client() }
}

/// As lftp and FileZilla abort: ABOR, then the data connection is closed in order, under TLS with
/// close_notify.
#[test]
fn abor_and_the_end_of_data_in_any_order_leave_an_upload_incomplete() {
    for tls in ["none", "required"] {
        for abor_first in [true, false] {
            let how = format!("tls {tls}, ABOR first: {abor_first}");
            let fixture = start("delete", tls);
            let mut raw = client(&fixture, tls);
            for round in 0..ROUNDS {
                let tcp = raw.begin("STOR up");
                let mut data = raw.data(tcp);
                data.write_all(&PART).and_then(|()| data.flush()).expect("sending a part");
                if abor_first {
                    raw.send_bytes(b"ABOR\r\n");
                }
                let _ = data.finish();
                if !abor_first {
                    raw.send_bytes(b"ABOR\r\n");
                }
                let (first, second) = (raw.read(), raw.read());
                assert_eq!((first.code, second.code), (426, 226), "{how}, round {round}");
            }
            check_in_sync(&mut raw);
            await_aborted(&fixture, &how, ROUNDS);
            assert_eq!(uploads(&fixture, "ok"), 0, "{how}");
            assert!(fixture.names().is_empty(), "{how}: {:?}", fixture.names());
        }
    }
}

#[test]
fn an_upload_of_a_killed_client_is_never_complete() {
    for tls in ["none", "required"] {
        let fixture = start("delete", tls);
        let ca = if tls == "none" { "-".into() } else { pki().ca.display().to_string() };
        let mut clients = Command::new("python3");
        clients
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/clients/killed_uploads.py"))
            .args([&fixture.address().port().to_string(), &ca, USER, PASSWORD])
            .arg(ROUNDS.to_string());
        run(&mut clients, b"", ROUNDS_TIMEOUT).expect_ok("clients that are killed");
        let ended = || ["aborted", "transfer-cut", "ok"].map(|outcome| uploads(&fixture, outcome));
        let all_end = becomes_true(|| ended().iter().sum::<u64>() >= ROUNDS as u64);
        assert!(all_end, "uploads do not end: {:?}", ended());
        assert_eq!(uploads(&fixture, "ok"), 0, "tls {tls}");
        assert!(fixture.names().is_empty(), "tls {tls}: {:?}", fixture.names());
    }
}
