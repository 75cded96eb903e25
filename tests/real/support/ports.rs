//! Free ports for servers and data connections.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
/// The first ephemeral port of Linux.
const END: u16 = 32_768;

static STEP: OnceLock<AtomicU16> = OnceLock::new();

/// `count` consecutive free ports. This process returns each port once.
///
/// The first port is random, so that parallel test processes do not collide.
pub fn block(count: u16) -> RangeInclusive<u16> {
    assert!(count > 0 && count <= 1000, "a block of {count} ports");
    let next = STEP.get_or_init(|| AtomicU16::new(rand::random_range(FIRST..END - 1000)));
    for _ in 0..1000 {
        let first = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |first| {
            let end = first.checked_add(count).filter(|end| *end <= END);
            Some(end.unwrap_or(FIRST + count))
        });
        let first = first.expect("the update always gives a value");
        let first = if END - first < count { FIRST } else { first };
        let ports = first..=first + (count - 1);
        if ports.clone().all(is_free) {
            return ports;
        }
    }
    panic!("no {count} free ports in a row between {FIRST} and {END}");
}

pub fn one() -> u16 {
    *block(1).start()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}
