//! An FTP server on 127.0.0.1 that runs a test's script.

mod peer;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use peer::Peer;

/// The read and write timeout of all connections.
pub const TIMEOUT: Duration = Duration::from_secs(20);

pub struct Scripted {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    lines: Vec<String>,
    panicked: bool,
}

impl Scripted {
    /// Runs the script for each control connection, which ends with the script. An I/O error is a
    /// normal end; a panic fails the test.
    pub fn start(script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listening");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let (own, script) = (shared.clone(), Arc::new(script));
        let acceptor = thread::spawn(move || {
            while let Ok((tcp, _)) = listener.accept() {
                if own.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, script) = (own.clone(), script.clone());
                thread::spawn(move || shared.clone().serve(tcp, &*script));
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// All lines received, on all connections.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().lines.clone()
    }

    /// How often a verb was received.
    pub fn count(&self, verb: &str) -> usize {
        self.lines().iter().filter(|line| is_verb(line, verb)).count()
    }

    #[track_caller]
    pub fn assert_saw(&self, line: &str) {
        let lines = self.lines();
        assert!(lines.iter().any(|seen| seen == line), "no {line:?} among {lines:?}");
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        assert!(thread::panicking() || !self.shared.lock().panicked, "the script panicked");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    fn serve(self: Arc<Self>, tcp: TcpStream, script: &dyn Fn(&mut Peer) -> io::Result<()>) {
        tcp.set_read_timeout(Some(TIMEOUT)).expect("a timeout above zero");
        tcp.set_write_timeout(Some(TIMEOUT)).expect("a timeout above zero");
        self.lock().connections += 1;
        let mut peer = Peer::new(tcp, self.clone());
        if catch_unwind(AssertUnwindSafe(|| script(&mut peer))).is_err() {
            self.lock().panicked = true;
        }
    }
}

fn is_verb(line: &str, verb: &str) -> bool {
    line.split(' ').next() == Some(verb)
}
