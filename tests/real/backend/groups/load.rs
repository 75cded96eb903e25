//! Servers that are killed, hung and restarted under load, and uploads that find theirs again.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::super::gateway;
use super::{
    CHECKED, CONNECT_TIMEOUT, TIMEOUT, lists, log_in, named, server_of, try_log_in, vsftpd,
};
use crate::support::gateway::Gateway;
use crate::support::raw::Reply;
use crate::support::servers::{Server, sshd_on};
use crate::support::ssh::keys;
use crate::support::wait::becomes_true;
use crate::support::{pattern, ports};

const CLIENTS: usize = 4;
const DOWN: &str = "the server is down: no new sessions";
const UP: &str = "the server is up again";

/// The software of all servers of a group.
#[derive(Clone, Copy)]
enum Kind {
    Vsftpd,
    Sshd,
}

impl Kind {
    fn start(self, number: usize, port: u16) -> Server {
        match self {
            Self::Vsftpd => vsftpd(number, port),
            Self::Sshd => named(sshd_on("", port), number),
        }
    }

    /// The keys of the backend.
    fn keys(self, ports: &[u16]) -> String {
        let list = format!("{}, choose: round-robin, {CHECKED}", lists(ports));
        match self {
            Self::Vsftpd => list,
            Self::Sshd => {
                format!("protocol: sftp, host_key: \"{}\", {list}", keys().fingerprints[0])
            }
        }
    }
}

/// A login during the load, and where it led.
struct Login {
    started: Instant,
    took: Duration,
    server: usize,
}

/// Clients that log in, one login after the other, until they are stopped.
#[derive(Default)]
struct Clients {
    stop: AtomicBool,
    logins: Mutex<Vec<Login>>,
    /// When each began and ended, and the reply.
    lost: Mutex<Vec<(Range<Instant>, Reply)>>,
}

impl Clients {
    fn run(&self, address: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            let mut client = match try_log_in(address) {
                Ok(client) => client,
                Err(reply) => {
                    self.lost.lock().expect("no panic").push((started..Instant::now(), reply));
                    continue;
                }
            };
            let took = started.elapsed();
            // It can be killed after the login: then this session is lost, and no other.
            let served =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server_of(&mut client)));
            if let Ok(server) = served {
                self.logins.lock().expect("no panic").push(Login { started, took, server });
            }
        }
    }

    /// Waits until each of these servers has had another login.
    fn await_logins_at(&self, servers: Range<usize>) {
        let before = self.logins.lock().expect("no panic").len();
        for server in servers {
            let is_used = || {
                let logins = self.logins.lock().expect("no panic");
                logins[before..].iter().any(|login| login.server == server)
            };
            assert!(becomes_true(is_used), "no login at server {server}");
        }
    }
}

/// Stops the clients also where a test panics, which waits for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The servers of a group, and what was done to them.
struct Stock {
    kind: Kind,
    ports: Vec<u16>,
    servers: Vec<Option<Server>>,
    gateway: Gateway,
    /// When servers were killed and hung: logins that were there may be lost.
    disruptions: Vec<Range<Instant>>,
    /// When a server was down for the gateway.
    away: Vec<(usize, Range<Instant>)>,
}

impl Stock {
    fn new(kind: Kind, count: usize) -> Self {
        let ports: Vec<_> = (0..count).map(|_| ports::one()).collect();
        let servers = ports.iter().enumerate().map(|(n, port)| Some(kind.start(n, *port)));
        Self {
            kind,
            servers: servers.collect(),
            gateway: gateway(&[("stock", kind.keys(&ports))]),
            ports,
            disruptions: Vec::new(),
            away: Vec::new(),
        }
    }

    fn server(&self, number: usize) -> &Server {
        self.servers[number].as_ref().expect("it runs")
    }

    /// Until it is down for the gateway.
    fn kill(&mut self, number: usize) {
        let killed = Instant::now();
        drop(self.servers[number].take());
        self.disrupted(number, killed);
    }

    fn hang(&mut self, number: usize) {
        let stopped = Instant::now();
        self.server(number).signal(Signal::STOP);
        self.disrupted(number, stopped);
    }

    fn disrupted(&mut self, number: usize, start: Instant) {
        self.disruptions.push(start..Instant::now());
        self.await_state(number, DOWN);
        let now = Instant::now();
        self.away.push((number, now..now));
    }

    /// Until the gateway sends it sessions again.
    fn restart(&mut self, number: usize) {
        self.servers[number] = Some(self.kind.start(number, self.ports[number]));
        self.await_return(number);
    }

    fn go_on(&mut self, number: usize) {
        self.server(number).signal(Signal::CONT);
        self.await_return(number);
    }

    fn await_return(&mut self, number: usize) {
        self.await_state(number, UP);
        let away = self.away.iter_mut().find(|(server, _)| *server == number);
        away.expect("it was away").1.end = Instant::now();
    }

    fn await_state(&self, number: usize, message: &str) {
        let name = format!("\"stock/127.0.0.1:{}\"", self.ports[number]);
        let is_state =
            |line: &str| line.contains(&name) && (line.contains(DOWN) || line.contains(UP));
        self.gateway.await_last_line(is_state, message, TIMEOUT);
    }

    /// Lets clients log in while the servers are disturbed.
    fn under_load(&mut self, disturb: impl FnOnce(&mut Self, &Clients)) {
        let (clients, address) = (Clients::default(), self.gateway.address("stock"));
        thread::scope(|scope| {
            let _stop = Stop(&clients.stop);
            for _ in 0..CLIENTS {
                scope.spawn(|| clients.run(address));
            }
            let all = 0..self.ports.len();
            clients.await_logins_at(all.clone());
            disturb(self, &clients);
            // Those that returned get their share again.
            clients.await_logins_at(all);
        });
        self.judge(&clients);
    }

    fn judge(&self, clients: &Clients) {
        let (lost, logins) =
            (clients.lost.lock().expect("no panic"), clients.logins.lock().expect("no panic"));
        for (time, reply) in &*lost {
            // One whose server had the password when it was killed is lost, too.
            let is_excused = |it: &Range<Instant>| time.start < it.end && time.end > it.start;
            let took = time.end - time.start;
            assert!(
                self.disruptions.iter().any(is_excused),
                "a login after the kill failed after {took:?}: {reply:?}"
            );
        }
        let longest = logins.iter().map(|login| login.took).max().expect("logins");
        println!("{} logins, {} lost, the longest took {longest:?}", logins.len(), lost.len());
        // The wait for the hung server, and the login at the next on a busy machine.
        assert!(longest < CONNECT_TIMEOUT * 2, "{longest:?}");
        for (server, away) in &self.away {
            let landed = |login: &&Login| {
                login.server == *server
                    && login.started > away.start
                    && login.started + login.took < away.end
            };
            let landed = logins.iter().filter(landed).count();
            assert_eq!(landed, 0, "at server {server} while it was down");
        }
    }
}

#[test]
fn logins_go_on_while_vsftpd_is_killed_and_hung() {
    Stock::new(Kind::Vsftpd, 3).under_load(|stock, _| {
        stock.kill(0);
        stock.hang(1);
        stock.restart(0);
        stock.go_on(1);
    });
}

#[test]
fn logins_go_on_while_sshd_is_killed_and_hung() {
    Stock::new(Kind::Sshd, 2).under_load(|stock, clients| {
        stock.kill(0);
        stock.restart(0);
        // It alone serves while the other hangs.
        clients.await_logins_at(0..1);
        stock.hang(1);
        stock.go_on(1);
    });
}

#[test]
fn an_interrupted_upload_finds_its_vsftpd_again() {
    an_interrupted_upload_finds_its_server_again(&Stock::new(Kind::Vsftpd, 3));
}

#[test]
fn an_interrupted_upload_finds_its_sshd_again() {
    an_interrupted_upload_finds_its_server_again(&Stock::new(Kind::Sshd, 2));
}

fn an_interrupted_upload_finds_its_server_again(stock: &Stock) {
    let address = stock.gateway.address("stock");
    let payload = pattern(1 << 20);
    let half = payload.len() / 2;
    // Not the first of the list.
    drop(log_in(address));
    let mut client = log_in(address);
    let server = server_of(&mut client);
    client.expect("TYPE I", 200);
    let mut data = client.begin("STOR report");
    std::io::Write::write_all(&mut data, &payload[..half]).expect("sending");
    let path = stock.server(server).home.join("report");
    let stored = || std::fs::metadata(&path).map_or(0, |it| it.len());
    assert!(becomes_true(|| stored() > 0));
    client.reset();
    drop(data);
    let is_transfer = |event: &Value| {
        // sshd has no jail: the path begins with its home.
        let is_report = event["path"].as_str().is_some_and(|path| path.ends_with("/report"));
        event["event"] == "transfer" && is_report
    };
    stock.gateway.await_log(is_transfer, TIMEOUT);
    for _ in 0..3 {
        let mut client = log_in(address);
        assert_eq!(server_of(&mut client), server);
    }
    let mut client = log_in(address);
    let size = usize::try_from(stored()).expect("a size");
    client.expect("TYPE I", 200);
    client.expect(&format!("REST {size}"), 350);
    let reply = client.upload("STOR report", &payload[size..]);
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(std::fs::read(&path).expect("the file") == payload);
}
