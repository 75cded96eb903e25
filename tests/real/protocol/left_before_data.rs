//! Clients that end their control connection while the gateway waits for a data connection.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::{Fixture, Plan, check_in_sync};
use crate::support::raw::{Raw, dial};

/// Well below `data_connect_timeout`, which is 30 s.
const SOON: Duration = Duration::from_secs(10);
const COMMANDS: [&str; 5] = ["RETR file", "LIST", "MLSD", "STOR up", "APPE up"];

fn epsv(raw: &mut Raw) -> SocketAddr {
    let reply = raw.expect("EPSV", 229).text;
    let port = reply.rsplit('|').nth(1).and_then(|port| port.parse().ok());
    SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_else(|| panic!("no port in {reply}"))))
}

/// Runs `leave`, and waits until the gateway has neither the session nor its port.
#[track_caller]
fn ends_soon(fixture: &Fixture, how: &str, leave: impl FnOnce()) {
    let started = Instant::now();
    leave();
    let held = || {
        let page = fixture.gateway.metrics_page();
        let sessions = page.lines().filter(|line| line.starts_with("lockgate_sessions{"));
        let open = sessions.filter(|line| !line.ends_with(" 0")).count() as u64;
        open + fixture.pool_metric("reserved").expect("a metric of the pool")
    };
    while held() > 0 {
        assert!(started.elapsed() < SOON, "{how}: the session goes on");
    }
}

#[test]
fn a_client_that_leaves_before_its_data_connection_is_noticed() {
    let fixture = Plan::default().start();
    fixture.put("file", "bytes");
    for command in COMMANDS {
        for reset in [false, true] {
            let mut raw = fixture.client();
            epsv(&mut raw);
            raw.expect(command, 150);
            ends_soon(&fixture, &format!("{command}, reset: {reset}"), || {
                if reset { raw.reset() } else { drop(raw) }
            });
        }
    }
    assert_eq!(fixture.pool_metric("expired_total"), Some(0));
}

#[test]
fn a_client_that_leaves_before_the_handshake_of_its_data_connection_is_noticed() {
    let fixture = Plan { tls: "required", active: true, ..Plan::default() }.start();
    fixture.put("file", "bytes");
    for command in COMMANDS {
        let mut raw = fixture.tls_client();
        let _silent = raw.begin(command);
        ends_soon(&fixture, &format!("{command}, passive"), || drop(raw));
        let own = TcpListener::bind("127.0.0.1:0").expect("listening");
        let mut raw = fixture.tls_client();
        raw.expect(
            &format!("EPRT |1|127.0.0.1|{}|", own.local_addr().expect("its port").port()),
            200,
        );
        raw.expect(command, 150);
        let _silent = own.accept().expect("the gateway connects");
        ends_soon(&fixture, &format!("{command}, active"), || drop(raw));
    }
}

#[test]
fn abor_before_the_data_connection_ends_the_transfer() {
    let fixture = Plan::default().start();
    fixture.put("file", "bytes");
    let mut raw = fixture.client();
    for command in COMMANDS {
        epsv(&mut raw);
        raw.expect(command, 150);
        raw.expect("ABOR", 426);
        assert_eq!(raw.read().code, 226, "{command}");
        check_in_sync(&mut raw);
    }
    assert_eq!(fixture.pool_metric("expired_total"), Some(0));
}

/// A client that ends its input, as `nc` does, still gets what it asked for.
#[test]
fn a_client_that_has_closed_only_its_writing_side_gets_its_data() {
    let fixture = Plan::default().start();
    fixture.put("file", "bytes");
    // After QUIT, it has all of `data_connect_timeout`.
    for (lines, wait) in [("RETR file\r\n", 300), ("RETR file\r\nQUIT\r\n", 3500)] {
        let mut raw = fixture.client();
        let port = epsv(&mut raw);
        raw.send_bytes(lines.as_bytes());
        raw.socket().shutdown(Shutdown::Write).expect("ending the commands");
        assert_eq!(raw.read().code, 150);
        assert!(raw.quiet_for(Duration::from_millis(wait)), "{lines}: ended early");
        let mut bytes = Vec::new();
        dial(port).read_to_end(&mut bytes).expect("the file");
        assert_eq!(bytes, b"bytes", "{lines}");
        assert_eq!(raw.read().code, 226, "{lines}");
        if lines.contains("QUIT") {
            assert_eq!(raw.read().code, 221);
        }
    }
}
