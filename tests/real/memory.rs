//! The memory of a session has a limit by design.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::backend_fixture::host_keys;
use crate::support::clients::staged::Staged;
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::process::POLL;
use crate::support::raw::Raw;
use crate::support::servers::{endpoint, sftp_endpoint};
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, argon2_hash, argon2_hash_with, ports};

const SESSIONS: usize = 400;
/// The limit in KiB for an idle, logged-in session with its backend connection. It includes some overhead
/// of the allocator; tests/README.md has the figures.
const PLAIN: usize = 32;
const TLS: usize = 64;

/// The limit in KiB for what password checks leave allocated. A running check needs 19 MiB.
const PASSWORD_CHECKS_KIB_MAX: usize = 16 * 1024;

/// Of the test's password, by Python's hashlib and by libxcrypt.
const SCRYPT: &str =
    "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$b3yIY3NYcaiEHiI2uem8O5nHVEx0g21B2NAJkt0Uz04";
const YESCRYPT: &str = "$y$j9T$abcdefghijklmnop$BDOv1VhiuUQqsxx6QuK4f6/odLEJWe3hZ0JcUq0HGRC";

/// The server runs in its own process: its memory must not be counted.
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
        // The first sessions also allocate what is shared. They stay open: the memory that they free
        // would hide what the others allocate.
        let _first = sessions(&gateway, listener, 8);
        let before = gateway.resident_kib();
        let open = sessions(&gateway, listener, SESSIONS);
        let each = gateway.resident_kib().saturating_sub(before) / open.len();
        println!("{listener}: {each} KiB an idle session ({before} KiB before)");
        assert!(each <= allowed, "{listener}: {each} KiB an idle session, {allowed} are allowed");
    }
}

#[test]
fn password_checks_return_their_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    // With argon2's default memory cost; and 16 MiB each, by libraries that allocate them.
    for hash in [&argon2_hash_with(19 * 1024), SCRYPT, YESCRYPT] {
        returns_memory(folder.path(), hash);
    }
}

fn returns_memory(folder: &std::path::Path, hash: &str) {
    let gateway = legacy(folder, hash);
    let login = || drop(sessions(&gateway, "legacy", 1));
    let before = gateway.resident_kib();
    thread::scope(|scope| {
        // Many at once, to use many of the gateway's threads.
        for _ in 0..8 {
            scope.spawn(|| (0..4).for_each(|_| login()));
        }
    });
    let left = gateway.resident_kib().saturating_sub(before);
    println!("{left} KiB left by 32 checks of {hash} ({before} KiB before)");
    assert!(
        left <= PASSWORD_CHECKS_KIB_MAX,
        "{left} KiB left, {PASSWORD_CHECKS_KIB_MAX} are allowed"
    );
}

/// The timeout for returning the memory of ended sessions to the system.
const MEMORY_RETURN_TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn ended_sessions_return_their_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let legacy = legacy(folder.path(), &argon2_hash());
    let gateway = front(&legacy);
    let _first = ["plain", "tls"].map(|listener| sessions(&gateway, listener, 8));
    let before = gateway.resident_kib();
    let open = ["plain", "tls"].map(|listener| sessions(&gateway, listener, SESSIONS));
    let most = gateway.resident_kib();
    drop(open);
    // Less than half of their memory is left.
    let allowed = before + (most - before) / 2;
    let started = Instant::now();
    let left = loop {
        let left = gateway.resident_kib();
        if left <= allowed {
            break left;
        }
        let waited = started.elapsed();
        assert!(
            waited < MEMORY_RETURN_TIMEOUT,
            "{left} KiB after {waited:?}, {before} KiB before, {most} KiB while {} sessions were open",
            2 * SESSIONS
        );
        thread::sleep(POLL);
    };
    let waited = started.elapsed();
    println!("{left} KiB after {waited:?}: {before} KiB before the sessions, {most} KiB with them");
}

/// Limits in KiB for an SFTP session with its backend connection: idle, and during a transfer.
const SFTP_IDLE_KIB_MAX: usize = 400;
const SFTP_TRANSFER_KIB_MAX: usize = 12 << 10;
const IDLE_SESSIONS: usize = 60;
const MOVING_SESSIONS: usize = 6;
/// The size of a download: more than any window.
const LENGTH: u64 = 256 << 20;

/// Sessions of `clients/sftp_hold.py`.
fn hold(gateway: &Gateway, mut job: Value) -> Staged {
    let object = job.as_object_mut().expect("an object");
    object.extend([
        ("port".to_owned(), json!(gateway.address("sftp").port())),
        ("user".to_owned(), json!(USER)),
        ("password".to_owned(), json!(PASSWORD)),
    ]);
    Staged::start("sftp_hold.py", &job, "held")
}

/// The SFTP front with a backend of each kind.
fn sftp_front(backend: &str, folder: &std::path::Path) -> (Gateway, std::path::PathBuf) {
    let (keys_of_backend, home) = match backend {
        "local" => (format!("protocol: local, folder: {folder:?}"), folder.to_owned()),
        "proftpd-plain" => {
            let server = endpoint("proftpd-plain");
            let keys = format!("protocol: ftp, address: \"127.0.0.1:{}\"", server.port);
            (keys, server.home.to_owned())
        }
        name => {
            let server = sftp_endpoint(match name {
                "proftpd-sftp" => "proftpd-sftp",
                _ => "sshd",
            });
            let fingerprint = &keys().fingerprints[0];
            let keys = format!(
                "protocol: sftp, address: \"127.0.0.1:{}\", host_key: \"{fingerprint}\"",
                server.port
            );
            (keys, server.home.to_owned())
        }
    };
    let (users, authenticate) = match backend {
        "local" => {
            (format!("users:\n  {USER}: {{ password_hash: \"{}\" }}\n", argon2_hash()), "gateway")
        }
        _ => (String::new(), "backend"),
    };
    let gateway = Gateway::start(&format!(
        "listeners:\n  sftp: {{ protocol: sftp, address: \"127.0.0.1:0\", host_keys: {} }}\n\
         backends:\n  back: {{ {keys_of_backend} }}\n{users}\
         routes:\n  - {{ authenticate: {authenticate}, backend: back }}\n\
         limits: {{ sessions_per_address: 10000 }}\n",
        host_keys(),
    ));
    (gateway, home)
}

#[test]
fn an_idle_sftp_session_is_small() {
    let folder = tempfile::tempdir().expect("a folder");
    for backend in ["local", "proftpd-plain", "sshd"] {
        let (gateway, _) = sftp_front(backend, folder.path());
        let _first = hold(&gateway, json!({ "how": "idle", "count": 8 }));
        let before = gateway.resident_kib();
        let _open = hold(&gateway, json!({ "how": "idle", "count": IDLE_SESSIONS }));
        let each = gateway.resident_kib().saturating_sub(before) / IDLE_SESSIONS;
        println!("sftp to {backend}: {each} KiB an idle session ({before} KiB before)");
        assert!(each <= SFTP_IDLE_KIB_MAX, "{backend}: {each} KiB an idle session");
    }
}

/// A transfer's memory is bounded by its windows, not by the file's size.
#[test]
fn an_sftp_transfer_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    for backend in ["local", "proftpd-plain", "sshd"] {
        let (gateway, home) = sftp_front(backend, folder.path());
        let name = "memory.bin";
        let disk = home.join(name);
        std::fs::File::create(&disk).and_then(|file| file.set_len(LENGTH)).expect("a sparse file");
        let path = match backend {
            "sshd" => disk.display().to_string(),
            _ => format!("/{name}"),
        };
        let _first = hold(&gateway, json!({ "how": "idle", "count": 2 }));
        let before = gateway.resident_kib();
        for how in ["read", "write"] {
            let job = json!({ "how": how, "count": MOVING_SESSIONS, "file": path, "blocks": 200 });
            let held = hold(&gateway, job);
            // The maximum of several samples while all transfers run.
            let look = |_| {
                std::thread::sleep(std::time::Duration::from_millis(100));
                gateway.resident_kib()
            };
            let most = (0..20).map(look).max().unwrap_or(0);
            drop(held);
            let each = most.saturating_sub(before) / MOVING_SESSIONS;
            println!("sftp to {backend}: {each} KiB a session that {how}s ({before} KiB before)");
            assert!(each <= SFTP_TRANSFER_KIB_MAX, "{backend}: {each} KiB a session that {how}s");
        }
        let _ = std::fs::remove_file(&disk);
        for number in 0..MOVING_SESSIONS {
            let _ = std::fs::remove_file(home.join(format!("{name}.{number}")));
        }
    }
}
