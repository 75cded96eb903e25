//! `data_sessions: resumed`: a data connection must resume its own control session's TLS.

use std::io::{Error, ErrorKind, Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::{Fixture, Plan, check_in_sync};
use crate::support::clients::{Site, TlsVersion, curl, lftp};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::raw::{Raw, Wire, client_config};
use crate::support::{DataMode, PASSWORD, Tls, USER, pattern};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
const TURNS: usize = 20;

/// `delete`: a refused upload leaves no file.
fn start() -> Fixture {
    let tls_keys = ", data_sessions: resumed";
    Plan { tls: "required", tls_keys, partial_uploads: "delete", ..Plan::default() }.start()
}

fn client(fixture: &Fixture, config: &Arc<ClientConfig>) -> Raw {
    let mut raw = fixture.connect();
    raw.set_tls(config.clone());
    raw.auth_tls();
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    raw
}

fn fresh(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    client_config(&[version])
}

const LINES: [&str; 3] = ["RETR there", "LIST", "STOR new"];

/// Tries a download and an upload whose data connections use the TLS configuration `theirs`. Those of the
/// lines in `unanswered` are closed before the handshake because of the session that they offer.
fn expect_refused(
    fixture: &Fixture,
    raw: &mut Raw,
    theirs: &Arc<ClientConfig>,
    unanswered: &[&str],
) {
    for line in LINES {
        let tcp = raw.begin(line);
        let made = Wire::try_tls(tcp, theirs.clone());
        // Refused after the handshake: the connection may be reset already.
        let reset = |e: &Error| e.kind() == ErrorKind::ConnectionReset;
        assert!(
            unanswered.contains(&line) == made.is_err() || made.as_ref().is_err_and(reset),
            "{line}"
        );
        if let Ok(mut data) = made {
            // Later it offers a ticket of the first connection, received before the refusal.
            assert!(!data.resumed() || line != LINES[0], "{line}");
            // It may be reset already.
            let _ = data.write_all(b"bytes").and_then(|()| data.finish());
            let mut bytes = Vec::new();
            let _ = data.read_to_end(&mut bytes);
            assert_eq!(bytes, b"", "{line}");
        }
        let reply = raw.read();
        assert_eq!(reply.code, 425, "{line}: {}", reply.text);
        for cause in ["session resumption", "server name (SNI)"] {
            assert!(reply.text.contains(cause), "{line}: {}", reply.text);
        }
        check_in_sync(raw);
    }
    assert_eq!(fixture.names(), ["there"]);
    // The log names the setting.
    let refused = |event: &serde_json::Value| {
        event["outcome"] == "data-connection"
            && event["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("tls.data_sessions: resumed"))
    };
    fixture.gateway.await_log(refused, super::TIMEOUT);
    assert_eq!(raw.download("RETR there").0, b"secret", "its own session must do");
}

#[test]
fn a_data_connection_that_does_not_resume_is_refused() {
    let fixture = start();
    fixture.put("there", "secret");
    for version in VERSIONS {
        let mut raw = client(&fixture, &fresh(version));
        expect_refused(&fixture, &mut raw, &fresh(version), &[]);
    }
}

#[test]
fn the_ticket_of_another_session_is_refused() {
    let fixture = start();
    fixture.put("there", "secret");
    for version in VERSIONS {
        let thief = fresh(version);
        let mut of_thief = client(&fixture, &thief);
        // The thief's own connections resume, also with tickets of its data connections.
        assert_eq!(of_thief.download("RETR there").0, b"secret");
        let mut raw = client(&fixture, &fresh(version));
        // After the first the gateway knows that a client has the tickets of both sessions.
        expect_refused(&fixture, &mut raw, &thief, &LINES[..1]);
        check_in_sync(&mut of_thief);
    }
}

#[test]
fn the_ticket_of_an_earlier_control_session_is_refused() {
    let fixture = start();
    fixture.put("there", "secret");
    for version in VERSIONS {
        let earlier = fresh(version);
        client(&fixture, &earlier).expect("QUIT", 221);
        let mut raw = client(&fixture, &fresh(version));
        expect_refused(&fixture, &mut raw, &earlier, &LINES);
    }
}

#[test]
fn twenty_uploads_and_downloads_resume() {
    let fixture = start();
    for version in VERSIONS {
        let mut raw = client(&fixture, &fresh(version));
        for turn in 0..TURNS {
            let bytes = pattern(40_000 + turn);
            let name = format!("file-{turn}");
            // rustls as a client uses a ticket of TLS 1.3 once; uploads bring no new one.
            if version == &TLS12 || turn < 7 {
                let tcp = raw.begin(&format!("STOR {name}"));
                let mut data = raw.data(tcp);
                assert!(data.resumed());
                data.write_all(&bytes).and_then(|()| data.finish()).expect("sending a file");
                drop(data);
                assert_eq!(raw.read().code, 226);
                assert!(fixture.get(&name) == bytes, "{name} differs");
            } else {
                fixture.put(&name, &bytes);
            }
            let (back, reply) = raw.download(&format!("RETR {name}"));
            assert_eq!(reply.code, 226);
            assert!(back == bytes, "{name} differs");
        }
        check_in_sync(&mut raw);
    }
}

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/clients/resumption.py");

#[test]
fn openssl_resumes_on_uploads_and_downloads() {
    let fixture = start();
    for (version, tickets) in [("1.2", "tickets"), ("1.2", "no-tickets"), ("1.3", "tickets")] {
        let mut command = Command::new("python3");
        command.arg(PYTHON).arg(fixture.address().port().to_string()).arg(&pki().ca);
        command.args([USER, PASSWORD, version, tickets, &TURNS.to_string()]);
        run(&mut command, b"", Duration::from_secs(40)).expect_ok("ftplib with one session");
    }
}

#[test]
fn lftp_transfers_twenty_files() {
    let fixture = start();
    let site = Site::new(fixture.address().port(), Tls::Explicit);
    let own = tempfile::tempdir().expect("a client's home");
    let bytes = pattern(30_000);
    std::fs::write(own.path().join("up"), &bytes).expect("writing a file");
    let mut script = String::new();
    for turn in 0..TURNS {
        script += &format!("put up -o file-{turn}\nget file-{turn} -o back-{turn}\n");
    }
    lftp::lftp(&site, TlsVersion::Newest, own.path(), &script).expect_ok("lftp");
    for turn in 0..TURNS {
        assert!(fixture.get(&format!("file-{turn}")) == bytes, "file-{turn} differs");
        let back = std::fs::read(own.path().join(format!("back-{turn}"))).expect("a file");
        assert!(back == bytes, "back-{turn} differs");
    }
}

/// curl with OpenSSL keeps the newest ticket only and uses one of TLS 1.3 once; an upload brings no
/// new one. So with TLS 1.3 each upload is a call of its own.
#[test]
fn curl_transfers_several_files_in_one_session() {
    const FILES: usize = 4;
    let fixture = start();
    let site = Site::new(fixture.address().port(), Tls::Explicit);
    let bytes = pattern(30_000);
    let urls: Vec<String> =
        (0..FILES).map(|turn| curl::url(&site, &format!("file-{turn}"))).collect();
    for (tls, uploads_a_call) in [(TlsVersion::V12, FILES), (TlsVersion::Newest, 1)] {
        let own = tempfile::tempdir().expect("a client's home");
        std::fs::write(own.path().join("up"), &bytes).expect("writing a file");
        let options = curl::CurlOptions { data: DataMode::Epsv, tls };
        for urls in urls.chunks(uploads_a_call) {
            let mut command = curl::curl(&site, options, own.path());
            command.args(urls.iter().flat_map(|url| ["-T", "up", url]));
            run(&mut command, b"", Duration::from_secs(40)).expect_ok("uploading");
        }
        let mut command = curl::curl(&site, options, own.path());
        for (turn, url) in urls.iter().enumerate() {
            command.args(["-o", &format!("back-{turn}"), url]);
        }
        run(&mut command, b"", Duration::from_secs(40)).expect_ok("downloading");
        for turn in 0..FILES {
            let there = fixture.path(&format!("file-{turn}"));
            let back = own.path().join(format!("back-{turn}"));
            assert!(same(&there, &bytes) && same(&back, &bytes), "file-{turn} differs");
            std::fs::remove_file(there).expect("removing a file");
        }
    }
    let logins = fixture.gateway.log_tail(usize::MAX).matches("\"event\":\"login\"").count();
    assert_eq!(logins, 2 + FILES + 1, "curl did not keep to one session");
}

fn same(file: &Path, bytes: &[u8]) -> bool {
    std::fs::read(file).is_ok_and(|read| read == bytes)
}
