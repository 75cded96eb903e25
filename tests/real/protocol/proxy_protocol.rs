//! The PROXY protocol: HAProxy sends headers with the client's address on control and data connections;
//! one gateway sends them to another.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::backend_fixture::host_keys;
use crate::support::clients::openssh::sftp;
use crate::support::clients::{SftpSite, Site, TlsVersion, curl};
use crate::support::gateway::Gateway;
use crate::support::haproxy::{ADDRESS, HaProxy, ListenSection, SOURCE};
use crate::support::pki::pki;
use crate::support::process::run;
use crate::support::raw::{Raw, Wire, dial_from};
use crate::support::ssh::keys;
use crate::support::wait::becomes_true;
use crate::support::{DataMode, PASSWORD, Tls, USER, argon2_hash, pattern, ports};

const ANNA: &str = "127.0.0.3";
const BEN: &str = "127.0.0.4";
const CLARA: &str = "::1";
/// A client address without a route.
const EVE: &str = "127.0.0.5";
/// LOCAL, version 2.
const HEALTH_CHECK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const STRAYS: &str = "lockgate_data_ports_stray_total{pool=\"pool\"}";
const REFUSED_DATA: &str = "lockgate_data_ports_proxy_protocol_refused_total{pool=\"pool\"}";
const REFUSED: &str = "lockgate_proxy_protocol_refused_total{listener=\"plain\"}";

/// A gateway that accepts connections from HAProxy only and uses the addresses of its headers.
struct Fixture {
    gateway: Gateway,
    folder: TempDir,
    /// The one data port.
    port: u16,
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn start(trusted: &str) -> Fixture {
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
    Fixture { gateway, folder, port }
}

impl Fixture {
    fn section(&self, listener: &'static str, server: &'static str) -> ListenSection {
        let to = self.gateway.address(listener).port().to_string();
        ListenSection {
            name: listener,
            port: ports::one().to_string(),
            to,
            server,
            more: String::new(),
        }
    }

    fn data_section(&self, server: &'static str) -> ListenSection {
        let (port, to) = (self.port.to_string(), String::new());
        ListenSection { name: "data", port, to, server, more: String::new() }
    }

    fn await_login(&self, listener: &str, outcome: &str, client: &str) {
        self.gateway.await_log(
            |event| {
                event["event"] == "login"
                    && event["listener"] == listener
                    && event["outcome"] == outcome
                    && event["peer"].as_str().is_some_and(|peer| is_of(peer, client))
            },
            TIMEOUT,
        );
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).expect("reading a file")
    }
}

fn is_of(peer: &str, client: &str) -> bool {
    peer.split(':').next() == Some(client)
}

fn address(section: &ListenSection) -> SocketAddr {
    SocketAddr::new(ip(ADDRESS), section.port.parse().expect("a port"))
}

fn client(from: &str, to: SocketAddr) -> Raw {
    let (mut raw, greeting) = Raw::connect_from(ip(from), to).expect("connecting");
    assert_eq!(greeting.code, 220, "{}", greeting.text);
    raw.login(USER, PASSWORD);
    raw.expect("TYPE I", 200);
    raw
}

/// The remaining bytes until the peer closes.
fn rest(mut tcp: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is also an end.
    let _ = tcp.read_to_end(&mut bytes);
    bytes
}

#[test]
fn plain_clients_behind_haproxy_share_a_data_port() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let fixture = start(SOURCE);
        let sections = [fixture.section("plain", version), fixture.data_section(version)];
        let _haproxy = HaProxy::start(&sections);
        let front = address(&sections[0]);
        let mut anna = client(ANNA, front);
        let mut ben = client(BEN, front);
        // The address that the client connected to, not HAProxy.
        let named = format!("(127,0,0,9,{},{}).", fixture.port >> 8, fixture.port & 0xff);
        for raw in [&mut anna, &mut ben] {
            let reply = raw.expect("PASV", 227);
            assert!(reply.text.contains(&named), "{}", reply.text);
        }
        // A stranger's connection through HAProxy uses up nothing.
        let data = SocketAddr::new(ip(ADDRESS), fixture.port);
        assert_eq!(rest(dial_from(ip(EVE), data).expect("connecting")), b"");
        let of_ben = dial_from(ip(BEN), data).expect("connecting");
        let of_anna = dial_from(ip(ANNA), data).expect("connecting");
        for (raw, mut data, name) in [(&mut anna, of_anna, "anna"), (&mut ben, of_ben, "ben")] {
            raw.expect(&format!("STOR {name}"), 150);
            data.write_all(&pattern(300_000)[name.len()..]).expect("sending a file");
            drop(data);
            assert_eq!(raw.read().code, 226);
            assert!(fixture.get(name) == pattern(300_000)[name.len()..], "{name} differs");
            let (back, reply) = raw.download(&format!("RETR {name}"));
            assert_eq!(reply.code, 226);
            assert!(back == pattern(300_000)[name.len()..], "{name} came back different");
            // Empty: the connection carried only the header.
            assert_eq!(raw.upload("STOR empty", b"").code, 226);
            assert_eq!(fixture.get("empty"), b"");
        }
        assert_eq!(fixture.gateway.metric(STRAYS), Some(1));
        assert_eq!(
            (fixture.gateway.metric(REFUSED_DATA), fixture.gateway.metric(REFUSED)),
            (Some(0), Some(0))
        );
        fixture.await_login("plain", "ok", ANNA);
        fixture.await_login("plain", "ok", BEN);
        // Limits and routes apply to the client's address.
        let (_, greeting) = Raw::connect_from(ip(ANNA), front).expect("connecting");
        assert_eq!(greeting.code, 421, "{}", greeting.text);
        let (mut eve, _) = Raw::connect_from(ip(EVE), front).expect("connecting");
        eve.expect(&format!("USER {USER}"), 331);
        eve.expect(&format!("PASS {PASSWORD}"), 530);
        fixture.await_login("plain", "refused", EVE);
    }
}

#[test]
fn curl_with_tls_behind_haproxy() {
    let fixture = start(SOURCE);
    let version = "send-proxy-v2";
    let sections = [
        fixture.section("secure", version),
        fixture.section("implicit", version),
        fixture.data_section(version),
    ];
    let _haproxy = HaProxy::start(&sections);
    let bytes = pattern(500_000);
    for (section, tls) in [(&sections[0], Tls::Explicit), (&sections[1], Tls::Implicit)] {
        let site = Site::new(address(section).port(), tls);
        for data in [DataMode::Pasv, DataMode::Epsv] {
            let home = tempfile::tempdir().expect("a client's home");
            std::fs::write(home.path().join("up"), &bytes).expect("writing a file");
            let options = curl::CurlOptions { data, tls: TlsVersion::Newest };
            let curl = || -> Command {
                let mut command = curl::curl(&site, options, home.path());
                let balancer = format!("localhost:{}:{ADDRESS}", site.port);
                command.args(["--interface", ANNA, "--resolve", &balancer]);
                command.arg("--no-ftp-skip-pasv-ip");
                command
            };
            let url = curl::url(&site, "file");
            run(curl().args(["-T", "up", &url]), b"", TIMEOUT).expect_ok("uploading");
            assert!(fixture.get("file") == bytes, "the file differs: {tls:?} {data:?}");
            let back = run(curl().arg(&url), b"", TIMEOUT).expect_ok("downloading").stdout;
            assert!(back == bytes, "the file came back different: {tls:?} {data:?}");
        }
        fixture.await_login(section.name, "ok", ANNA);
    }
    assert_eq!(fixture.gateway.metric(STRAYS), Some(0));
}

#[test]
fn sftp_behind_haproxy() {
    let fixture = start(SOURCE);
    for version in ["send-proxy", "send-proxy-v2"] {
        let section = fixture.section("ssh", version);
        let _haproxy = HaProxy::start(std::slice::from_ref(&section));
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("up"), pattern(100_000)).expect("writing a file");
        let site = SftpSite::new(address(&section).port());
        let host = format!("HostName={ADDRESS}");
        for from in [ANNA, BEN] {
            let more = ["-o", &format!("BindAddress={from}"), "-o", &host];
            sftp(&site, home.path(), &format!("put up {from}\n"), &more).expect_ok("uploading");
            assert!(fixture.get(from) == pattern(100_000), "the file differs");
            fixture.await_login("ssh", "ok", from);
        }
        let more = ["-o", &format!("BindAddress={EVE}"), "-o", &host];
        assert!(!sftp(&site, home.path(), "pwd\n", &more).ok(), "no route is for {EVE}");
        fixture.await_login("ssh", "refused", EVE);
    }
}

#[test]
fn untrusted_addresses_are_refused_with_and_without_a_header() {
    let fixture = start(SOURCE);
    let section = fixture.section("plain", "send-proxy-v2");
    let data_section = fixture.data_section("send-proxy-v2");
    let _haproxy = HaProxy::start(&[section, data_section][..]);
    let forged = format!("PROXY TCP4 {ANNA} {ADDRESS} 5000 21\r\n");
    let front = fixture.gateway.address("plain");
    for bytes in [forged.as_bytes(), HEALTH_CHECK, b"USER x\r\n", b""] {
        let mut tcp = dial_from(ip(EVE), front).expect("connecting");
        // It may be closed already.
        let _ = tcp.write_all(bytes);
        assert_eq!(rest(tcp), b"");
    }
    // A proxy without a header, and one with a malformed header.
    for bytes in [&b"USER x\r\n"[..], b"PROXY TCP4 ::1 ::1 1 1\r\n"] {
        let mut tcp = dial_from(ip(SOURCE), front).expect("connecting");
        tcp.write_all(bytes).expect("sending");
        assert_eq!(rest(tcp), b"");
    }
    assert_eq!(fixture.gateway.metric(REFUSED), Some(6));
    let await_refusal = |words: &'static str| {
        fixture.gateway.await_log(
            move |event| {
                event["message"] == "connection refused"
                    && event["level"] == "INFO"
                    && event["refusal"].as_str().is_some_and(|why| why.contains(words))
            },
            TIMEOUT,
        )
    };
    let event = await_refusal("none of the networks of `proxy_protocol`");
    assert!(event["from"].as_str().is_some_and(|from| is_of(from, EVE)), "{event}");
    await_refusal("does not start with");
    await_refusal("is malformed");
}

#[test]
fn a_forged_data_connection_is_refused_and_does_not_disturb_the_transfer() {
    let fixture = start(SOURCE);
    let sections =
        [fixture.section("plain", "send-proxy-v2"), fixture.data_section("send-proxy-v2")];
    let _haproxy = HaProxy::start(&sections);
    std::fs::write(fixture.folder.path().join("there"), "secret").expect("writing a file");
    let mut anna = client(ANNA, address(&sections[0]));
    anna.expect("EPSV", 229);
    let port = SocketAddr::new(ip("127.0.0.1"), fixture.port);
    let forged = format!("PROXY TCP4 {ANNA} {ADDRESS} 5000 21\r\n");
    let mut eve = dial_from(ip(EVE), port).expect("connecting");
    let _ = eve.write_all(forged.as_bytes());
    assert_eq!(rest(eve), b"");
    // A connection of the proxy itself, not of a client.
    for bytes in [HEALTH_CHECK, b"GET / HTTP/1.1\r\n"] {
        let mut tcp = dial_from(ip(SOURCE), port).expect("connecting");
        tcp.write_all(bytes).expect("sending");
        assert_eq!(rest(tcp), b"");
    }
    let mut data =
        dial_from(ip(ANNA), SocketAddr::new(ip(ADDRESS), fixture.port)).expect("connecting");
    anna.expect("RETR there", 150);
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).expect("reading a file");
    assert_eq!((bytes.as_slice(), anna.read().code), (&b"secret"[..], 226));
    // The health check is not counted.
    assert_eq!(fixture.gateway.metric(STRAYS), Some(2));
    assert_eq!(fixture.gateway.metric(REFUSED_DATA), Some(2));
}

#[test]
fn clients_with_ipv6_addresses_behind_haproxy() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let fixture = start(SOURCE);
        let sections =
            [fixture.section("plain", version), fixture.data_section(version)].map(|section| {
                let more = format!("  bind [{CLARA}]:{}\n", section.port);
                ListenSection { more, ..section }
            });
        let _haproxy = HaProxy::start(&sections);
        let front = SocketAddr::new(ip(CLARA), address(&sections[0]).port());
        let mut clara = client(CLARA, front);
        // An IPv4 client, at the same port.
        let mut anna = client(ANNA, address(&sections[0]));
        let bytes = pattern(100_000);
        let mut of_anna = anna.begin("STOR annas");
        assert_eq!(clara.upload("STOR claras", &bytes).code, 226);
        assert!(fixture.get("claras") == bytes, "the file differs");
        let (back, reply) = clara.download("RETR claras");
        assert!(reply.code == 226 && back == bytes, "{}", reply.text);
        // PASV cannot name an IPv6 address.
        clara.expect("PASV", 425);
        of_anna.write_all(b"annas").expect("sending a file");
        drop(of_anna);
        assert_eq!(anna.read().code, 226);
        assert_eq!(fixture.get("annas"), b"annas");
        let event = fixture.gateway.await_log(|event| event["event"] == "login", TIMEOUT);
        assert!(event["peer"].as_str().is_some_and(|peer| peer.starts_with("[::1]:")), "{event}");
        assert_eq!(fixture.gateway.metric(STRAYS), Some(0));
    }
}

#[test]
fn haproxys_health_checks_are_not_counted_as_strays() {
    for checked in ["send-proxy check inter 50ms fall 1", "send-proxy-v2 check inter 50ms fall 1"] {
        let fixture = start(SOURCE);
        let front = ListenSection {
            more: "  option tcp-check\n  tcp-check expect string 220\n".into(),
            ..fixture.section("plain", checked)
        };
        // A health check needs its own port to be recognized.
        let data = ListenSection { to: fixture.port.to_string(), ..fixture.data_section(checked) };
        let sections = [front, data];
        let haproxy = HaProxy::start(&sections);
        haproxy.await_check("plain", "L7OK");
        haproxy.await_check("data", "L4OK");
        let mut anna = client(ANNA, address(&sections[0]));
        assert_eq!(anna.upload("STOR new", b"bytes").code, 226);
        assert_eq!(fixture.get("new"), b"bytes");
        assert_eq!(fixture.gateway.metric(STRAYS), Some(0), "{checked}");
        assert_eq!(fixture.gateway.metric(REFUSED), Some(0), "{checked}");
        assert_eq!(fixture.gateway.metric(REFUSED_DATA), Some(0), "{checked}");
    }
}

/// A gateway whose backend is `second` and that sends it PROXY protocol headers.
fn first_gateway(second: &Fixture) -> Gateway {
    let pool = ports::block(8);
    let fingerprint = &keys().fingerprints[0];
    let port = |listener: &str| second.gateway.address(listener).port();
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
    // The address from which the first gateway connects.
    let second = start("127.0.0.1");
    let first = first_gateway(&second);
    for (listener, theirs) in [("ftp", "plain"), ("secure", "secure")] {
        let mut anna = client(ANNA, first.address(listener));
        let mut ben = client(BEN, first.address(listener));
        for (raw, from) in [(&mut anna, ANNA), (&mut ben, BEN)] {
            let bytes = pattern(200_000 + from.len());
            assert_eq!(raw.upload(&format!("STOR {from}"), &bytes).code, 226);
            assert!(second.get(from) == bytes, "the file differs");
            let (back, reply) = raw.download(&format!("RETR {from}"));
            assert!(reply.code == 226 && back == bytes, "{}", reply.text);
            second.await_login(theirs, "ok", from);
        }
        anna.expect("QUIT", 221);
        ben.expect("QUIT", 221);
        let (mut eve, _) = Raw::connect_from(ip(EVE), first.address(listener)).expect("connecting");
        eve.expect(&format!("USER {USER}"), 331);
        eve.expect(&format!("PASS {PASSWORD}"), 530);
        second.await_login(theirs, "refused", EVE);
    }
    for (listener, theirs) in [("ssh", "ssh"), ("ssh-to-ftp", "plain")] {
        let home = tempfile::tempdir().expect("a client's home");
        std::fs::write(home.path().join("up"), pattern(100_000)).expect("writing a file");
        let site = SftpSite::new(first.address(listener).port());
        let bind = format!("BindAddress={ANNA}");
        let host = format!("HostName={ADDRESS}");
        let batch = "put up over-ssh\nget over-ssh back\n";
        sftp(&site, home.path(), batch, &["-o", &bind, "-o", &host]).expect_ok(listener);
        assert!(second.get("over-ssh") == pattern(100_000), "the file differs: {listener}");
        let back = std::fs::read(home.path().join("back")).expect("reading a file");
        assert!(back == pattern(100_000), "the file came back different: {listener}");
        second.await_login(theirs, "ok", ANNA);
    }
    assert_eq!(second.gateway.metric(STRAYS), Some(0));
}

/// HAProxy relays a client's reset: lockgate sees it, too.
#[test]
fn a_reset_behind_haproxy_leaves_an_upload_incomplete() {
    const SENT: usize = 300_000;
    let fixture = start(SOURCE);
    let sections =
        [fixture.section("plain", "send-proxy-v2"), fixture.data_section("send-proxy-v2")];
    let _haproxy = HaProxy::start(&sections);
    let mut anna = client(ANNA, address(&sections[0]));
    let mut data = anna.begin("STOR cut");
    data.write_all(&pattern(SENT)).expect("sending a part");
    let there =
        || std::fs::metadata(fixture.folder.path().join("cut")).map_or(0, |file| file.len());
    assert!(becomes_true(|| there() == SENT as u64), "{} bytes are there", there());
    <Wire>::Plain(data).reset();
    assert_eq!(anna.read().code, 426);
    assert!(fixture.get("cut") == pattern(SENT), "the part differs");
}

/// The header has the client's address; the gateway connects from its own address.
#[test]
fn active_mode_bypasses_haproxy() {
    let fixture = start(SOURCE);
    let sections = [fixture.section("plain", "send-proxy-v2")];
    let _haproxy = HaProxy::start(&sections);
    std::fs::write(fixture.folder.path().join("there"), "secret").expect("writing a file");
    let mut anna = client(ANNA, address(&sections[0]));
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
