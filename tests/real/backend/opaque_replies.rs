//! Servers with `dialect: opaque` that say something else than what they do, with a scripted server.

use std::io::Read as _;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use socket2::SockRef;

use super::{client, configuration, gateway};
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::netns::Namespace;
use crate::support::pattern;
use crate::support::scripted::Scripted;
use crate::support::wait::becomes_true;

const LOG_TIMEOUT: Duration = Duration::from_secs(20);

fn keys(server: &Scripted) -> String {
    format!("address: \"{}\", dialect: opaque", server.address)
}

/// The server has not read what came after its first bytes.
#[test]
fn an_upload_whose_data_connection_was_reset_is_not_stored() {
    let server = Scripted::start(|peer| {
        peer.greet()?;
        peer.until("STOR")?;
        peer.reply("150 send it")?;
        let mut data = peer.data()?;
        data.read_exact(&mut [0; 3])?;
        SockRef::from(&data).set_linger(Some(Duration::ZERO))?;
        drop(data);
        peer.reply("250 stored")?;
        peer.serve()
    });
    let gateway = gateway(&[("back", keys(&server))]);
    let mut client = client(&gateway, "back");
    let reply = client.upload("STOR 'USER.JCL'", &pattern(1000));
    assert_eq!(reply.code, 426, "{}", reply.text);
    let record = gateway.await_log(|event| event["event"] == "transfer", LOG_TIMEOUT);
    assert_eq!((&record["outcome"], &record["fault"]), (&"transfer-cut".into(), &"backend".into()));
    client.expect("NOOP", 200);
}

/// The command is lost on its way, so what arrives is no answer to it. Servers may send 421 on their own.
#[test]
fn a_reply_that_crosses_a_command_ends_the_session() {
    let machine = Namespace::new();
    let on_machine = || {
        machine.enter();
        let (go, wait) = channel();
        let wait = Mutex::new(wait);
        let server = Scripted::start(move |peer| {
            peer.greet()?;
            peer.until("NOOP")?;
            peer.reply("200 one")?;
            let reply = wait.lock().expect("no holder panics").recv();
            peer.reply(reply.expect("the test goes on"))?;
            peer.serve()
        });
        let yaml = configuration(&[("back", keys(&server))]);
        let gateway = Gateway::start_by(machine.command(PROGRAM), &yaml, &[]);
        let port = server.address.port();
        let cross = |reply: &'static str| {
            let mut client = client(&gateway, "back");
            client.expect("NOOP", 200);
            machine.nft(&format!(
                "table ip lossy {{ chain in {{ type filter hook input priority 0; tcp dport {port} drop; }}; }}"
            ));
            client.send_bytes(b"DELE x\r\n");
            assert!(becomes_true(|| is_unacknowledged(port)), "the command is not on its way");
            go.send(reply).expect("the server");
            let read = client.read();
            machine.nft("delete table ip lossy");
            assert!(becomes_true(|| !is_unacknowledged(port)), "the command does not arrive");
            assert_eq!(read.code, 421, "{}", read.text);
            read.text
        };
        let idle = cross("421 idle for too long");
        assert!(!idle.contains("answers no command"), "{idle}");
        let broken = cross("250 two");
        assert!(broken.contains("answers no command"), "{broken}");
        let is_it = |event: &serde_json::Value| {
            event["message"].as_str().is_some_and(|it| it.contains("broke the protocol"))
        };
        assert_eq!(gateway.await_log(is_it, LOG_TIMEOUT)["received"], "250 two");
    };
    std::thread::scope(|scope| {
        let there = scope.spawn(on_machine);
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Whether something that was sent to this port has not arrived (proc_net_tcp(5)), in this thread's namespace.
fn is_unacknowledged(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("the sockets");
    table.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let to_port = fields.next().is_some_and(|peer| peer.ends_with(&format!(":{port:04X}")));
        let sent = fields.nth(1).and_then(|queues| queues.split(':').next());
        to_port && sent.is_some_and(|sent| sent != "00000000")
    })
}
