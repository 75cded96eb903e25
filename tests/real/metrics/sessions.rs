//! Sessions, logins and transfers: while they run, and once they have ended.

use std::io::{Read, Write};

use super::{Fixture, start, text};
use crate::support::clients::openssh::sftp;
use crate::support::gateway::Gateway;
use crate::support::raw::{Raw, Wire, client_config, dial};
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, pattern, ports};

#[test]
fn sessions_are_counted_by_state_and_running_transfers_by_their_bytes() {
    let fixture = start("");
    fixture.expect("lockgate_sessions{listener=\"ftp\"}", 0);
    fixture.expect("lockgate_sessions{state=\"transferring\"}", 0);
    fixture.expect("lockgate_transfers_running{listener=\"ftp\"}", 0);
    fixture.expect("lockgate_sessions_limit", 100);
    fixture.expect("lockgate_sessions_per_address_limit", 50);
    fixture.expect("lockgate_clients_refused_total{listener=\"sftp\",reason=\"not-ssh\"}", 0);

    let _before = Raw::connect(fixture.gateway.address("ftp"));
    let _idle = fixture.ftp(USER);
    let mut uploading = fixture.ftp(USER);
    let mut data = uploading.begin("STOR up");
    data.write_all(&pattern(300_000)).expect("sending");
    let of = |state: &str| format!("lockgate_sessions{{listener=\"ftp\",state=\"{state}\"}}");
    fixture.await_metric(&of("transferring"), Some(1));
    fixture.expect(&of("before-login"), 1);
    fixture.expect(&of("idle"), 1);
    fixture.expect("lockgate_sessions{backend=\"files\",protocol=\"ftp\"}", 2);
    fixture.expect("lockgate_sessions{backend=\"\"}", 1);
    fixture.expect("lockgate_sessions_busiest_address", 3);
    let running = "lockgate_transfers_running{backend=\"files\",direction=\"upload\"}";
    fixture.expect(running, 1);
    // Bytes count while the transfer runs, each once.
    let bytes = "lockgate_transfer_bytes_total{backend=\"files\",direction=\"upload\"}";
    fixture.await_metric(bytes, Some(300_000));
    data.write_all(b"the end").expect("sending");
    drop(data);
    assert_eq!(uploading.read().code, 226);
    fixture.expect(bytes, 300_007);
    fixture.await_metric("lockgate_transfers_running", Some(0));
    fixture.expect(&of("transferring"), 0);
    let seconds = |what: &str| format!("lockgate_transfer_{what}_seconds_count");
    fixture.expect(&seconds("duration"), 1);
    fixture.expect(&seconds("first_byte"), 1);

    // A refused transfer has no duration, and nothing that was sent.
    uploading.expect("PASV", 227);
    uploading.expect("RETR missing", 550);
    fixture.expect("lockgate_transfers_total{direction=\"download\",outcome=\"not-found\"}", 1);
    fixture.expect(&seconds("duration"), 1);
    let (mut empty, mut received) = (uploading.begin("STOR empty"), Vec::new());
    empty.flush().expect("nothing to send");
    drop(empty);
    assert_eq!(uploading.read().code, 226);
    fixture.expect(&seconds("duration"), 2);
    fixture.expect(&seconds("first_byte"), 1);
    uploading.begin("RETR up").read_to_end(&mut received).expect("the file");
    assert_eq!((uploading.read().code, received.len()), (226, 300_007));
    fixture.expect("lockgate_transfer_bytes_total{direction=\"download\"}", 300_007);
    fixture.expect("lockgate_transfer_first_byte_seconds_count{direction=\"download\"}", 1);
}

#[test]
fn bytes_count_while_a_transfer_runs_also_without_an_admin_interface() {
    let (files, pool) = (tempfile::tempdir().expect("a folder"), ports::block(8));
    let text = text(&files, &pool, &["ftp"], "").replace("admin: { socket: admin.sock }\n", "");
    assert!(!text.contains("admin"));
    let fixture = Fixture { gateway: Gateway::start(&text), files, pool };
    let mut uploading = fixture.ftp(USER);
    let mut data = uploading.begin("STOR up");
    data.write_all(&pattern(300_000)).expect("sending");
    let bytes = "lockgate_transfer_bytes_total{backend=\"files\",direction=\"upload\"}";
    fixture.await_metric(bytes, Some(300_000));
    drop(data);
    assert_eq!(uploading.read().code, 226);
}

#[test]
fn a_login_that_ends_after_a_reload_leaves_no_series_of_a_removed_backend() {
    let fixture = start("");
    let bytes = "lockgate_transfer_bytes_total{backend=\"files\"}";
    let mut first = fixture.ftp(USER);
    assert_eq!(first.upload("STOR first", b"bytes").code, 226);
    let (mut late, _) = Raw::connect(fixture.gateway.address("ftp"));
    late.expect(&format!("USER {USER}"), 331);
    let without = text(&fixture.files, &fixture.pool, &["ftp", "ftps", "sftp"], "")
        .replace("  files: {", "  others: {")
        .replace("backend: files", "backend: others");
    let failures = |of: &str| format!("lockgate_backend_failures_total{{backend=\"{of}\"}}");
    fixture.expect(&failures("files"), 0);
    fixture.apply(&without);
    fixture.expect(&failures("others"), 0);
    first.expect("QUIT", 221);
    // The series of the removed backend have ended.
    fixture.await_metric(bytes, None);
    late.expect(&format!("PASS {PASSWORD}"), 230);
    assert_eq!(late.upload("STOR late", b"bytes").code, 226);
    fixture.expect(bytes, 5);
    late.expect("QUIT", 221);
    fixture.await_metric(bytes, None);
    fixture.await_metric("lockgate_operations_total{backend=\"files\"}", None);
    fixture.await_metric(&failures("files"), None);
}

#[test]
fn logins_say_how_and_tls_and_ssh_what_was_negotiated() {
    let fixture = start("");
    let (mut raw, _) = Raw::connect(fixture.gateway.address("ftps"));
    raw.set_tls(client_config(&[&rustls::version::TLS13]));
    raw.auth_tls();
    raw.login(USER, PASSWORD);
    fixture.expect("lockgate_sessions{listener=\"ftps\",protocol=\"ftps\",state=\"idle\"}", 1);
    for _ in 0..2 {
        assert_eq!(raw.upload("STOR file", b"bytes").code, 226);
    }
    let (mut older, _) = Raw::connect(fixture.gateway.address("ftps"));
    older.set_tls(client_config(&[&rustls::version::TLS12]));
    older.auth_tls();
    older.expect("USER nobody", 331);
    older.expect("PASS wrong", 530);
    drop(older);
    let handshakes =
        |labels: &str| format!("lockgate_tls_handshakes_total{{listener=\"ftps\",{labels}}}");
    let newer = "version=\"TLSv1.3\"";
    fixture.expect(&handshakes(&format!("channel=\"control\",{newer},resumed=\"false\"")), 1);
    fixture.expect(&handshakes("channel=\"control\",version=\"TLSv1.2\""), 1);
    fixture.expect(&handshakes(&format!("channel=\"data\",{newer},resumed=\"true\"")), 2);
    fixture.expect(&handshakes(&format!("{newer},key_exchange=\"X25519MLKEM768\"")), 3);
    let logins = |labels: &str| format!("lockgate_logins_total{{{labels}}}");
    fixture.expect(&logins("protocol=\"ftps\",method=\"password\",outcome=\"ok\""), 1);
    fixture.expect(&logins("protocol=\"ftps\",method=\"password\",outcome=\"refused\""), 1);
    fixture.expect("lockgate_login_duration_seconds_count{outcome=\"ok\"}", 1);
    fixture.expect("lockgate_login_duration_seconds_count{outcome=\"failed\"}", 1);

    let home = tempfile::tempdir().expect("a client's home");
    let mut with_key = fixture.sftp();
    with_key.key = Some(keys().user.clone());
    let kex = ["-o", "KexAlgorithms=curve25519-sha256", "-o", "Ciphers=aes256-gcm@openssh.com"];
    sftp(&with_key, home.path(), "get file\n", &kex).expect_ok("a download with a key");
    fixture.expect(&logins("protocol=\"sftp\",method=\"publickey\",outcome=\"ok\""), 1);
    fixture.expect(
        "lockgate_ssh_key_exchanges_total{key_exchange=\"curve25519-sha256\",\
         cipher=\"aes256-gcm@openssh.com\"}",
        1,
    );
    fixture.expect("lockgate_transfer_first_byte_seconds_count{protocol=\"sftp\"}", 1);
}

/// Each connection counts once, as one reason: none is missed, none counts twice.
#[test]
fn each_failed_handshake_counts_once() {
    let fixture = start("");
    let hello = |suite: u8| {
        let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, suite, 1, 0]].concat();
        let length = body.len() as u8;
        [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
    };
    let handshake = |first: &[u8]| {
        let (mut raw, _) = Raw::connect(fixture.gateway.address("ftps"));
        raw.expect("AUTH TLS", 234);
        raw.send_bytes(first);
        raw
    };
    // No cipher suite in common; a handshake that is cut; an alert of a client that does not trust the
    // certificate.
    let mut ended = handshake(&hello(0x09));
    assert!(ended.at_end());
    drop(handshake(&hello(0x2b)[..20]));
    let strict = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (mut raw, _) = Raw::connect(fixture.gateway.address("ftps"));
    raw.set_tls(strict.into());
    raw.expect("AUTH TLS", 234);
    assert!(raw.try_start_tls().is_err());
    drop(raw);
    let refused = |listener: &str, reason: &str| {
        format!("lockgate_clients_refused_total{{listener=\"{listener}\"{reason}}}")
    };
    fixture.await_metric(&refused("ftps", ",reason=\"tls-handshake\""), Some(3));

    // SSH that ends within its first key exchange, and after its identification.
    let identification = b"SSH-2.0-test\r\n";
    for first in [&identification[..], &[&identification[..], &[0, 0, 1, 0, 8, 20]].concat()] {
        let mut tcp = dial(fixture.gateway.address("sftp"));
        tcp.write_all(first).expect("sending");
        tcp.shutdown(std::net::Shutdown::Write).expect("the end of what is sent");
        let _ = tcp.read_to_end(&mut Vec::new());
    }
    fixture.await_metric(&refused("sftp", ",reason=\"ssh-handshake\""), Some(2));
    drop(Wire::<rustls::ClientConnection>::Plain(dial(fixture.gateway.address("sftp"))));
    let probes = |listener: &str| {
        format!("lockgate_connections_without_login_total{{listener=\"{listener}\"}}")
    };
    fixture.await_metric(&probes("sftp"), Some(1));
    fixture.expect(&probes("ftps"), 0);
    fixture.expect(&refused("ftps", ""), 3);
    fixture.expect(&refused("sftp", ""), 2);
    fixture.expect("lockgate_sessions", 0);
}

#[test]
fn series_of_a_removed_listener_end_with_its_last_session() {
    let fixture = start("");
    let session = fixture.ftp(USER);
    let of_ftp = "lockgate_logins_total{listener=\"ftp\"}";
    fixture.expect(of_ftp, 1);
    fixture.apply(&text(&fixture.files, &fixture.pool, &["ftps", "sftp"], ""));
    fixture.expect("lockgate_sessions{listener=\"ftp\"}", 1);
    fixture.expect(of_ftp, 1);
    drop(session);
    fixture.await_metric(of_ftp, None);
    let page = fixture.gateway.metrics_page();
    assert!(!page.contains("listener=\"ftp\""), "{page}");
    assert!(page.contains("listener=\"ftps\""), "{page}");
}
