//! What goes on in the process that takes over, and in the one before.

use serde_json::Value;

use super::{Fixture, TIMEOUT, expect_end, session, status};
use crate::expected_files::time_of_day;
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::raw::{Raw, client_config};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, pattern};

#[test]
fn a_session_goes_on_and_its_process_ends_with_it() {
    let mut fixture = Fixture::start(4);
    let mut before = fixture.session();
    let bytes = pattern(300_000);
    // A transfer that takes as long as the take-over.
    let mut data = before.begin("STOR long");
    let next = fixture.gateway.take_over();
    std::io::Write::write_all(&mut data, &bytes).expect("writing");
    drop(data);
    assert_eq!(before.read().code, 226);
    assert!(std::fs::read(fixture.folder.path().join("long")).expect("the file") == bytes);
    // It has data ports, and so has the new one.
    for _ in 0..20 {
        assert!(before.download("RETR long").0 == bytes);
    }
    let mut after = session(&next);
    assert!(after.download("RETR long").0 == bytes);
    let shown = status(&next);
    assert_eq!(shown["process"], next.process());
    // The kernel says the same, as `lockgate doctor` asks it.
    let admin = next.folder().join("admin.sock");
    let admin = std::os::unix::net::UnixStream::connect(admin).expect("connecting");
    let listening = rustix::net::sockopt::socket_peercred(&admin).expect("a process").pid;
    assert_eq!(listening.as_raw_nonzero().get().unsigned_abs(), next.process());
    let is_known = || {
        status(&next)["processes_before"][0]["process"] == fixture.gateway.process()
            && status(&next)["processes_before"][0]["sessions"] == 1
    };
    assert!(becomes_true(is_known), "{}", status(&next));
    before.expect("QUIT", 221);
    expect_end(&mut fixture.gateway);
    assert!(becomes_true(|| status(&next)["processes_before"].as_array().unwrap().is_empty()));
    assert_eq!(after.upload("STOR more", &bytes).code, 226);
}

/// What the last session has left is written when that is possible; what is lost counts in the new process.
#[test]
fn audit_records_that_wait_are_written_or_counted() {
    for comes_back in [true, false] {
        let audit = tempfile::tempdir().expect("a folder");
        let folder = audit.path().join("records");
        std::fs::create_dir(&folder).expect("a folder");
        let file = folder.join("audit.jsonl");
        let mut fixture = Fixture::start_with(4, &format!("audit: {{ file: {file:?} }}\n"));
        let mut before = fixture.session();
        let next = fixture.gateway.take_over();
        std::fs::remove_dir_all(&folder).expect("removing");
        before.expect("QUIT", 221);
        let waits =
            "the last session has ended; this process ends when the audit's records are written";
        fixture.gateway.await_log(
            |line| line["message"].as_str().is_some_and(|it| it.starts_with(waits)),
            TIMEOUT,
        );
        assert_eq!(status(&next)["processes_before"][0]["process"], fixture.gateway.process());
        if comes_back {
            std::fs::create_dir(&folder).expect("a folder");
            expect_end(&mut fixture.gateway);
            let records = std::fs::read_to_string(&file).expect("records");
            assert!(records.contains("\"logout\"") || records.contains("\"session\""), "{records}");
        } else {
            fixture.gateway.terminate();
            expect_end(&mut fixture.gateway);
            let lost = || next.metric("lockgate_audit_lost_total{output=\"file\"}");
            assert!(becomes_true(|| lost().is_some_and(|lost| lost > 0)), "{:?}", lost());
        }
    }
}

/// Only one process at a time has the port, and gets it when the other has no reservation there.
#[test]
fn a_single_port_serves_both_processes() {
    let fixture = Fixture::start(1);
    let bytes = pattern(20_000);
    let mut before = fixture.session();
    let mut data = before.passive();
    let next = fixture.gateway.take_over();
    let mut after = session(&next);
    before.expect("STOR one", 150);
    std::io::Write::write_all(&mut data, &bytes).expect("writing");
    drop(data);
    assert_eq!(before.read().code, 226);
    for _ in 0..5 {
        assert!(after.download("RETR one").0 == bytes);
        assert!(before.download("RETR one").0 == bytes);
    }
    let third = next.take_over();
    let mut last = session(&third);
    for _ in 0..3 {
        for client in [&mut before, &mut after, &mut last] {
            assert!(client.download("RETR one").0 == bytes);
        }
    }
    assert_eq!(status(&third)["processes_before"].as_array().expect("a list").len(), 2);
}

#[test]
fn tickets_bans_quotas_and_drained_servers_go_along() {
    let more = "login_guard: { max_failures: 2, never_ban: [127.0.0.1] }\n\
                policy: { rules: [{ name: all, allow: [all] }], \
                limits: [{ name: daily, per: user, files_per_day: 3 }] }\n";
    let mut fixture = Fixture::start_with(4, more);
    let front = fixture.gateway.address("front");
    // A ticket.
    let tls = client_config(&[&rustls::version::TLS13]);
    let secure = |tls| {
        let (mut raw, _) = Raw::connect(front);
        raw.set_tls(tls);
        raw.auth_tls();
        raw
    };
    let mut earlier = secure(tls.clone());
    assert!(!earlier.resumed());
    earlier.login(USER, PASSWORD);
    earlier.expect("QUIT", 221);
    let mut first = secure(client_config(&[&rustls::version::TLS13]));
    first.login(USER, PASSWORD);
    first.expect("TYPE I", 200);
    assert_eq!(first.upload("STOR a", b"1").code, 226);
    // A ban.
    let attacker = "127.0.0.7".parse().expect("an address");
    for _ in 0..2 {
        let (mut raw, _) = Raw::connect_from(attacker, front).expect("connecting");
        raw.command("USER nobody");
        raw.command("PASS wrong");
    }
    assert!(becomes_true(|| status(&fixture.gateway)["bans"] == 1));
    fixture.gateway.admin(&["backends", "drain", "away"]).expect_ok("draining a server");
    let next = fixture.gateway.take_over();
    assert_eq!(status(&next)["servers"]["drained"], 1);
    assert_eq!(status(&next)["bans"], 1);
    let (_, refusal) = Raw::connect_from(attacker, front).expect("connecting");
    assert_eq!(refusal.code, 421, "{}", refusal.text);
    let mut second = secure(tls);
    assert!(second.resumed(), "the ticket of the process before is not known");
    second.login(USER, PASSWORD);
    second.expect("TYPE I", 200);
    // One file of three is counted; the processes tell each other of the others.
    assert_eq!(second.upload("STOR b", b"2").code, 226);
    assert_eq!(first.upload("STOR c", b"3").code, 226);
    let refused = |raw: &mut Raw| {
        let tcp = raw.passive();
        let reply = raw.command("STOR d");
        drop(tcp);
        if reply.code == 150 {
            raw.read();
        }
        reply.code >= 450
    };
    assert!(becomes_true(|| refused(&mut second)), "the quota does not go along");
    first.expect("QUIT", 221);
    expect_end(&mut fixture.gateway);
}

/// What arrives in the process before counts in the one that has taken over, and is saved there.
#[test]
fn expected_files_go_along() {
    let state = tempfile::tempdir().expect("a folder");
    let more = format!(
        "expect: [{{ name: daily, path: \"/in*\", at_least: 9, from: \"{}\", by: \"{}\" }}]\nstate_dir: {:?}\n",
        time_of_day(-15),
        time_of_day(3),
        state.path()
    );
    let mut fixture = Fixture::start_with(4, &more);
    let arrived = |gateway: &Gateway| {
        gateway.admin_json(&["expected"])["expected"][0]["arrived"].as_u64().expect("a number")
    };
    let mut before = fixture.session();
    assert_eq!(before.upload("STOR in1", b"1").code, 226);
    assert_eq!(before.upload("STOR in2", b"2").code, 226);
    let next = fixture.gateway.take_over();
    assert_eq!(arrived(&next), 2);
    let mut after = session(&next);
    assert_eq!(after.upload("STOR in1", b"again").code, 226);
    assert_eq!(after.upload("STOR in3", b"3").code, 226);
    assert_eq!(before.upload("STOR in4", b"4").code, 226);
    before.expect("RNFR in2", 350);
    before.expect("RNTO in5", 250);
    assert!(becomes_true(|| arrived(&next) == 4), "{}", arrived(&next));
    // The last news of a process, also to the one after the next.
    let last = next.take_over();
    assert_eq!(before.upload("STOR in6", b"6").code, 226);
    before.expect("QUIT", 221);
    expect_end(&mut fixture.gateway);
    assert!(becomes_true(|| arrived(&last) == 5), "{}", arrived(&last));
    let saved = || {
        let saved = std::fs::read(state.path().join("expected.json")).unwrap_or_default();
        let saved: Value = serde_json::from_slice(&saved).unwrap_or_default();
        saved["expected"][0]["arrived"].as_array().map(Vec::len)
    };
    assert!(becomes_true(|| saved() == Some(5)), "{:?}", saved());
}

#[test]
fn restart_starts_the_next_process_by_itself() {
    let mut fixture = Fixture::start(4);
    let old = fixture.gateway.process();
    let mut before = fixture.session();
    let output = fixture.gateway.admin(&["restart"]).expect_ok("restarting");
    let shown = status(&fixture.gateway);
    let next = shown["process"].as_u64().expect("a process");
    assert_ne!(next, u64::from(old));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("process {next} has taken over")), "{text}");
    let arguments = std::fs::read(format!("/proc/{next}/cmdline")).expect("its arguments");
    let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
    assert!(arguments.starts_with(PROGRAM) && arguments.contains("--take-over"), "{arguments}");
    let mut after = fixture.session();
    for client in [&mut before, &mut after] {
        assert_eq!(client.upload("STOR x", b"bytes").code, 226);
        client.expect("QUIT", 221);
    }
    let status_of_old = fixture.gateway.wait_for_process(TIMEOUT);
    assert!(status_of_old.is_some_and(|status| status.success()));
    // Again, in the process that was started so.
    fixture.gateway.admin(&["restart"]).expect_ok("restarting again");
    let last = status(&fixture.gateway)["process"].as_i64().expect("a process");
    assert_ne!(last, next as i64);
    fixture.gateway.admin(&["drain", "--wait"]).expect_ok("ending it");
    assert!(last > 0 && !fixture.gateway.admin(&["status"]).ok());
}
