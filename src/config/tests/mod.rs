//! Tests of the configuration. Each has its own folder with certificates and passwords.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::machine::{Availability, Machine};
use super::{Compiled, Report, load, load_file};

mod accepted;
mod admin;
mod anonymous;
mod audit;
mod certificates;
mod client_certificates;
mod data_ports;
mod expect;
mod groups;
mod limits;
mod login_hooks;
mod machine;
mod mistakes;
mod opaque;
mod policy;
mod realistic;
mod routes;
mod samples;
mod sftp;
mod text;
mod users;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY$\
                    aVzgv0C4t3lnL2cvvQ7gvAdbKI2WvX7FBVCMFsCr2lM";

/// Made with ssh-keygen; see keys/README.md.
const SSH_KEYS: [(&str, &str); 9] = [
    ("ssh_host_ed25519_key", include_str!("keys/ed25519")),
    ("ssh_host_rsa_key", include_str!("keys/rsa")),
    ("ecdsa", include_str!("keys/ecdsa")),
    ("second_ed25519", include_str!("keys/second_ed25519")),
    ("weak_rsa", include_str!("keys/weak_rsa")),
    ("locked", include_str!("keys/locked")),
    ("pkcs8.pem", include_str!("keys/pkcs8.pem")),
    ("exchange_key", include_str!("keys/ed25519")),
    ("vault_ca", include_str!("keys/second_ed25519")),
];
const PUBLIC_KEY: &str = include_str!("keys/ed25519.pub");

/// `tls.crt` and `tls.key`, a self-signed certificate; `other.key`, an unrelated key; `second` and
/// `nameless`, further certificates with keys; SSH keys; further
/// files named by the samples. Secrets are readable by their owner only.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["exchange.example.com".into()]).unwrap();
    write("tls.crt", &made.cert.pem());
    write("tls.key", &made.signing_key.serialize_pem());
    for (name, names) in [
        ("second", ["*.example.com", "files.example.net"]),
        ("nameless", ["192.0.2.1", "::1"]),
        ("gateway", ["gateway.example.com", "192.0.2.1"]),
    ] {
        let made = rcgen::generate_simple_self_signed(names.map(String::from)).unwrap();
        write(&format!("{name}.crt"), &made.cert.pem());
        write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }
    // Recognized by its text.
    write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let old = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA";
    let old = format!("-----BEGIN RSA PRIVATE KEY-----\n{old}\n-----END RSA PRIVATE KEY-----\n");
    write("encrypted-old.key", &old);
    write("other.key", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    write("exchange-ca.crt", &made.cert.pem());
    write("exchange.password", "open sesame\r\n");
    write("empty.password", "\n");
    write("lines.password", "one\ntwo\n");
    write("login-hook.token", "b3BlbiBzZXNhbWU=\n");
    write("exchange.passphrase", "open sesame\n");
    let names = "server.example.com,[10.1.2.3]:2222,files-a.example.com,[files-b.example.com]:2222";
    write("known_hosts", &format!("{names} {PUBLIC_KEY}"));
    write("alice.pub", PUBLIC_KEY);
    write("user_ca.pub", PUBLIC_KEY);
    write("revoked", "# none\n");
    write("acme.keys", &format!("# ACME\nfrom=\"198.51.100.0/24\" {PUBLIC_KEY}"));
    write("globex.keys", PUBLIC_KEY);
    write("bad.keys", &format!("cert-authority {PUBLIC_KEY}nonsense\n"));
    for (name, key) in SSH_KEYS {
        write(name, key);
    }
    client_certificates::add_authorities(folder.path());
    let secrets = SSH_KEYS.map(|(name, _)| name).into_iter().chain([
        "tls.key",
        "other.key",
        "second.key",
        "nameless.key",
        "gateway.key",
        "exchange.password",
        "login-hook.token",
        "exchange.passphrase",
    ]);
    secrets.for_each(|name| mode(&folder.path().join(name), 0o600));
    fs::create_dir(folder.path().join("files")).unwrap();
    folder
}

/// Independent of the machine of the tests.
const MACHINE: Machine = Machine {
    runs_here: true,
    variable: |name| match name {
        "LOCKGATE_REPLICA" => Some("lockgate-2".into()),
        "A_WORD" => Some("one".into()),
        "HOST_IP" => Some("192.0.2.44".into()),
        "TWO_ADDRESSES" => Some("192.0.2.44,2001:db8::44".into()),
        "EVERY_ADDRESS" => Some("0.0.0.0".into()),
        _ => None,
    },
    ephemeral: None,
    reserved: Vec::new(),
    now: 1_795_000_000,
    descriptors: None,
    is_own: |_| false,
    availability: |_| panic!("only used by a check"),
    resolve: |_| panic!("only used by a check"),
};

/// For a check only, on a machine where every address is available and every name resolves.
fn check_only() -> Machine {
    Machine {
        runs_here: false,
        availability: |_| Availability::Free,
        resolve: |names| {
            let known = |name: &String| (name.clone(), Ok(vec!["192.0.2.9".parse().unwrap()]));
            names.iter().map(known).collect()
        },
        ..MACHINE
    }
}

/// The base, or what a test made of it, with other names at the backend that checks passwords than `users`,
/// so that a check does not warn of that.
fn apart(base: &str) -> String {
    base.replacen(
        "  - authenticate: backend\n    backend: server\n",
        "  - { match: { users: \"ftp-*\" }, authenticate: backend,\n      backend: server }\n",
        1,
    )
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn load_beside(folder: &Path, text: &str) -> Result<Compiled, Report> {
    let path = folder.join("lockgate.yaml");
    fs::write(&path, text).unwrap();
    load_file(&path, &MACHINE)
}

/// The configuration of a text without errors.
fn compiled(text: &str) -> Compiled {
    load_beside(folder().path(), text).unwrap_or_else(|report| panic!("{report}"))
}

/// The report about a text with errors, without the folder's path.
fn report(text: &str) -> String {
    let folder = folder();
    let report = load_beside(folder.path(), text).err().expect("errors");
    report.to_string().replace(&format!("{}/", folder.path().display()), "")
}

/// A valid configuration; tests replace a line of it.
fn base() -> String {
    format!(
        r#"listeners:
  public:
    protocol: ftp
    address: "0.0.0.0:21"
    tls: {{ mode: required, certificate: tls.crt, key: tls.key }}
    data_ports: pool
data_ports:
  pool:
    range: 50000-50099
backends:
  server:
    protocol: ftp
    address: 10.1.2.3
    login: pass-through
  folder:
    protocol: local
    folder: files
users:
  alice:
    password_hash: "{HASH}"
    groups: [staff]
routes:
  - match: {{ groups: [staff] }}
    authenticate: gateway
    backend: folder
  - authenticate: backend
    backend: server
limits:
  sessions: 10
"#
    )
}
