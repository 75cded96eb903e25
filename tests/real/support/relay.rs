//! A TCP relay that can fall silent, as after a network failure: neither end receives anything
//! more, not even a FIN or RST.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub struct Relay {
    pub port: u16,
    silent: Arc<AtomicBool>,
}

impl Relay {
    /// Relays each connection to a port of this machine, until the process ends.
    pub fn start(to: u16) -> Self {
        Self::start_with_prefix(to, b"")
    }

    /// As [`Relay::start`]; each client first receives these bytes.
    pub fn start_with_prefix(to: u16, prefix: &[u8]) -> Self {
        let prefix = prefix.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let silent = Arc::new(AtomicBool::new(false));
        let carried = silent.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let mut near = near.expect("a connection");
                near.write_all(&prefix).expect("the first words");
                let far = TcpStream::connect(("127.0.0.1", to)).expect("the other end");
                let both = [(&near, &far), (&far, &near)];
                for (from, to) in both.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                    let (from, to) = (from.expect("a socket"), to.expect("a socket"));
                    let silent = carried.clone();
                    thread::spawn(move || carry(from, to, &silent));
                }
            }
        });
        Self { port, silent }
    }

    /// Relays nothing from now on.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, silent: &AtomicBool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !silent.load(Ordering::Relaxed) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    if silent.load(Ordering::Relaxed) {
        // Keep the sockets open: the other end must receive no FIN.
        loop {
            thread::park();
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
