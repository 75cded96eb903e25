//! Tests the rules, the load balancer and the configurations of deploy/firewall.md on machines made of
//! network namespaces.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::netns::Namespace;
use crate::support::pki::pki;
use crate::support::process::{CleanupGuard, POLL, kill_group, spawn};
use crate::support::raw::{Raw, Reply, client_config, dial};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, pattern};

const PAGE: &str = include_str!("../../deploy/firewall.md");
const TIMEOUT: Duration = Duration::from_secs(20);
/// The address that clients connect to.
const PUBLIC: &str = "203.0.113.7:21";

/// A code block of the page.
fn printed(section: &str, kind: &str) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("\n## {section}\n")).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let (_, block) = section.split_once(&format!("```{kind}\n")).expect("the block");
    block.split_once("```").expect("the block's end").0
}

/// A configuration of the page, with a local folder.
fn config(section: &str, folder: &Path) -> String {
    format!(
        "{}\nbackends:\n  files: {{ protocol: local, folder: {folder:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        printed(section, "yaml"),
        argon2_hash(),
    )
}

fn start(machine: &Namespace, config: &str, environment: &[(&str, &str)]) -> Gateway {
    let files = [("tls.crt", pki().certificate.as_path()), ("tls.key", pki().key.as_path())];
    let mut command = machine.command(PROGRAM);
    command.envs(environment.iter().copied());
    Gateway::start_by(command, config, &files)
}

/// A client's machine and the router.
fn client_and_router() -> (Namespace, Namespace) {
    let (client, router) = (Namespace::new(), Namespace::new());
    client.link("eth0", &router, "clients");
    client.ip("addr add 198.51.100.20/24 dev eth0");
    router.ip("addr add 198.51.100.1/24 dev clients");
    client.ip("route add default via 198.51.100.1");
    (client, router)
}

/// lockgate's machine, behind the router.
fn internal_machine(router: &Namespace, number: u8) -> Namespace {
    let machine = Namespace::new();
    let cable = format!("to{number}");
    router.link(&cable, &machine, "eth0");
    router.ip(&format!("addr add 10.0.0.1/32 peer 10.0.0.{number}/32 dev {cable}"));
    machine.ip(&format!("addr add 10.0.0.{number}/32 peer 10.0.0.1/32 dev eth0"));
    machine.ip("route add default via 10.0.0.1");
    machine
}

/// A client on the machine, logged in under TLS.
fn session(peer: &str) -> Raw {
    let (mut raw, greeting) = Raw::connect(peer.parse().expect("an address"));
    assert_eq!(greeting.code, 220);
    raw.auth_tls();
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    raw
}

fn up_and_down(raw: &mut Raw, name: &str) {
    let bytes = pattern(300_000);
    assert_eq!(raw.upload(&format!("STOR {name}"), &bytes).code, 226);
    let (back, reply) = raw.download(&format!("RETR {name}"));
    assert_eq!(reply.code, 226, "{}", reply.text);
    assert!(back == bytes, "{name} differs");
}

/// Runs a closure on the machine.
fn on<T: Send>(machine: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            machine.enter();
            work()
        });
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Whether a connection gets through. At a data port it is stray and is reset.
fn is_open(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address");
    match TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn the_rules_for_one_machine_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let (client, machine) = client_and_router();
    machine.ip("addr add 203.0.113.7/32 dev lo");
    machine.nft(printed("One machine", "nft"));
    let gateway = start(&machine, &config("One machine", folder.path()), &[]);
    on(&client, || {
        up_and_down(&mut session(PUBLIC), "by-epsv");
        let mut raw = session(PUBLIC);
        raw.use_pasv();
        up_and_down(&mut raw, "by-pasv");
        // A port of the range, and its neighbour.
        assert!(is_open("203.0.113.7:50099"));
        assert!(!is_open("203.0.113.7:50100"));
    });
    drop(gateway);
}

#[test]
fn the_rules_behind_nat_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let (client, router) = client_and_router();
    let machine = internal_machine(&router, 11);
    router.ip("addr add 203.0.113.7/32 dev lo");
    router.forward();
    router.nft(printed("Behind NAT", "nft"));
    let gateway = start(&machine, &config("Behind NAT", folder.path()), &[]);
    on(&client, || {
        let mut raw = session(PUBLIC);
        raw.expect("EPSV", 522);
        raw.use_pasv();
        up_and_down(&mut raw, "from-outside");
        assert!(is_open("203.0.113.7:50099"));
        assert!(!is_open("203.0.113.7:50100"));
        assert!(!is_open("10.0.0.11:22"), "the firewall lets nothing else through");
    });
    // Internal clients get lockgate's own address.
    on(&router, || up_and_down(&mut session("10.0.0.11:21"), "from-inside"));
    drop(gateway);
}

/// HAProxy on a machine.
struct HaProxy {
    child: Child,
    _folder: TempDir,
    _cleanup: CleanupGuard,
}

impl HaProxy {
    fn start(machine: &Namespace, config: &str) -> Self {
        use std::os::unix::process::CommandExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("writing the configuration");
        let mut command = machine.command("haproxy");
        command.args(["-db", "-f"]).arg(&file).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn(&mut command);
        let cleanup = CleanupGuard::new(Some(&child), None);
        Self { child, _folder: folder, _cleanup: cleanup }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        kill_group(&mut self.child);
    }
}

/// Waits until a control connection gets a greeting.
fn await_greeting() {
    let is_greeted =
        || is_open(PUBLIC) && Raw::connect_quietly(PUBLIC.parse().expect("an address")).is_some();
    assert!(becomes_true(is_greeted), "no greeting at {PUBLIC}");
}

#[test]
fn the_rules_behind_a_load_balancer_work() {
    const SECTION: &str = "Behind a load balancer";
    let folder = tempfile::tempdir().expect("a folder");
    let (client, router) = client_and_router();
    let machine = internal_machine(&router, 11);
    router.ip("addr add 203.0.113.7/32 dev lo");
    let gateway = start(&machine, &config(SECTION, folder.path()), &[]);
    let _haproxy = HaProxy::start(&router, printed(SECTION, "haproxy"));
    on(&client, || {
        await_greeting();
        up_and_down(&mut session(PUBLIC), "by-epsv");
        let mut raw = session(PUBLIC);
        raw.use_pasv();
        up_and_down(&mut raw, "by-pasv");
    });
    let seen = |event: &serde_json::Value| {
        let peer = event["peer"].as_str().unwrap_or_default();
        event["event"] == "transfer" && peer.starts_with("198.51.100.20:")
    };
    gateway.await_log(seen, TIMEOUT);
    // From other addresses a header could be forged.
    on(&machine, || {
        let mut raw = dial("10.0.0.11:21".parse().expect("an address"));
        let mut received = Vec::new();
        let _ = raw.write_all(b"PROXY TCP4 192.0.2.1 10.0.0.11 1 21\r\n");
        let _ = raw.read_to_end(&mut received);
        assert_eq!(received, b"");
    });
}

const FILES_A_SESSION: usize = 5;

/// Transfers files until the stop flag; a session that ends between transfers is replaced. Returns the
/// names and bytes of acknowledged uploads.
fn transfer_on(client: &Namespace, number: usize, stop: &AtomicBool) -> BTreeMap<String, Vec<u8>> {
    client.enter();
    let mut files = BTreeMap::new();
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut raw) = Raw::connect_quietly(PUBLIC.parse().expect("an address")) else {
            thread::sleep(POLL);
            continue;
        };
        for _ in 0..FILES_A_SESSION {
            turn += 1;
            let (name, bytes) = (format!("client-{number}-{turn}"), pattern(20_000 + turn));
            if raw.try_upload(&name, &bytes).is_none() {
                break;
            }
            files.insert(name, bytes);
        }
    }
    files
}

/// Stops the clients when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_rules_for_replicas_work() {
    const CLIENTS: usize = 4;
    let folder = tempfile::tempdir().expect("a folder");
    let (client, router) = client_and_router();
    let machines = [11, 12, 13].map(|number| internal_machine(&router, number));
    router.ip("addr add 203.0.113.7/32 dev lo");
    let config = config("Replicas", folder.path());
    let run = |index: usize| {
        start(&machines[index], &config, &[("POD_NAME", &format!("lockgate-{index}"))])
    };
    let mut gateways = [run(0), run(1), run(2)];
    let _haproxy = HaProxy::start(&router, printed("Replicas", "haproxy"));
    on(&client, await_greeting);
    let stop = AtomicBool::new(false);
    let files: BTreeMap<_, _> = thread::scope(|scope| {
        let client = &client;
        let stop = &stop;
        let _stopped = Stop(stop);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || transfer_on(client, number, stop)))
            .collect();
        for (index, gateway) in gateways.iter_mut().enumerate() {
            // All three are serving.
            gateway.await_log(|event| event["event"] == "transfer", TIMEOUT);
            gateway.terminate();
            let status = gateway.wait(TIMEOUT).expect("it ends after SIGTERM");
            assert!(status.success(), "{status}");
            *gateway = run(index);
        }
        for gateway in &gateways {
            gateway.await_log(|event| event["event"] == "transfer", TIMEOUT);
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    assert!(files.len() > 20, "only {} files", files.len());
    for (name, bytes) in files {
        let there = std::fs::read(folder.path().join(&name)).expect("an acknowledged file");
        assert!(there == bytes, "{name} differs");
    }
}

/// A client of a gateway that may stop.
impl Raw {
    /// A client logged in under TLS, or `None`.
    fn connect_quietly(peer: SocketAddr) -> Option<Self> {
        let (mut raw, greeting) = Raw::try_connect(peer).ok()?;
        if greeting.code != 220 {
            return None;
        }
        // TLS 1.2 sessions can be resumed repeatedly: rustls uses a TLS 1.3 ticket only once.
        raw.set_tls(client_config(&[&rustls::version::TLS12]));
        raw.ask("AUTH TLS", 234)?;
        raw.start_tls();
        for (line, code) in [("PBSZ 0", 200), ("PROT P", 200)] {
            raw.ask(line, code)?;
        }
        raw.protect();
        raw.ask(&format!("USER {USER}"), 331)?;
        raw.ask(&format!("PASS {PASSWORD}"), 230)?;
        raw.ask("TYPE I", 200)?;
        Some(raw)
    }

    /// `None`: the session ended before the transfer started. A started transfer must complete.
    fn try_upload(&mut self, name: &str, bytes: &[u8]) -> Option<()> {
        let epsv = self.ask("EPSV", 229)?;
        let port = epsv.text.rsplit('|').nth(1).and_then(|port| port.parse().ok());
        let public: SocketAddr = PUBLIC.parse().expect("an address");
        let tcp = dial(SocketAddr::new(public.ip(), port.expect("a port")));
        self.ask(&format!("STOR {name}"), 150)?;
        let mut data = self.data(tcp);
        data.write_all(bytes).expect("writing to a data connection");
        data.finish().expect("ending a data connection");
        let _ = std::io::copy(&mut data, &mut std::io::sink());
        assert_eq!(self.read().code, 226, "{name} was started");
        Some(())
    }

    /// `None`: the session has ended.
    fn ask(&mut self, line: &str, code: u16) -> Option<Reply> {
        let reply = self.try_send(format!("{line}\r\n").as_bytes()).and_then(|()| self.try_read());
        let reply = reply.ok().filter(|reply| reply.code != 421)?;
        assert_eq!(reply.code, code, "{line}: {}", reply.text);
        Some(reply)
    }
}
