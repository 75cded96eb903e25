//! The guard against guessing: bans, what counts, and that honest logins are not held up.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::TIMEOUT;
use crate::support::backend_fixture::host_keys;
use crate::support::clients::{SftpSite, openssh};
use crate::support::gateway::{Gateway, PROGRAM};
use crate::support::pki::pki;
use crate::support::process::{Output, run};
use crate::support::raw::{Raw, dial, dial_from};
use crate::support::ssh::{accepts_password, keys, public};
use crate::support::wait::becomes_true;
use crate::support::{PASSWORD, USER, argon2_hash, argon2_hash_with};

const ATTACKER: &str = "127.0.0.5";
const HONEST: &str = "127.0.0.6";
const REFUSED_FTP: &str = "lockgate_clients_refused_total{listener=\"front\",reason=\"banned\"}";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A gateway for FTP, FTPS and SFTP, and its folder. `guard`: keys of `login_guard`; `more`: lines of the
/// configuration.
fn start(guard: &str, more: &str) -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n  \
         implicit: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }}, \
         tls: {{ mode: implicit, certificate: {}, key: {} }} }}\n  \
         ssh: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  files: {{ protocol: local, folder: {:?} }}\n\
         login_guard: {{ {guard} }}\n\
         admin: {{ socket: admin.sock }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n{more}",
        pki().certificate.display(),
        pki().key.display(),
        host_keys(),
        folder.path(),
    ));
    (gateway, folder)
}

fn users() -> String {
    format!(
        "users:\n  {USER}: {{ password_hash: \"{}\", authorized_keys: {} }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n",
        argon2_hash(),
        public(&keys().user).display(),
    )
}

/// A wrong password, each on a connection of its own; the code of the reply.
fn guess(gateway: &Gateway, from: &str, user: &str) -> u16 {
    let connected = Raw::connect_from(ip(from), gateway.address("front"));
    let (mut raw, greeting) = connected.expect("connecting from an address of 127.0.0.0/8");
    if greeting.code != 220 {
        return greeting.code;
    }
    raw.expect(&format!("USER {user}"), 331);
    raw.command("PASS wrong").code
}

fn bans(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("bans").arg("--config").arg(gateway.folder().join("lockgate.yaml")).args(arguments);
    run(&mut command, b"", TIMEOUT)
}

#[test]
fn guesses_ban_an_address_at_every_listener_until_the_ban_is_lifted() {
    let (gateway, folder) = start("never_ban: 192.0.2.1, max_failures: 4", &users());
    for user in ["a", "b", "c", USER] {
        assert_eq!(guess(&gateway, ATTACKER, user), 530);
    }
    let ban = gateway.await_log(|event| event["event"] == "ban", TIMEOUT);
    assert_eq!((&ban["source"], &ban["failures"]), (&ATTACKER.into(), &4.into()));
    // FTP: told in clear. FTPS: closed before TLS.
    let front = gateway.address("front");
    let (_, refusal) = Raw::connect_from(ip(ATTACKER), front).expect("a connection");
    assert!(
        refusal.text.starts_with("421 ") && refusal.text.contains("too many failed logins"),
        "{refusal:?}"
    );
    let mut implicit = dial_from(ip(ATTACKER), gateway.address("implicit")).expect("a connection");
    assert_eq!(implicit.read(&mut [0; 100]).expect("the end"), 0);
    // SSH: before any key exchange, with words for the user.
    let mut site = SftpSite::new(gateway.address("ssh").port());
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "/dev/null", "-b", ATTACKER, "-p", &site.port.to_string(), "127.0.0.1"]);
    let attempt = run(&mut ssh, b"", TIMEOUT);
    let said = String::from_utf8_lossy(&attempt.stderr);
    assert!(!attempt.ok() && said.contains("too many failed logins from your address"), "{said}");
    // Each is counted, none is logged.
    assert_eq!(gateway.metric(REFUSED_FTP), Some(1));
    let of = |listener: &str| REFUSED_FTP.replace("front", listener);
    assert_eq!((gateway.metric(&of("implicit")), gateway.metric(&of("ssh"))), (Some(1), Some(1)));
    assert_eq!(gateway.metric("lockgate_banned_addresses"), Some(1));
    assert!(!gateway.log_tail(usize::MAX).contains("client-refused"));
    // Others are not concerned.
    Raw::connect_from(ip(HONEST), front).expect("a connection").0.login(USER, PASSWORD);
    USER.clone_into(&mut site.user);
    openssh::sftp(&site, folder.path(), "pwd\n", &[]).expect_ok("another address");

    let table = bans(&gateway, &[]).expect_ok("listing the bans");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with(ATTACKER)), "{table}");
    let json: serde_json::Value =
        serde_json::from_slice(&bans(&gateway, &["--json"]).stdout).expect("JSON");
    assert_eq!(json["bans"][0]["source"], ATTACKER);
    assert!(!bans(&gateway, &["--lift", HONEST]).ok(), "{HONEST} is not banned");
    bans(&gateway, &["--lift", ATTACKER]).expect_ok("lifting the ban");
    Raw::connect_from(ip(ATTACKER), front).expect("a connection").0.login(USER, PASSWORD);
    assert_eq!(gateway.metric("lockgate_banned_addresses"), Some(0));
}

/// Behind a load balancer the header's address counts; the balancer's own is never banned.
#[test]
fn the_address_of_the_proxy_header_is_banned_and_never_the_proxys() {
    let proxied = "listeners:\n  proxied: { protocol: ftp, address: \"127.0.0.1:0\", active: { allowed: true }, \
                   proxy_protocol: [127.0.0.0/8] }\n";
    let gateway = Gateway::start(&format!(
        "{proxied}backends:\n  files: {{ protocol: local, folder: /tmp }}\n\
         login_guard: {{ never_ban: 192.0.2.1, max_failures: 3 }}\n{}",
        users()
    ));
    let guess = |client: &str| {
        let mut tcp = BufReader::new(dial(gateway.address("proxied")));
        let header = format!("PROXY TCP4 {client} 192.0.2.2 1234 21\r\n");
        tcp.get_mut().write_all(header.as_bytes()).expect("sending a header");
        let mut reply = String::new();
        for command in ["", "USER someone\r\n", "PASS wrong\r\n"] {
            tcp.get_mut().write_all(command.as_bytes()).expect("sending a command");
            reply.clear();
            tcp.read_line(&mut reply).expect("a reply");
            if reply.starts_with("421") {
                break;
            }
        }
        reply[..3].to_owned()
    };
    let replies: Vec<_> = (0..4).map(|_| guess("198.51.100.7")).collect();
    assert_eq!(replies, ["530", "530", "530", "421"]);
    assert_eq!(guess("198.51.100.8"), "530");
    assert!((0..5).all(|_| guess("127.0.0.9") == "530"));
}

/// An agent with many keys, and a key that is right after wrong ones.
#[test]
fn ssh_counts_connections_not_offered_keys() {
    let (gateway, folder) = start("never_ban: 192.0.2.1, max_failures: 3", &users());
    let site = SftpSite::new(gateway.address("ssh").port());
    let stranger = |n: usize| {
        let path = folder.path().join(format!("key{n}"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path);
        run(&mut keygen, b"", TIMEOUT).expect_ok("making a key");
        path
    };
    let strangers: Vec<_> = (0..4).map(stranger).collect();
    let connect = |last: Option<&Path>| {
        let mut site = SftpSite::new(site.port);
        site.key = Some(strangers[0].clone());
        let others = strangers[1..].iter().map(PathBuf::as_path).chain(last);
        let more: Vec<_> = others.flat_map(|key| ["-i", key.to_str().expect("a name")]).collect();
        openssh::sftp(&site, folder.path(), "pwd\n", &more)
    };
    // Four refused keys, then the right one: no failure at all.
    for _ in 0..2 {
        connect(Some(&keys().user)).expect_ok("the last key is the user's");
    }
    // Four refused keys are one failure.
    for _ in 0..2 {
        assert!(!connect(None).ok());
    }
    assert_eq!(gateway.metric("lockgate_bans_total"), Some(0));
    assert!(!connect(None).ok());
    gateway.await_log(|event| event["event"] == "ban", TIMEOUT);
    assert_eq!(gateway.metric("lockgate_bans_total"), Some(1));
}

#[test]
fn an_unreachable_backend_is_no_guess_but_a_refusal_of_one_is() {
    let (backend, _files) = start("never_ban: 192.0.2.1", &users());
    let routes = format!(
        "  down: {{ protocol: ftp, address: \"127.0.0.1:1\" }}\n  up: {{ protocol: ftp, address: \"{}\" }}\n\
         routes:\n  - {{ match: {{ users: down }}, authenticate: backend, backend: down }}\n  \
         - {{ authenticate: backend, backend: up }}\n",
        backend.address("front")
    );
    let gateway = Gateway::start(&format!(
        "listeners:\n  front: {{ protocol: ftp, address: \"127.0.0.1:0\", active: {{ allowed: true }} }}\n\
         login_guard: {{ never_ban: 192.0.2.1, max_failures: 3 }}\n\
         metrics: {{ address: \"127.0.0.1:0\" }}\n\
         backends:\n{routes}",
    ));
    for _ in 0..6 {
        assert_eq!(guess(&gateway, ATTACKER, "down"), 421);
    }
    assert_eq!(gateway.metric("lockgate_failed_login_addresses"), Some(0));
    for _ in 0..3 {
        assert_eq!(guess(&gateway, ATTACKER, "someone"), 530);
    }
    assert_eq!(guess(&gateway, ATTACKER, "someone"), 421);
    assert_eq!(gateway.metric("lockgate_bans_total"), Some(1));
}

/// An honest login waits for its turn among addresses, not behind all guesses of another. The checks between
/// are counted, not timed.
#[test]
fn an_honest_login_does_not_wait_behind_the_guesses_of_another_address() {
    let text = users().replace(&argon2_hash(), &argon2_hash_with(64 * 1024));
    let (gateway, _folder) = start("never_ban: 192.0.2.1, max_failures: 100", &text);
    let front = gateway.address("front");
    let mut guesses: Vec<_> = (0..40)
        .map(|n| {
            let (mut raw, _) = Raw::connect_from(ip(ATTACKER), front).expect("a connection");
            raw.expect(&format!("USER guess{n}"), 331);
            raw
        })
        .collect();
    let (mut honest, _) = Raw::connect_from(ip(HONEST), front).expect("a connection");
    honest.expect(&format!("USER {USER}"), 331);
    guesses.iter_mut().for_each(|raw| raw.send_bytes(b"PASS wrong\r\n"));
    let waiting = || gateway.metric("lockgate_password_checks_waiting").expect("the gauge");
    assert!(
        becomes_true(|| waiting() >= 20),
        "the guesses do not wait: the test needs a hash that costs more"
    );
    honest.expect(&format!("PASS {PASSWORD}"), 230);
    // Most guesses still wait.
    assert!(waiting() >= 10, "{} guesses were checked before", 40 - waiting());
}

/// What differs for a name that nobody has is neither the words nor the work: each login costs one hash, of the
/// kinds that users have.
#[test]
fn sixty_unknown_names_cost_what_sixty_known_ones_do() {
    const MD5: &str = "$1$saltsalt$Yo6tRKYGO/jWyb1etwHDS/";
    const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";
    let mut text = String::from("users:\n");
    for n in 0..60 {
        let hash = if n % 2 == 0 { MD5 } else { BCRYPT };
        writeln!(text, "  known{n}: {{ password_hash: \"{hash}\" }}").expect("writing to a string");
    }
    text.push_str("routes:\n  - { authenticate: gateway, backend: files }\n");
    text.push_str("limits: { sessions_per_address: 1000 }\n");
    let (gateway, _folder) = start("never_ban: 127.0.0.0/8", &text);
    let computed = || {
        ["md5-crypt", "bcrypt"].map(|scheme| {
            let series = format!("lockgate_password_checks_total{{scheme=\"{scheme}\"}}");
            gateway.metric(&series).unwrap_or(0)
        })
    };
    for (listener, sample) in [("front", ftp_sample as Sample), ("ssh", ssh_sample)] {
        let address = gateway.address(listener);
        let mut medians = Vec::new();
        for kind in ["known", "unknown"] {
            let before = computed();
            medians.push(median_of_sixty(kind, address, sample));
            let after = computed();
            let cost = [after[0] - before[0], after[1] - before[1]];
            assert_eq!(cost[0] + cost[1], 60, "{listener}, {kind}: {cost:?}");
            // Unknown names are spread as known ones are: within 5 sigma.
            assert!((11..=49).contains(&cost[0]), "{listener}, {kind}: {cost:?}");
        }
        let (least, most) = (medians[0].min(medians[1]), medians[0].max(medians[1]));
        assert!(most < least * 2, "{listener}: {medians:?}");
    }
}

type Sample = fn(SocketAddr, IpAddr, &str) -> Duration;

/// Each from an address of its own, some at a time.
fn median_of_sixty(kind: &str, to: SocketAddr, sample: Sample) -> Duration {
    let threads: Vec<_> = (0..6)
        .map(|thread| {
            let kind = kind.to_owned();
            let one = move |n: u8| {
                let from = IpAddr::from([127, 0, 1, 10 * thread + n]);
                sample(to, from, &format!("{kind}{}", 10 * thread + n))
            };
            thread::spawn(move || (0..10).map(one).collect::<Vec<_>>())
        })
        .collect();
    let mut times: Vec<_> =
        threads.into_iter().flat_map(|it| it.join().expect("a sample")).collect();
    times.sort();
    times[times.len() / 2]
}

fn ftp_sample(to: SocketAddr, from: IpAddr, user: &str) -> Duration {
    let (mut raw, _) = Raw::connect_from(from, to).expect("a connection");
    raw.expect(&format!("USER {user}"), 331);
    let started = Instant::now();
    assert_eq!(raw.expect("PASS wrong", 530).text, "530 Login incorrect.\r\n");
    started.elapsed()
}

fn ssh_sample(to: SocketAddr, _: IpAddr, user: &str) -> Duration {
    let started = Instant::now();
    assert_eq!(accepts_password(to, user, "wrong", TIMEOUT), Some(false));
    started.elapsed()
}
