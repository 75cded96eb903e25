//! Many logins at once at a server with a short listen backlog.

use std::sync::Barrier;
use std::thread;

use super::{client, configuration, server};
use crate::support::gateway::Gateway;
use crate::support::servers::endpoint;

const SESSIONS: usize = 200;

/// pure-ftpd listens with a backlog of nine.
#[test]
fn two_hundred_simultaneous_logins_reach_pureftpd() {
    let endpoint = endpoint("pureftpd-plain");
    let keys = format!("{}, connect_timeout: 2s", server(&endpoint));
    let yaml = configuration(&[("back", keys)]);
    let gateway = Gateway::start(&format!("{yaml}metrics: {{ address: \"127.0.0.1:0\" }}\n"));
    let all = Barrier::new(SESSIONS);
    thread::scope(|scope| {
        for _ in 0..SESSIONS {
            scope.spawn(|| {
                all.wait();
                client(&gateway, "back").expect("QUIT", 221);
            });
        }
    });
    let waiting = gateway.metric("lockgate_backend_connects_waiting{backend=\"back\"}");
    assert_eq!(waiting, Some(0));
}
