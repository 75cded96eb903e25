//! The drain, by SIGTERM and `lockgate drain`, its exit status, and the pages /live, /ready and /metrics.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Fixture, Plan, TIMEOUT};
use crate::support::backend_fixture::host_keys;
use crate::support::clients::openssh::sftp;
use crate::support::gateway::{Gateway, PROGRAM, lockgate};
use crate::support::metrics;
use crate::support::netns::Namespace;
use crate::support::raw::{Raw, dial, dial_from};
use crate::support::sftp_fixture::{SftpPlan, becomes_true};
use crate::support::{PASSWORD, USER, argon2_hash, pattern};

/// `EX_TEMPFAIL`.
const EXIT_TRANSFERS_CUT: i32 = 75;

/// Status and body.
fn get(fixture: &Fixture, path: &str) -> (u16, String) {
    let mut tcp = dial(fixture.gateway.address("metrics"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).expect("asking");
    let mut text = String::new();
    tcp.read_to_string(&mut text).expect("the answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {head}")), body.to_owned())
}

/// The sum over all series with this name and these labels.
#[track_caller]
fn value(page: &str, series: &str) -> u64 {
    let sum = metrics::sum(page, series).map(|value| value as u64);
    sum.unwrap_or_else(|| panic!("no {series} in:\n{page}"))
}

fn await_draining(fixture: &Fixture) {
    fixture.gateway.terminate();
    let draining = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|message| message.starts_with("draining"))
    };
    fixture.gateway.await_log(draining, TIMEOUT);
    let end = Instant::now() + TIMEOUT;
    while get(fixture, "/ready").0 != 503 {
        assert!(Instant::now() < end, "/ready does not say that it drains");
    }
}

#[test]
fn a_running_download_completes() {
    let mut fixture = Plan::default().start();
    let length = fixture.put_large("large");
    let mut idle = fixture.client();
    let mut unknown = fixture.connect();
    let mut raw = fixture.client();
    let mut tcp = raw.begin("RETR large");
    tcp.read_exact(&mut vec![0; length / 64]).expect("a part of the file");
    assert_eq!(get(&fixture, "/ready").0, 200);
    await_draining(&fixture);

    for idle in [&mut idle, &mut unknown] {
        let reply = idle.read();
        assert_eq!(reply.code, 421, "{}", reply.text);
        assert!(reply.text.contains("shutting down"), "{}", reply.text);
        assert!(idle.at_end());
    }
    let refuses = || TcpStream::connect(fixture.address()).is_err();
    assert!(becomes_true(refuses), "new sessions are accepted");
    assert_eq!(get(&fixture, "/live").0, 200);
    assert_eq!(value(&get(&fixture, "/metrics").1, "lockgate_sessions{listener=\"front\"}"), 1);

    let rest = std::io::copy(&mut tcp, &mut std::io::sink()).expect("the rest of the file");
    drop(tcp);
    assert_eq!(rest as usize, length - length / 64);
    assert_eq!(raw.read().code, 226);
    assert_eq!(raw.read().code, 421);
    assert!(raw.at_end());
    let status = fixture.gateway.wait(TIMEOUT).expect("it ends when the transfer has");
    assert!(status.success(), "{status}");
    let stopped = |event: &serde_json::Value| event["message"] == "stopped";
    assert_eq!(fixture.gateway.await_log(stopped, TIMEOUT)["cut"], false);
}

/// The gateway has sent everything, and the kernel has it. Some clients give a download up when the control
/// connection ends, and a container's network goes with the process.
#[test]
fn a_download_that_the_client_has_yet_to_read_completes() {
    for tls in ["none", "required"] {
        let mut fixture = Plan { tls, ..Plan::default() }.start();
        let bytes = pattern(60_000);
        fixture.put("small", &bytes);
        let mut raw = if tls == "none" { fixture.client() } else { fixture.tls_client() };
        let tcp = raw.begin("RETR small");
        let mut data = raw.data(tcp);
        let mut read = vec![0];
        data.read_exact(&mut read).expect("the first byte");
        assert_eq!(raw.read().code, 226);
        await_draining(&fixture);
        assert!(raw.quiet_for(Duration::from_millis(300)), "told to go before it had the file");
        data.read_to_end(&mut read).expect("the file");
        assert!(read == bytes, "the file differs");
        drop(data);
        assert_eq!(raw.read().code, 421);
        assert!(fixture.gateway.wait(TIMEOUT).expect("it ends when the client has").success());
    }
}

/// OpenSSH's client drops what it has not yet handed on when a disconnect message arrives: the reply to the last
/// CLOSE, without which `sftp` fails.
#[test]
fn openssh_completes_its_transfer() {
    let mut fixture = SftpPlan::default().start();
    let bytes = pattern(600_000);
    fixture.put("file", &bytes);
    let home = tempfile::tempdir().expect("a client's home");
    let site = fixture.site();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| sftp(&site, home.path(), "get file\n", &["-l", "4000"]));
        // The client creates its file when it has opened the other.
        assert!(becomes_true(|| home.path().join("file").exists()), "the client does not begin");
        fixture.gateway.terminate();
        client.join().expect("the client").expect_ok("a download while the gateway drains");
    });
    assert!(
        std::fs::read(home.path().join("file")).expect("the file") == bytes,
        "the file differs"
    );
    assert!(fixture.gateway.wait(TIMEOUT).expect("it ends when the client has").success());
}

#[test]
fn a_running_upload_completes() {
    let mut fixture = Plan { tls: "required", ..Plan::default() }.start();
    let bytes = pattern(600_000);
    let mut raw = fixture.tls_client();
    let tcp = raw.begin("STOR up");
    let mut data = raw.data(tcp);
    data.write_all(&bytes[..300_000]).expect("sending a part");
    await_draining(&fixture);
    data.write_all(&bytes[300_000..]).and_then(|()| data.finish()).expect("sending the rest");
    drop(data);
    assert_eq!(raw.read().code, 226);
    assert!(fixture.gateway.wait(TIMEOUT).expect("it ends when the transfer has").success());
    assert!(fixture.get("up") == bytes, "the file differs");
}

#[test]
fn a_transfer_is_aborted_after_the_drain_timeout() {
    let drain = "accept_for: 0s, timeout: 1s";
    let plan = Plan { drain, partial_uploads: "delete", ..Plan::default() };
    let mut fixture = plan.start();
    fixture.put_large("large");
    let mut down = fixture.client();
    let mut unread = down.begin("RETR large");
    let mut up = fixture.client();
    let mut unfinished = up.begin("STOR up");
    unfinished.write_all(b"part").expect("sending a part");
    let started = Instant::now();
    await_draining(&fixture);
    for raw in [&mut down, &mut up] {
        assert!(raw.quiet_for(Duration::from_millis(200)), "it was cut before its time");
    }
    for raw in [&mut down, &mut up] {
        let reply = raw.read();
        assert_eq!(reply.code, 426, "{}", reply.text);
        assert_eq!(raw.read().code, 421);
        assert!(raw.at_end());
    }
    let status = fixture.gateway.wait(TIMEOUT).expect("it ends by force");
    assert_eq!(status.code(), Some(EXIT_TRANSFERS_CUT), "{status}");
    assert!(started.elapsed() >= Duration::from_millis(900));
    for data in [&mut unread, &mut unfinished] {
        let end = std::io::copy(data, &mut std::io::sink());
        assert!(end.is_err(), "an end that looks complete");
    }
    assert_eq!(fixture.names(), ["large"]);
    let stopped = |event: &serde_json::Value| event["message"] == "stopped";
    assert_eq!(fixture.gateway.await_log(stopped, TIMEOUT)["cut"], true);
}

/// Load balancers learn late that a gateway ends: until then it serves whom they send.
#[test]
fn clients_are_served_for_a_while_after_the_end_was_announced() {
    let mut fixture = Plan { drain: "accept_for: 3s", ..Plan::default() }.start();
    fixture.put("file", b"content");
    let socket = fixture.gateway.folder().join("admin.sock");
    let asked = |more: &[&str]| {
        let mut arguments = vec!["drain", "--socket", socket.to_str().expect("UTF-8")];
        arguments.extend(more);
        lockgate(&arguments, "")
    };
    let started = Instant::now();
    let shown = asked(&["--json"]).expect_ok("a drain").stdout;
    let progress: serde_json::Value = serde_json::from_slice(&shown).expect("JSON");
    assert_eq!((&progress["phase"], &progress["sessions"]), (&"accepting".into(), &0.into()));
    assert_eq!(get(&fixture, "/ready"), (503, "draining\n".into()));
    let mut raw = fixture.client();
    assert_eq!(raw.download("RETR file").0, b"content");
    assert!(started.elapsed() < Duration::from_secs(3), "too slow to tell");
    let waited = asked(&["--wait"]).expect_ok("waiting for the end");
    let text = String::from_utf8_lossy(&waited.stdout);
    assert!(text.starts_with("new sessions are accepted for "), "{text}");
    assert!(started.elapsed() >= Duration::from_secs(3));
    assert_eq!(raw.read().code, 421);
    assert!(fixture.gateway.wait(TIMEOUT).expect("it ends").success());
    assert!(!asked(&[]).ok(), "nobody is there");
}

/// A session with a port for a transfer is not idle.
#[test]
fn a_transfer_that_was_prepared_is_made() {
    let mut fixture = Plan { active: true, ..Plan::default() }.start();
    let bytes = pattern(100_000);
    fixture.put("file", &bytes);
    let mut idle = fixture.client();
    let mut passive = fixture.client();
    let mut unconnected = fixture.client();
    let mut active = fixture.client();
    let mut data = passive.passive();
    unconnected.expect("EPSV", 229);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a data port");
    let port = listener.local_addr().expect("its address").port();
    active.expect(&format!("EPRT |1|127.0.0.1|{port}|"), 200);
    await_draining(&fixture);
    assert_eq!(idle.read().code, 421);
    let prepared = [&passive, &unconnected, &active];
    assert!(prepared.iter().all(|raw| raw.quiet_for(Duration::from_millis(200))));

    passive.expect("REST 1", 350);
    passive.expect("RETR file", 150);
    active.expect("RETR file", 150);
    let mut to_active = listener.accept().expect("the data connection").0;
    let mut read = Vec::new();
    data.read_to_end(&mut read).expect("the file");
    assert!(read == bytes[1..], "the file differs");
    read.clear();
    to_active.read_to_end(&mut read).expect("the file");
    assert!(read == bytes, "the file differs");
    drop((data, to_active));
    // Nothing is lost with a transfer that was refused.
    unconnected.expect("RETR absent", 550);
    for raw in [&mut passive, &mut active] {
        assert_eq!(raw.read().code, 226);
    }
    for raw in [&mut passive, &mut active, &mut unconnected] {
        assert_eq!(raw.read().code, 421);
        assert!(raw.at_end());
    }
    assert!(fixture.gateway.wait(TIMEOUT).expect("it ends after the transfers").success());
}

/// A client that prepares a transfer and falls silent holds the end up no longer than its port lasts.
#[test]
fn a_port_that_nobody_uses_delays_the_end_until_it_expires() {
    let limits = "data_connect_timeout: 1s";
    let mut fixture = Plan { limits, ..Plan::default() }.start();
    let mut raw = fixture.client();
    raw.expect("EPSV", 229);
    await_draining(&fixture);
    assert_eq!(raw.read().code, 421);
    assert!(fixture.gateway.wait(TIMEOUT).expect("it ends").success());
}

/// A client cannot put the end off with one port after the other, and nothing is cut.
#[test]
fn a_session_that_ends_gets_no_further_port() {
    let plan = Plan { active: true, data_ports: 3, pool_keys: ", wait: 10s", ..Plan::default() };
    for kicked in [false, true] {
        let mut fixture = plan.start();
        let mut clients = [fixture.client(), fixture.client(), fixture.client()];
        for raw in &mut clients {
            raw.expect("EPSV", 229);
        }
        let mut waiting = fixture.client();
        waiting.send_bytes(b"EPSV\r\n");
        assert!(waiting.quiet_for(Duration::from_millis(200)), "a port was free");
        let reason = if kicked {
            fixture.gateway.admin(&["kick", "--user", USER, "--after-transfers"]).expect_ok("kick");
            "an operator ended the session"
        } else {
            await_draining(&fixture);
            "shutting down"
        };
        for (raw, command) in clients.iter_mut().zip(["EPSV", "PASV", "PORT 127,0,0,1,200,200"]) {
            raw.expect("NOOP", 200);
            assert!(raw.expect(command, 421).text.contains(reason));
            assert!(raw.at_end());
        }
        assert_eq!(waiting.read().code, 421);
        assert!(waiting.at_end());
        if kicked {
            fixture.gateway.terminate();
        }
        assert!(fixture.gateway.wait(TIMEOUT).expect("it ends").success());
    }
}

/// The port lasts longer than the drain.
#[test]
fn a_client_that_falls_silent_after_pasv_is_no_transfer_that_was_cut() {
    let mut fixture = Plan { drain: "accept_for: 0s, timeout: 1s", ..Plan::default() }.start();
    let mut raw = fixture.client();
    raw.expect("PASV", 227);
    await_draining(&fixture);
    assert_eq!(raw.read().code, 421);
    assert!(fixture.gateway.wait(TIMEOUT).expect("it ends").success());
}

/// It does not receive the last reply, and loses no file.
#[test]
fn a_client_whose_network_is_gone_is_no_transfer_that_was_cut() {
    let (machine, network) = (Namespace::new(), Namespace::new());
    machine.link("eth0", &network, "eth0");
    machine.ip("addr add 192.0.2.1/24 dev eth0");
    network.ip("addr add 192.0.2.2/24 dev eth0");
    let mut gateway = Gateway::start_by(
        machine.command(PROGRAM),
        &format!(
            "listeners:\n  \
               ftp: {{ protocol: ftp, address: \"192.0.2.1:0\", active: {{ allowed: true }} }}\n  \
               sftp: {{ protocol: sftp, address: \"192.0.2.1:0\", host_keys: {} }}\n\
             backends:\n  files: {{ protocol: local, folder: . }}\n\
             users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
             routes:\n  - {{ authenticate: gateway, backend: files }}\n\
             drain: {{ accept_for: 0s, timeout: 1s }}\n",
            host_keys(),
            argon2_hash(),
        ),
        &[],
    );
    let [ftp, sftp] = ["ftp", "sftp"].map(|listener| gateway.address(listener));
    let _clients = std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            network.enter();
            let (mut raw, _) = Raw::connect(ftp);
            raw.login(USER, PASSWORD);
            let mut ssh = dial(sftp);
            ssh.read_exact(&mut [0; 8]).expect("the gateway's identification");
            (raw, ssh)
        });
        connecting.join().expect("the clients")
    });
    network.nft("table ip gone { chain in { type filter hook input priority 0; policy drop; }; }");
    gateway.terminate();
    let status = gateway.wait(TIMEOUT).expect("it ends");
    assert!(status.success(), "{status}");
}

#[test]
fn a_transfer_that_an_operator_cuts_counts_while_the_gateway_drains() {
    for drains in [true, false] {
        let mut fixture = Plan::default().start();
        let mut raw = fixture.client();
        let mut data = raw.begin("STOR up");
        data.write_all(b"part").expect("sending a part");
        if drains {
            await_draining(&fixture);
        }
        fixture.gateway.admin(&["kick", "--user", USER]).expect_ok("kick");
        assert_eq!(raw.read().code, 426);
        assert_eq!(raw.read().code, 421);
        if !drains {
            fixture.gateway.terminate();
        }
        let status = fixture.gateway.wait(TIMEOUT).expect("it ends");
        assert_eq!(status.code(), Some(if drains { EXIT_TRANSFERS_CUT } else { 0 }), "{status}");
    }
}

/// A service manager stops a gateway that an operator has drained: that must not cut transfers.
#[test]
fn the_first_signal_after_lockgate_drain_cuts_nothing() {
    let says = |text: &'static str| {
        move |event: &serde_json::Value| {
            event["message"].as_str().is_some_and(|message| message.starts_with(text))
        }
    };
    for again in [false, true] {
        let mut fixture = Plan::default().start();
        let length = fixture.put_large("large");
        let mut raw = fixture.client();
        let mut data = raw.begin("RETR large");
        fixture.gateway.admin(&["drain"]).expect_ok("a drain");
        fixture.gateway.await_log(says("draining"), TIMEOUT);
        fixture.gateway.terminate();
        fixture.gateway.await_log(says("it drains already"), TIMEOUT);
        if again {
            fixture.gateway.terminate();
        } else {
            let read = std::io::copy(&mut data, &mut std::io::sink()).expect("the file");
            assert_eq!(read as usize, length);
            drop(data);
            assert_eq!(raw.read().code, 226);
            assert_eq!(raw.read().code, 421);
        }
        let status = fixture.gateway.wait(TIMEOUT).expect("it ends");
        assert_eq!(status.code(), Some(if again { EXIT_TRANSFERS_CUT } else { 0 }), "{status}");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut fixture = Plan { drain: "accept_for: 1h", ..Plan::default() }.start();
    let open = fixture.client();
    fixture.gateway.terminate();
    fixture.gateway.await_log(
        |event| event["message"].as_str().is_some_and(|text| text.starts_with("not ready")),
        TIMEOUT,
    );
    fixture.gateway.terminate();
    let status = fixture.gateway.wait(TIMEOUT).expect("it ends at once");
    assert_eq!(status.code(), Some(EXIT_TRANSFERS_CUT), "{status}");
    drop(open);
}

#[test]
fn metrics_count_logins_transfers_and_data_connections() {
    let fixture = Plan { data_ports: 1, pool_keys: ", wait: 200ms", ..Plan::default() }.start();
    assert_eq!(get(&fixture, "/live"), (200, "live\n".into()));
    assert_eq!(get(&fixture, "/ready"), (200, "ready\n".into()));
    assert_eq!(get(&fixture, "/other").0, 404);

    let mut raw = fixture.connect();
    raw.expect(&format!("USER {USER}"), 331);
    raw.expect("PASS wrong", 530);
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    assert_eq!(raw.upload("STOR file", &pattern(70_001)).code, 226);
    assert_eq!(raw.download("RETR file").0.len(), 70_001);
    raw.expect("REST 70000", 350);
    assert_eq!(raw.download("RETR file").0.len(), 1);
    let data = raw.begin("STOR cut");
    crate::support::raw::Wire::Plain(data).reset();
    assert_eq!(raw.read().code, 426);

    // A port reserved for this client: another session of the same address gets none.
    let port = raw.expect("EPSV", 229).text;
    let port = port.rsplit('|').nth(1).and_then(|port| port.parse().ok()).expect("a port");
    let mut second = fixture.client();
    let refusal = second.expect("EPSV", 425).text;
    assert!(refusal.contains("no data port became free within 200ms"), "{refusal}");
    // A stray connection changes nothing; only from another address is it recognized as one.
    let at = |last: u8| std::net::IpAddr::from([127, 0, 0, last]);
    let stray = dial_from(at(7), std::net::SocketAddr::new(at(1), port));
    assert!((&stray.expect("connecting")).read(&mut [0]).is_err(), "no reset");

    let page = get(&fixture, "/metrics").1;
    let front = "{listener=\"front\"}";
    let transfers = |direction: &str, outcome: &str| {
        format!(
            "lockgate_transfers_total{{backend=\"files\",direction=\"{direction}\",\
             listener=\"front\",outcome=\"{outcome}\"}}"
        )
    };
    let bytes = |direction: &str| {
        format!(
            "lockgate_transfer_bytes_total{{backend=\"files\",direction=\"{direction}\",\
             listener=\"front\"}}"
        )
    };
    for (series, expected) in [
        (format!("lockgate_sessions{front}"), 2),
        ("lockgate_logins_total{listener=\"front\",outcome=\"ok\"}".into(), 2),
        ("lockgate_logins_total{listener=\"front\",outcome=\"refused\"}".into(), 1),
        (transfers("download", "ok"), 2),
        (transfers("upload", "ok"), 1),
        (transfers("upload", "transfer-cut"), 1),
        (bytes("download"), 70_002),
        (bytes("upload"), 70_001),
        ("lockgate_data_ports{pool=\"pool\"}".into(), 1),
        ("lockgate_data_ports_reserved{pool=\"pool\"}".into(), 1),
        ("lockgate_data_ports_active{pool=\"pool\"}".into(), 0),
        ("lockgate_data_ports_exhausted_total{pool=\"pool\"}".into(), 1),
        ("lockgate_data_ports_stray_total{pool=\"pool\"}".into(), 1),
    ] {
        assert_eq!(value(&page, &series), expected, "{series}");
    }
    let _held = raw.expect("LIST", 150);
    let mut tcp = dial(std::net::SocketAddr::new(at(1), port));
    std::io::copy(&mut tcp, &mut std::io::sink()).expect("the listing, on the port kept");
    drop(tcp);
    assert_eq!(raw.read().code, 226);
}
