//! Memory is a design number: what an idle session costs.

use std::fmt::Write as _;
use std::thread;

use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::raw::Raw;
use crate::support::{PASSWORD, USER, argon2_hash, argon2_hash_with, ports};

const SESSIONS: usize = 400;
/// KiB an idle session may cost, logged in, its backend's control connection included. Some of what
/// is measured is the allocator's; tests/README.md has the figures.
const PLAIN: usize = 32;
const TLS: usize = 64;

/// KiB that password checks may leave behind. One costs 19 MiB while it lasts.
const CHECKS: usize = 16 * 1024;

/// The server behind, in a process of its own: its memory must not be counted.
fn legacy(folder: &std::path::Path, hash: &str) -> Gateway {
    Gateway::start(&format!(
        "listeners:\n  legacy: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool }}\n\
         data_ports:\n  pool: {{ range: {}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  files: {{ protocol: local, folder: {folder:?} }}\n\
         users:\n  {USER}: {{ password_hash: \"{hash}\" }}\n\
         routes:\n  - {{ authenticate: gateway, backend: files }}\n\
         limits: {{ sessions_per_address: 10000 }}\n",
        ports::one(),
    ))
}

fn front(legacy: &Gateway) -> Gateway {
    let mut yaml = String::from("listeners:\n");
    for (name, mode) in [("plain", "none"), ("tls", "required")] {
        let files = match mode {
            "none" => String::new(),
            _ => format!(
                ", certificate: {}, key: {}",
                pki().certificate.display(),
                pki().key.display()
            ),
        };
        writeln!(
            yaml,
            "  {name}: {{ protocol: ftp, address: \"127.0.0.1:0\", data_ports: pool, \
             tls: {{ mode: {mode}{files} }} }}"
        )
        .expect("writing to a string");
    }
    Gateway::start(&format!(
        "{yaml}data_ports:\n  pool: {{ range: {}, listen: [\"127.0.0.1\"] }}\n\
         backends:\n  legacy: {{ protocol: ftp, address: \"{}\" }}\n\
         routes:\n  - {{ authenticate: backend, backend: legacy }}\n\
         limits: {{ sessions_per_address: 10000 }}\n",
        ports::one(),
        legacy.address("legacy"),
    ))
}

fn sessions(gateway: &Gateway, listener: &str, count: usize) -> Vec<Raw> {
    let session = |_| {
        let (mut client, greeting) = Raw::connect(gateway.address(listener));
        assert_eq!(greeting.code, 220, "{}", greeting.text);
        if listener == "tls" {
            client.auth_tls();
        }
        client.login(USER, PASSWORD);
        client
    };
    (0..count).map(session).collect()
}

#[test]
fn an_idle_session_is_small() {
    let folder = tempfile::tempdir().expect("a folder");
    let legacy = legacy(folder.path(), &argon2_hash());
    for (listener, allowed) in [("plain", PLAIN), ("tls", TLS)] {
        let gateway = front(&legacy);
        // What is made once, by the first sessions, is no session's. They stay: what they gave back
        // would hide what the others take.
        let _first = sessions(&gateway, listener, 8);
        let before = gateway.resident_kib();
        let open = sessions(&gateway, listener, SESSIONS);
        let each = gateway.resident_kib().saturating_sub(before) / open.len();
        println!("{listener}: {each} KiB an idle session ({before} KiB before)");
        assert!(each <= allowed, "{listener}: {each} KiB an idle session, {allowed} are allowed");
    }
}

#[test]
fn password_checks_give_their_memory_back() {
    let folder = tempfile::tempdir().expect("a folder");
    // With argon2's usual memory.
    let hash = argon2_hash_with(19 * 1024);
    let gateway = legacy(folder.path(), &hash);
    let login = || drop(sessions(&gateway, "legacy", 1));
    let before = gateway.resident_kib();
    thread::scope(|scope| {
        // Many at once, so that many of the gateway's threads have their turn.
        for _ in 0..8 {
            scope.spawn(|| (0..4).for_each(|_| login()));
        }
    });
    let left = gateway.resident_kib().saturating_sub(before);
    println!("{left} KiB left behind by 32 password checks ({before} KiB before)");
    assert!(left <= CHECKS, "{left} KiB left behind, {CHECKS} are allowed");
}
