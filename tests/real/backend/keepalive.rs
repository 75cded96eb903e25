//! Control connections during a long transfer: TCP keepalive, and no commands or replies.

use std::io::{Read, Write};
use std::time::Duration;

use super::{before, client};
use crate::support::full;
use crate::support::scripted::Scripted;

/// The length of the transfer; with `--full` longer than the time to the first probe.
fn pause() -> Duration {
    Duration::from_secs(if full() { 70 } else { 2 })
}

/// The timer of one end of a connection in /proc/net/tcp: its kind (2 is keepalive) and when it
/// fires, in hundredths of a second. The columns are described in the kernel's proc_net_tcp.rst.
#[track_caller]
fn timer(local: Option<u16>, remote: Option<u16>) -> (u8, u64) {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the TCP table");
    let has = |field: &str, port: Option<u16>| {
        port.is_none_or(|port| field.ends_with(&format!(":{port:04X}")))
    };
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    // 01 is ESTABLISHED.
    let mut rows = rows.filter(|row| has(row[1], local) && has(row[2], remote) && row[3] == "01");
    let row = rows.next().expect("the connection");
    assert!(rows.next().is_none(), "two such connections");
    let (kind, when) = row[5].split_once(':').expect("a timer");
    let number = |text| u64::from_str_radix(text, 16).expect("a number");
    (number(kind) as u8, number(when))
}

#[test]
fn the_kernel_keeps_both_control_connections_alive_in_silence() {
    let backend = Scripted::start(|peer| {
        peer.greet()?;
        peer.until("RETR")?;
        peer.reply("150 here it comes")?;
        let mut data = peer.data()?;
        data.write_all(b"a part, ")?;
        assert!(peer.quiet_for(pause()), "the server received bytes during the transfer");
        data.write_all(b"the rest")?;
        drop(data);
        peer.reply("226 that was all")?;
        peer.serve()
    });
    let gateway = before(&backend, "");
    let mut client = client(&gateway, "back");
    let mut data = client.begin("RETR a");
    data.set_read_timeout(Some(pause() * 2 + Duration::from_secs(15))).expect("above zero");
    let mut first = [0; 8];
    data.read_exact(&mut first).expect("the first part");
    assert!(client.quiet_for(pause() / 2), "the client received bytes");

    let peer = client.socket().local_addr().expect("an address").port();
    let front = timer(Some(gateway.address("back").port()), Some(peer));
    let back = timer(None, Some(backend.address.port()));
    for (kind, when) in [front, back] {
        assert_eq!(kind, 2, "no keepalive timer: {front:?} {back:?}");
        assert!(when <= 6000, "the next probe is later than in a minute: {front:?} {back:?}");
    }
    let mut rest = Vec::new();
    data.read_to_end(&mut rest).expect("the rest");
    assert_eq!((rest.as_slice(), client.read().code), (&b"the rest"[..], 226));
    client.expect("NOOP", 200);
}
