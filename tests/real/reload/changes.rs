//! Each part of the configuration changes for new sessions, and running ones go on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::{Config, Fixture, TIMEOUT, publish_certificate};
use crate::support::gateway::lockgate;
use crate::support::process::run;
use crate::support::raw::{Raw, dial};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, pattern, ports};

fn port_of(raw: &mut Raw) -> u16 {
    let reply = raw.expect("EPSV", 229);
    let port = reply.text.rsplit('|').nth(1).and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {}", reply.text))
}

/// The certificate is renewed as Kubernetes does it, in the middle of a download. The session goes on with the
/// one that it has: it resumes for its next data connections, and shares the only port with new sessions.
#[test]
fn a_renewed_certificate_makes_no_stranger_of_a_session() {
    let fixture = Fixture::start(1);
    let bytes = pattern(3_000_000);
    std::fs::write(fixture.files.path().join("file"), &bytes).expect("a file");
    let mut old = fixture.tls_session();
    let first = old.peer_certificate();
    // It is known to resume from now on, so it can share the port.
    assert!(old.download("RETR file").0 == bytes, "the file differs");
    let tcp = old.begin("RETR file");
    let mut data = old.data(tcp);
    let mut read = vec![0; 1000];
    data.read_exact(&mut read).expect("a part of the file");

    publish_certificate(fixture.gateway.folder(), "second");
    assert!(becomes_true(|| fixture.reloads("ok") == 1), "the files are not read again");
    let mut new = fixture.tls_session();
    assert_ne!(new.peer_certificate(), first);
    assert!(new.download("RETR file").0 == bytes, "the file differs");
    data.read_to_end(&mut read).expect("the rest");
    assert!(read == bytes, "the file differs");
    assert_eq!(old.read().code, 226);
    // Each has resumed since the other's login, so they can be told apart: both have a reservation of the one
    // port at once.
    std::fs::write(fixture.files.path().join("small"), b"bytes").expect("a file");
    for raw in [&mut old, &mut new] {
        assert_eq!(raw.download("RETR small").0, b"bytes");
    }
    let (of_old, of_new) = (port_of(&mut old), port_of(&mut new));
    assert_eq!(of_old, of_new);
    for (raw, name) in [(&mut new, "new"), (&mut old, "old")] {
        let tcp = dial(([127, 0, 0, 1], of_old).into());
        raw.expect(&format!("STOR {name}"), 150);
        let mut data = raw.data(tcp);
        assert!(data.resumed(), "{name}: the data connection does not resume");
        data.write_all(name.as_bytes()).and_then(|()| data.finish()).expect("sending");
        let _ = std::io::copy(&mut data, &mut std::io::sink());
        assert_eq!(raw.read().code, 226, "{name}");
        let stored = std::fs::read(fixture.files.path().join(name)).expect("the file");
        assert_eq!(stored, name.as_bytes());
    }
    assert_eq!(old.peer_certificate(), first);
}

#[test]
fn what_is_wrong_is_told_and_the_old_configuration_stays() {
    let fixture = Fixture::start(2);
    let mut session = fixture.session();
    let good = fixture.config.text();
    fixture.write_text(&good.replace("backend: files", "backend: flies"));
    let output = fixture.reload();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.and_then(|status| status.code()), Some(64), "{told}");
    assert!(
        told.contains("there is no backend \"flies\"") && told.contains("stays in force"),
        "{told}"
    );
    assert_eq!(fixture.gateway.metric("lockgate_config_reload_failing"), Some(1));

    // Nothing of a configuration is applied of which something cannot be opened.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let config = Config {
        listeners: format!(
            "  extra: {{ protocol: ftp, address: \"{address}\", data_ports: pool }}\n"
        ),
        users: vec!["other"],
        ..fixture.config.clone()
    };
    fixture.write(&config);
    let output = fixture.reload();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.and_then(|status| status.code()), Some(1), "{told}");
    assert!(
        told.contains("listener \"extra\" cannot listen on") && told.contains("stays in force"),
        "{told}"
    );
    // Nor does a second gateway start.
    let file = fixture.gateway.folder().join("lockgate.yaml");
    let second = lockgate(&["run", "-c", file.to_str().expect("a UTF-8 path")], "");
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    let process = format!(
        "a gateway runs already with this `admin.socket`, process {};",
        fixture.gateway.process()
    );
    assert!(!second.ok() && told.contains(&process), "{told}");
    fixture.session();
    assert_eq!((fixture.reloads("ok"), fixture.reloads("failed")), (0, 2));

    // Nobody writes to it, and nobody waits for that.
    let fifo = fixture.gateway.folder().join("fifo");
    run(Command::new("mkfifo").arg(&fifo), b"", TIMEOUT).expect_ok("mkfifo");
    fixture.write_text(&good.replace("certs/tls.key", "fifo"));
    let told = String::from_utf8_lossy(&fixture.reload().stderr).into_owned();
    assert!(told.contains("fifo is a FIFO or a device"), "{told}");
    std::fs::rename(&fifo, fixture.gateway.folder().join("lockgate.yaml")).expect("replacing it");
    let told = String::from_utf8_lossy(&fixture.reload().stderr).into_owned();
    assert!(told.contains("is a FIFO or a device, which cannot be read again"), "{told}");
    fixture.session();

    // The certificate is another, and its key is not yet: the renewal is not complete.
    let certs = fixture.gateway.folder().join("certs");
    let key = std::fs::read(certs.join("tls.key")).expect("the key");
    publish_certificate(fixture.gateway.folder(), "second");
    fixture.write_text(&good);
    drop(taken);
    fixture.reload().expect_ok("reloading");
    assert_eq!(fixture.gateway.metric("lockgate_config_reload_failing"), Some(0));
    std::fs::write(certs.join("tls.key"), key).expect("writing another key");
    assert!(becomes_true(|| fixture.reloads("failed") == 5), "the broken pair is not noticed");
    assert_eq!(session.upload("STOR still", b"there").code, 226);

    // An expired one is put in force, but not silently.
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let expired = params.self_signed(&key).expect("a certificate").pem();
    std::fs::write(certs.join("tls.crt"), expired).expect("writing the certificate");
    std::fs::write(certs.join("tls.key"), key.serialize_pem()).expect("writing its key");
    let is_told = |line: &serde_json::Value| {
        line["used_by"] == "listeners.front" && line["file"] == "certs/tls.crt"
    };
    let told = fixture.gateway.await_log(is_told, TIMEOUT);
    assert_eq!(told["level"], "WARN", "{told}");
}

#[test]
fn users_policy_limits_and_listeners_change_for_new_sessions() {
    let fixture = Fixture::start(4);
    let mut old = fixture.session();
    let config = Config {
        users: vec!["other"],
        listeners: "  second: { protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }\n"
            .into(),
        more: "policy: { rules: [{ name: look, allow: [list, read] }] }\nlimits: { sessions: 2 }\n\
               log: { level: debug }\n"
            .into(),
        ..fixture.config.clone()
    };
    fixture.write(&config);
    let output = fixture.reload().expect_ok("reloading");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("apply after a restart: log"), "{told}");
    // The user is no longer one, and the session goes on with what it had.
    let (mut refused, _) = Raw::connect(fixture.gateway.address("front"));
    refused.expect(&format!("USER {USER}"), 331);
    assert_eq!(refused.command(&format!("PASS {PASSWORD}")).code, 530);
    assert_eq!(old.upload("STOR by-old", b"bytes").code, 226);
    drop(refused);
    // Its new listener takes the new user, under the new rules.
    let second = fixture.gateway.address("second");
    let end = std::time::Instant::now() + TIMEOUT;
    let mut new = loop {
        // The session before may not have ended yet, and there may be two.
        let (raw, greeting) = Raw::connect(second);
        if greeting.code == 220 {
            break raw;
        }
        assert!(std::time::Instant::now() < end, "{}", greeting.text);
    };
    new.login("other", PASSWORD);
    let tcp = new.passive();
    assert_eq!(new.command("STOR by-new").code, 550);
    drop(tcp);
    assert_eq!(Raw::connect(second).1.code, 421, "a third session");
    // The listener goes, and its session does not.
    fixture.apply(&fixture.config);
    assert!(becomes_true(|| TcpStream::connect(second).is_err()), "it still listens");
    assert_eq!(new.download("RETR by-old").0, b"bytes");
}

/// A client that has the reply to PASV connects after the reload: to a port that is not the pool's any more.
#[test]
fn ports_move_without_losing_a_transfer() {
    let fixture = Fixture::start(2);
    let mut old = fixture.session();
    let before = port_of(&mut old);
    let block = ports::block(2);
    let config = Config { range: (*block.start(), *block.end()), ..fixture.config.clone() };
    fixture.apply(&config);
    let mut new = fixture.session();
    assert!(block.contains(&port_of(&mut new)));
    let mut tcp = dial(([127, 0, 0, 1], before).into());
    old.expect("STOR moved", 150);
    tcp.write_all(b"bytes").expect("sending");
    drop(tcp);
    assert_eq!(old.read().code, 226);
    assert_eq!(std::fs::read(fixture.files.path().join("moved")).expect("the file"), b"bytes");
    assert!(block.contains(&port_of(&mut old)), "a port outside of the range");
    let closes = || TcpStream::connect(("127.0.0.1", before)).is_err();
    assert!(becomes_true(closes), "the port is still open");
    assert_eq!(fixture.gateway.metric("lockgate_data_ports{pool=\"pool\"}"), Some(2));
}

/// The file itself is watched only where that is asked for.
#[test]
fn the_file_is_watched_on_demand() {
    for (arguments, watched) in [(&["--watch"][..], true), (&[], false)] {
        let fixture = Fixture::start_with(1, arguments);
        fixture.write(&Config { users: vec!["other"], ..fixture.config.clone() });
        if watched {
            assert!(becomes_true(|| fixture.reloads("ok") == 1), "it is not read again");
        } else {
            // A renewed certificate does not bring a file into force that somebody may be editing.
            publish_certificate(fixture.gateway.folder(), "second");
            assert!(becomes_true(|| fixture.reloads("ok") == 1), "it is not read again");
        }
        let (mut raw, _) = Raw::connect(fixture.gateway.address("front"));
        raw.expect("USER other", 331);
        let code = raw.command(&format!("PASS {PASSWORD}")).code;
        assert_eq!(code, if watched { 230 } else { 530 });
    }
}

/// A reload with `on_reload: judge`: who would be refused ends after the transfer, others get the new rules.
#[test]
fn open_sessions_are_judged_on_demand() {
    let fixture = Fixture::start(4);
    let both = Config { users: vec![USER, "other"], ..fixture.config.clone() };
    fixture.apply(&both);
    std::fs::write(fixture.files.path().join("file"), pattern(3_000_000)).expect("a file");
    let mut removed = fixture.session();
    let (mut kept, _) = Raw::connect(fixture.gateway.address("front"));
    kept.login("other", PASSWORD);
    let (mut late, _) = Raw::connect(fixture.gateway.address("front"));
    late.expect(&format!("USER {USER}"), 331);
    let mut tcp = removed.begin("RETR file");
    let mut read = vec![0; 1000];
    tcp.read_exact(&mut read).expect("a part of the file");

    let judging = Config {
        users: vec!["other"],
        more: "on_reload: judge\npolicy: { rules: [{ name: look, allow: [list, read] }] }\n".into(),
        ..fixture.config.clone()
    };
    fixture.apply(&judging);
    // Its transfer completes, and then it ends.
    tcp.read_to_end(&mut read).expect("the rest");
    assert!(read == pattern(3_000_000), "the file differs");
    drop(tcp);
    assert_eq!(removed.read().code, 226);
    let end = removed.read();
    assert!(end.code == 421 && end.text.contains("the user is no more"), "{}", end.text);
    assert_eq!(late.command(&format!("PASS {PASSWORD}")).code, 530);
    // The other one goes on, and may only look.
    let tcp = kept.passive();
    assert_eq!(kept.command("STOR refused").code, 550);
    drop(tcp);
    assert_eq!(kept.download("RETR file").1.code, 226);
    // REIN does not lead back to the routes from before.
    let reply = kept.expect("REIN", 421);
    assert!(reply.text.contains("connect again"), "{}", reply.text);
    let (mut kept, _) = Raw::connect(fixture.gateway.address("front"));
    kept.login("other", PASSWORD);
    // A listener that is gone ends its sessions.
    let second = "  second: { protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }\n";
    fixture.apply(&Config { listeners: second.into(), ..judging.clone() });
    let (mut guest, _) = Raw::connect(fixture.gateway.address("second"));
    fixture.apply(&judging);
    let end = guest.read();
    assert!(end.code == 421 && end.text.contains("its listener is no more"), "{}", end.text);
    kept.expect("NOOP", 200);
}

/// The folder behind the gateway is another one, for new sessions; an unused one takes nothing from the old.
#[test]
fn another_backend_is_for_new_sessions() {
    let fixture = Fixture::start(4);
    let mut old = fixture.session();
    let other = tempfile::tempdir().expect("a folder");
    let config = Config { folder: other.path().to_owned(), ..fixture.config.clone() };
    fixture.apply(&config);
    let mut new = fixture.session();
    assert_eq!(old.upload("STOR by-old", b"old").code, 226);
    assert_eq!(new.upload("STOR by-new", b"new").code, 226);
    assert_eq!(std::fs::read(fixture.files.path().join("by-old")).expect("the file"), b"old");
    assert_eq!(std::fs::read(other.path().join("by-new")).expect("the file"), b"new");
    // The server of this name is the same for operators: it has both sessions, and stays drained.
    let backends = || fixture.gateway.admin_json(&["backends"]).to_string();
    assert!(backends().contains("\"sessions\":2"), "{}", backends());
    fixture.gateway.admin(&["backends", "drain", "files", "--no-wait"]).expect_ok("drain");
    fixture.apply(&fixture.config);
    assert!(backends().contains("\"drained\":true"), "{}", backends());
    let (mut refused, _) = Raw::connect(fixture.gateway.address("front"));
    refused.expect(&format!("USER {USER}"), 331);
    assert_eq!(refused.command(&format!("PASS {PASSWORD}")).code, 421);
    assert_eq!(new.download("RETR by-new").0, b"new");
}
