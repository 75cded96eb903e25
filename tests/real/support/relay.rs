//! A wire between two ends that can fall silent, as where a machine or its network is gone: neither
//! end hears a word more, not even that it is over.

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
    /// Carries each connection to a port of this machine, until the process ends.
    pub fn start(to: u16) -> Self {
        Self::start_saying(to, b"")
    }

    /// As [`Relay::start`]; each client is told these words before the other end's.
    pub fn start_saying(to: u16, words: &[u8]) -> Self {
        let words = words.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let silent = Arc::new(AtomicBool::new(false));
        let carried = silent.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let mut near = near.expect("a connection");
                near.write_all(&words).expect("the first words");
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

    /// From now on nothing is carried.
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
    match silent.load(Ordering::Relaxed) {
        // The other end is to hear nothing: the sockets stay as they are.
        true => loop {
            thread::park();
        },
        false => drop(to.shutdown(Shutdown::Write)),
    }
}
