//! Behind HAProxy that sends PROXY protocol headers: who clients are is what it says, on control and
//! data connections; and one gateway before another that is told so.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use super::SOON;
use crate::support::bench::host_keys;
use crate::support::clients::openssh::sftp;
use crate::support::clients::{SftpSite, Site, TlsVersion, curl};
use crate::support::gateway::Gateway;
use crate::support::haproxy::{ADDRESS, HaProxy, SOURCE, Way};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::raw::{Raw, Wire, dial_from};
use crate::support::sftp_lock::comes_true;
use crate::support::ssh::keys;
use crate::support::{DataMode, PASSWORD, Tls, USER, argon2_hash, pattern, ports};

const ANNA: &str = "127.0.0.3";
const BEN: &str = "127.0.0.4";
const CLARA: &str = "::1";
/// For whom there is no route.
const EVE: &str = "127.0.0.5";
/// LOCAL, version 2.
const HEALTH_CHECK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const STRAYS: &str = "lockgate_data_ports_stray_total{pool=\"pool\"}";
const REFUSED_DATA: &str = "lockgate_data_ports_proxy_protocol_refused_total{pool=\"pool\"}";
const REFUSED: &str = "lockgate_proxy_protocol_refused_total{listener=\"plain\"}";

/// A gateway that takes clients from HAProxy only, by the addresses that this says.
struct Lock {
    gateway: Gateway,
    folder: TempDir,
    /// The one data port.
    port: u16,
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn start(trusted: &str) -> Lock {
    let folder = tempfile::tempdir().expect("a folder");
    let port = ports::one();
    let (certificate, key) = (pki().certificate.display(), pki().key.display());
    let common = format!("address: \"127.0.0.1:0\", proxy_protocol: [{trusted}]");
    let gateway = Gateway::start(&format!(
        "listeners:\n  \
         plain: {{ protocol: ftp, {common}, data_ports: pool, active: {{ allowed: true }} }}\n  \
         secure: {{ protocol: ftp, {common}, data_ports: pool, \
         tls: {{ mode: required, certificate: {certificate}, key: {key}, data_sessions: resumed }} }}\n  \
         implicit: {{ protocol: ftp, {common}, data_ports: pool, \
         tls: {{ mode: implicit, certificate: {certificate}, key: {key} }} }}\n  \
         ssh: {{ protocol: sftp, {common}, host_keys: {host_keys} }}\n\
         data_ports:\n  \
         pool: {{ range: {port}, listen: [\"127.0.0.1\"], proxy_protocol: [{trusted}] }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{}\" }}\n\
         routes:\n  - {{ match: {{ sources: [{ANNA}, {BEN}, \"{CLARA}\"] }}, authenticate: gateway, backend: files }}\n\
         limits: {{ sessions_per_address: 1 }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n",
        folder.path(),
        argon2_hash(),
        host_keys = host_keys(),
    ));
    Lock { gateway, folder, port }
}

impl Lock {
    fn way(&self, listener: &'static str, server: &'static str) -> Way {
        let to = self.gateway.address(listener).port().to_string();
        Way { name: listener, port: ports::one().to_string(), to, server, more: String::new() }
    }

    fn data_way(&self, server: &'static str) -> Way {
        let (port, to) = (self.port.to_string(), String::new());
        Way { name: "data", port, to, server, more: String::new() }
    }

    fn await_login(&self, listener: &str, outcome: &str, client: &str) {
        self.gateway.await_log(
            |event| {
                event["event"] == "login"
                    && event["listener"] == listener
                    && event["outcome"] == outcome
                    && event["peer"].as_str().is_some_and(|peer| is_of(peer, client))
            },
            SOON,
        );
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).expect("reading a file")
    }
}

fn is_of(peer: &str, client: &str) -> bool {
    peer.split(':').next() == Some(client)
}

fn address(way: &Way) -> SocketAddr {
    SocketAddr::new(ip(ADDRESS), way.port.parse().expect("a port"))
}

fn client(from: &str, to: SocketAddr) -> Raw {
    let (mut raw, greeting) = Raw::connect_from(ip(from), to).expect("connecting");
    assert_eq!(greeting.code, 220, "{}", greeting.text);
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    raw
}

/// What the other side still sends before it closes.
fn rest(mut tcp: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = tcp.read_to_end(&mut bytes);
    bytes
}

#[test]
fn plain_clients_behind_haproxy_share_a_data_port() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let lock = start(SOURCE);
        let ways = [lock.way("plain", version), lock.data_way(version)];
        let _haproxy = HaProxy::start(&ways);
        let front = address(&ways[0]);
        let mut anna = client(ANNA, front);
        let mut ben = client(BEN, front);
        // What the client connected to, not what HAProxy did.
        let named = format!("(127,0,0,9,{},{}).", lock.port >> 8, lock.port & 0xff);
        for raw in [&mut anna, &mut ben] {
            let reply = raw.expect("PASV", 227);
            assert!(reply.text.contains(&named), "{}", reply.text);
        }
        // A stranger on the way uses up nothing.
        let data = SocketAddr::new(ip(ADDRESS), lock.port);
        assert_eq!(rest(dial_from(ip(EVE), data).expect("connecting")), b"");
        let of_ben = dial_from(ip(BEN), data).expect("connecting");
        let of_anna = dial_from(ip(ANNA), data).expect("connecting");
        for (raw, mut data, name) in [(&mut anna, of_anna, "anna"), (&mut ben, of_ben, "ben")] {
            raw.expect(&format!("STOR {name}"), 150);
            data.write_all(&pattern(300_000)[name.len()..]).expect("sending a file");
            drop(data);
            assert_eq!(raw.read().code, 226);
            assert!(lock.get(name) == pattern(300_000)[name.len()..], "{name} differs");
            let (back, reply) = raw.download(&format!("RETR {name}"));
            assert_eq!(reply.code, 226);
            assert!(back == pattern(300_000)[name.len()..], "{name} came back different");
            // Empty: nothing but the header was ever in the connection.
            assert_eq!(raw.upload("STOR empty", b"").code, 226);
            assert_eq!(lock.get("empty"), b"");
        }
        assert_eq!(lock.gateway.metric(STRAYS), Some(1));
        assert_eq!(
            (lock.gateway.metric(REFUSED_DATA), lock.gateway.metric(REFUSED)),
            (Some(0), Some(0))
        );
        lock.await_login("plain", "ok", ANNA);
        lock.await_login("plain", "ok", BEN);
        // Seats and routes go by the client.
        let (_, greeting) = Raw::connect_from(ip(ANNA), front).expect("connecting");
        assert_eq!(greeting.code, 421, "{}", greeting.text);
        let (mut eve, _) = Raw::connect_from(ip(EVE), front).expect("connecting");
        eve.expect(&format!("USER {USER}"), 331);
        eve.expect(&format!("PASS {PASSWORD}"), 530);
        lock.await_login("plain", "refused", EVE);
    }
}

#[test]
fn curl_with_tls_behind_haproxy() {
    let lock = start(SOURCE);
    let version = "send-proxy-v2";
    let ways = [lock.way("secure", version), lock.way("implicit", version), lock.data_way(version)];
    let _haproxy = HaProxy::start(&ways);
    let bytes = pattern(500_000);
    for (way, tls) in [(&ways[0], Tls::Explicit), (&ways[1], Tls::Implicit)] {
        let site = Site::new(address(way).port(), tls);
        for data in [DataMode::Pasv, DataMode::Epsv] {
            let home = tempfile::tempdir().expect("a client's home");
            std::fs::write(home.path().join("up"), &bytes).expect("writing a file");
            let manner = curl::Manner { data, tls: TlsVersion::Newest };
            let curl = || -> Command {
                let mut command = curl::curl(&site, manner, home.path());
                let balancer = format!("localhost:{}:{ADDRESS}", site.port);
                command.args(["--interface", ANNA, "--resolve", &balancer]);
                command.arg("--no-ftp-skip-pasv-ip");
                command
            };
            let url = curl::url(&site, "file");
            run(curl().args(["-T", "up", &url]), b"", SOON).expect_ok("uploading");
            assert!(lock.get("file") == bytes, "the file differs: {tls:?} {data:?}");
            let back = run(curl().arg(&url), b"", SOON).expect_ok("downloading").stdout;
            assert!(back == bytes, "the file came back different: {tls:?} {data:?}");
        }
        lock.await_login(way.name, "ok", ANNA);
    }
    assert_eq!(lock.gateway.metric(STRAYS), Some(0));
}

#[test]
fn sftp_behind_haproxy() {
    let lock = start(SOURCE);
    for version in ["send-proxy", "send-proxy-v2"] {
        let way = lock.way("ssh", version);
        let _haproxy = HaProxy::start(std::slice::from_ref(&way));
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("up"), pattern(100_000)).expect("writing a file");
        let site = SftpSite::new(address(&way).port());
        let host = format!("HostName={ADDRESS}");
        for from in [ANNA, BEN] {
            let more = ["-o", &format!("BindAddress={from}"), "-o", &host];
            sftp(&site, home.path(), &format!("put up {from}\n"), &more).expect_ok("uploading");
            assert!(lock.get(from) == pattern(100_000), "the file differs");
            lock.await_login("ssh", "ok", from);
        }
        let more = ["-o", &format!("BindAddress={EVE}"), "-o", &host];
        assert!(!sftp(&site, home.path(), "pwd\n", &more).ok(), "no route is for {EVE}");
        lock.await_login("ssh", "refused", EVE);
    }
}

#[test]
fn untrusted_addresses_are_refused_with_and_without_a_header() {
    let lock = start(SOURCE);
    let way = lock.way("plain", "send-proxy-v2");
    let data_way = lock.data_way("send-proxy-v2");
    let _haproxy = HaProxy::start(&[way, data_way][..]);
    let forged = format!("PROXY TCP4 {ANNA} {ADDRESS} 5000 21\r\n");
    let front = lock.gateway.address("plain");
    for said in [forged.as_bytes(), HEALTH_CHECK, b"USER x\r\n", b""] {
        let mut tcp = dial_from(ip(EVE), front).expect("connecting");
        // It may be closed already.
        let _ = tcp.write_all(said);
        assert_eq!(rest(tcp), b"");
    }
    // A proxy that forgets the header, and one whose header is broken.
    for said in [&b"USER x\r\n"[..], b"PROXY TCP4 ::1 ::1 1 1\r\n"] {
        let mut tcp = dial_from(ip(SOURCE), front).expect("connecting");
        tcp.write_all(said).expect("sending");
        assert_eq!(rest(tcp), b"");
    }
    assert_eq!(lock.gateway.metric(REFUSED), Some(6));
    let told = |words: &'static str| {
        lock.gateway.await_log(
            move |event| {
                event["message"] == "connection refused"
                    && event["level"] == "INFO"
                    && event["refusal"].as_str().is_some_and(|why| why.contains(words))
            },
            SOON,
        )
    };
    let event = told("none of the networks of `proxy_protocol`");
    assert!(event["from"].as_str().is_some_and(|from| is_of(from, EVE)), "{event}");
    told("does not start with");
    told("is malformed");
}

#[test]
fn a_forged_data_connection_is_refused_and_does_not_disturb_the_transfer() {
    let lock = start(SOURCE);
    let ways = [lock.way("plain", "send-proxy-v2"), lock.data_way("send-proxy-v2")];
    let _haproxy = HaProxy::start(&ways);
    std::fs::write(lock.folder.path().join("there"), "secret").expect("writing a file");
    let mut anna = client(ANNA, address(&ways[0]));
    anna.expect("EPSV", 229);
    let port = SocketAddr::new(ip("127.0.0.1"), lock.port);
    let forged = format!("PROXY TCP4 {ANNA} {ADDRESS} 5000 21\r\n");
    let mut eve = dial_from(ip(EVE), port).expect("connecting");
    let _ = eve.write_all(forged.as_bytes());
    assert_eq!(rest(eve), b"");
    // From the proxy, and no client's.
    for said in [HEALTH_CHECK, b"GET / HTTP/1.1\r\n"] {
        let mut tcp = dial_from(ip(SOURCE), port).expect("connecting");
        tcp.write_all(said).expect("sending");
        assert_eq!(rest(tcp), b"");
    }
    let mut data =
        dial_from(ip(ANNA), SocketAddr::new(ip(ADDRESS), lock.port)).expect("connecting");
    anna.expect("RETR there", 150);
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).expect("reading a file");
    assert_eq!((bytes.as_slice(), anna.read().code), (&b"secret"[..], 226));
    // The health check is none of them.
    assert_eq!(lock.gateway.metric(STRAYS), Some(2));
    assert_eq!(lock.gateway.metric(REFUSED_DATA), Some(2));
}

#[test]
fn clients_with_ipv6_addresses_behind_haproxy() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let lock = start(SOURCE);
        let ways = [lock.way("plain", version), lock.data_way(version)].map(|way| {
            let more = format!("  bind [{CLARA}]:{}\n", way.port);
            Way { more, ..way }
        });
        let _haproxy = HaProxy::start(&ways);
        let front = SocketAddr::new(ip(CLARA), address(&ways[0]).port());
        let mut clara = client(CLARA, front);
        // From IPv4, at the same port.
        let mut anna = client(ANNA, address(&ways[0]));
        let bytes = pattern(100_000);
        let mut of_anna = anna.begin("STOR annas");
        assert_eq!(clara.upload("STOR claras", &bytes).code, 226);
        assert!(lock.get("claras") == bytes, "the file differs");
        let (back, reply) = clara.download("RETR claras");
        assert!(reply.code == 226 && back == bytes, "{}", reply.text);
        // PASV has no room for such an address.
        clara.expect("PASV", 425);
        of_anna.write_all(b"annas").expect("sending a file");
        drop(of_anna);
        assert_eq!(anna.read().code, 226);
        assert_eq!(lock.get("annas"), b"annas");
        let event = lock.gateway.await_log(|event| event["event"] == "login", SOON);
        assert!(event["peer"].as_str().is_some_and(|peer| peer.starts_with("[::1]:")), "{event}");
        assert_eq!(lock.gateway.metric(STRAYS), Some(0));
    }
}

#[test]
fn haproxys_health_checks_are_not_counted_as_strays() {
    for checked in ["send-proxy check inter 50ms fall 1", "send-proxy-v2 check inter 50ms fall 1"] {
        let lock = start(SOURCE);
        let front = Way {
            more: "  option tcp-check\n  tcp-check expect string 220\n".into(),
            ..lock.way("plain", checked)
        };
        // A check needs a port of its own to be told.
        let data = Way { to: lock.port.to_string(), ..lock.data_way(checked) };
        let ways = [front, data];
        let haproxy = HaProxy::start(&ways);
        haproxy.await_check("plain", "L7OK");
        haproxy.await_check("data", "L4OK");
        let mut anna = client(ANNA, address(&ways[0]));
        assert_eq!(anna.upload("STOR new", b"bytes").code, 226);
        assert_eq!(lock.get("new"), b"bytes");
        assert_eq!(lock.gateway.metric(STRAYS), Some(0), "{checked}");
        assert_eq!(lock.gateway.metric(REFUSED), Some(0), "{checked}");
        assert_eq!(lock.gateway.metric(REFUSED_DATA), Some(0), "{checked}");
    }
}

/// A gateway before `behind`, which is told who its clients are.
fn before(behind: &Lock) -> Gateway {
    let pool = ports::block(8);
    let fingerprint = &keys().fingerprints[0];
    let port = |listener: &str| behind.gateway.address(listener).port();
    Gateway::start(&format!(
        "listeners:\n  \
         ftp: {{ protocol: ftp, address: \"127.0.0.9:0\", data_ports: pool }}\n  \
         secure: {{ protocol: ftp, address: \"127.0.0.9:0\", data_ports: pool }}\n  \
         ssh: {{ protocol: sftp, address: \"127.0.0.9:0\", host_keys: {host_keys} }}\n  \
         ssh-to-ftp: {{ protocol: sftp, address: \"127.0.0.9:0\", host_keys: {host_keys} }}\n\
         data_ports:\n  pool: {{ range: {}-{}, listen: [\"127.0.0.9\"] }}\n\
         backends:\n  \
         ftp: {{ protocol: ftp, address: \"127.0.0.1:{}\", send_proxy_protocol: all }}\n  \
         secure: {{ protocol: ftp, address: \"127.0.0.1:{}\", send_proxy_protocol: all, \
         tls: {{ mode: required, ca: {}, server_name: localhost }} }}\n  \
         ssh: {{ protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{fingerprint}\", \
         send_proxy_protocol: control }}\n\
         routes:\n  \
         - {{ match: {{ listeners: [ftp, ssh-to-ftp] }}, authenticate: backend, backend: ftp }}\n  \
         - {{ match: {{ listeners: [secure] }}, authenticate: backend, backend: secure }}\n  \
         - {{ authenticate: backend, backend: ssh }}\n",
        pool.start(),
        pool.end(),
        port("plain"),
        port("secure"),
        pki().ca.display(),
        port("ssh"),
        host_keys = host_keys(),
    ))
}

#[test]
fn a_gateway_sends_the_clients_address_to_the_next_one() {
    // The first one connects from here.
    let behind = start("127.0.0.1");
    let first = before(&behind);
    for (listener, theirs) in [("ftp", "plain"), ("secure", "secure")] {
        let mut anna = client(ANNA, first.address(listener));
        let mut ben = client(BEN, first.address(listener));
        for (raw, from) in [(&mut anna, ANNA), (&mut ben, BEN)] {
            let bytes = pattern(200_000 + from.len());
            assert_eq!(raw.upload(&format!("STOR {from}"), &bytes).code, 226);
            assert!(behind.get(from) == bytes, "the file differs");
            let (back, reply) = raw.download(&format!("RETR {from}"));
            assert!(reply.code == 226 && back == bytes, "{}", reply.text);
            behind.await_login(theirs, "ok", from);
        }
        anna.expect("QUIT", 221);
        ben.expect("QUIT", 221);
        let (mut eve, _) = Raw::connect_from(ip(EVE), first.address(listener)).expect("connecting");
        eve.expect(&format!("USER {USER}"), 331);
        eve.expect(&format!("PASS {PASSWORD}"), 530);
        behind.await_login(theirs, "refused", EVE);
    }
    for (listener, theirs) in [("ssh", "ssh"), ("ssh-to-ftp", "plain")] {
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("up"), pattern(100_000)).expect("writing a file");
        let site = SftpSite::new(first.address(listener).port());
        let bind = format!("BindAddress={ANNA}");
        let host = format!("HostName={ADDRESS}");
        let batch = "put up over-ssh\nget over-ssh back\n";
        sftp(&site, home.path(), batch, &["-o", &bind, "-o", &host]).expect_ok(listener);
        assert!(behind.get("over-ssh") == pattern(100_000), "the file differs: {listener}");
        let back = std::fs::read(home.path().join("back")).expect("reading a file");
        assert!(back == pattern(100_000), "the file came back different: {listener}");
        behind.await_login(theirs, "ok", ANNA);
    }
    assert_eq!(behind.gateway.metric(STRAYS), Some(0));
}

/// A client that is cut is cut for lockgate too: HAProxy hands a reset on.
#[test]
fn a_reset_behind_haproxy_leaves_an_upload_incomplete() {
    const SENT: usize = 300_000;
    let lock = start(SOURCE);
    let ways = [lock.way("plain", "send-proxy-v2"), lock.data_way("send-proxy-v2")];
    let _haproxy = HaProxy::start(&ways);
    let mut anna = client(ANNA, address(&ways[0]));
    let mut data = anna.begin("STOR cut");
    data.write_all(&pattern(SENT)).expect("sending a part");
    let there = || std::fs::metadata(lock.folder.path().join("cut")).map_or(0, |file| file.len());
    assert!(comes_true(|| there() == SENT as u64), "{} bytes are there", there());
    <Wire>::Plain(data).reset();
    assert_eq!(anna.read().code, 426);
    assert!(lock.get("cut") == pattern(SENT), "the part differs");
}

/// The client's own address is the header's; the gateway connects from an address that it has.
#[test]
fn active_mode_bypasses_haproxy() {
    let lock = start(SOURCE);
    let ways = [lock.way("plain", "send-proxy-v2")];
    let _haproxy = HaProxy::start(&ways);
    std::fs::write(lock.folder.path().join("there"), "secret").expect("writing a file");
    let mut anna = client(ANNA, address(&ways[0]));
    let listener = TcpListener::bind((ip(ANNA), 0)).expect("listening");
    let port = listener.local_addr().expect("an address").port();
    let ports = format!("{},{}", port >> 8, port & 0xff);
    anna.expect(&format!("PORT 127,0,0,9,{ports}"), 504);
    anna.expect(&format!("PORT 127,0,0,3,{ports}"), 200);
    anna.send_bytes(b"RETR there\r\n");
    let (mut data, from) = listener.accept().expect("a data connection");
    assert_eq!(from.ip(), ip("127.0.0.1"));
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).expect("reading a file");
    assert_eq!((anna.read().code, anna.read().code, bytes.as_slice()), (150, 226, &b"secret"[..]));
}
