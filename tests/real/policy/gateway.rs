//! The gateways with the rules of all cases: each case is a user of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Front;
use super::table::Case;
use crate::support::gateway::Gateway;
use crate::support::pki::pki;
use crate::support::servers::{endpoint, sftp_endpoint};
use crate::support::ssh::keys;
use crate::support::{PASSWORD, USER, argon2_hash, ports};

const SOCKET: &str = "admin.sock";
/// The backends with a folder of their own.
pub const BACKENDS: [&str; 4] = ["local", "proftpd", "vsftpd", "sshd"];

/// A backend of the gateways.
pub struct Back {
    pub name: &'static str,
    /// The folder of the servers' account on disk.
    home: PathBuf,
    /// The same, as the account sees it.
    above: String,
    settings: Value,
}

pub struct Gateways {
    usual: Gateway,
    dry_run: Gateway,
    backs: Vec<Back>,
    _local: TempDir,
    _password: TempDir,
}

impl Gateways {
    pub fn start(cases: &[Case]) -> Self {
        let (local, password) = (temporary(), temporary());
        let password_file = password.path().join("password");
        fs::write(&password_file, PASSWORD).expect("writing a password");
        fs::set_permissions(&password_file, Permissions::from_mode(0o600)).expect("closing a file");
        let backs = backs(local.path(), &password_file);
        for back in &backs {
            let owner = fs::metadata(&back.home).expect("a home's owner");
            for folder in [Front::Ftp, Front::Sftp].map(|front| back.disk(front)) {
                fs::create_dir_all(&folder).expect("making a folder");
                chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("giving a folder");
            }
        }
        let start = |dry_run| Gateway::start(&format!("{:#}", config(cases, &backs, dry_run)));
        let (usual, dry_run) = (start(false), start(true));
        Self { usual, dry_run, backs, _local: local, _password: password }
    }

    pub fn of(&self, case: &Case) -> &Gateway {
        if case.dry_run { &self.dry_run } else { &self.usual }
    }

    /// Where the gateway explains its decisions.
    pub fn socket(&self, case: &Case) -> PathBuf {
        self.of(case).folder().join(SOCKET)
    }

    pub fn back(&self, name: &str) -> &Back {
        self.backs.iter().find(|back| back.name == name).expect("a backend")
    }
}

impl Back {
    /// The folder of all cases on disk.
    pub fn disk(&self, front: Front) -> PathBuf {
        self.home.join(folder_name(front))
    }

    /// The same, as the account sees it.
    pub fn path(&self, front: Front) -> String {
        format!("{}/{}", self.above, folder_name(front))
    }
}

fn folder_name(front: Front) -> String {
    format!("policy-{}", front.name())
}

pub fn listener(front: Front, back: &Back) -> String {
    format!("{}-{}", front.name(), back.name)
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn backs(local: &Path, password: &Path) -> Vec<Back> {
    let [proftpd, vsftpd] = ["proftpd-plain", "vsftpd-plain"].map(endpoint);
    let sshd = sftp_endpoint("sshd");
    let login = json!({ "user": USER, "password_file": password });
    let ftp = |port: u16, names: &str| {
        json!({ "protocol": "ftp", "address": format!("127.0.0.1:{port}"), "tls": { "mode": "none" },
            "login": login, "names": names })
    };
    let sftp = json!({ "protocol": "sftp", "address": format!("127.0.0.1:{}", sshd.port),
        "host_key": keys().fingerprints[0], "login": login });
    let back = |name, home: &Path, above: String, settings| Back {
        name,
        home: home.to_owned(),
        above,
        settings,
    };
    let own = |path: &Path| path.display().to_string();
    vec![
        back("local", local, String::new(), json!({ "protocol": "local", "folder": local })),
        back("proftpd", proftpd.home, String::new(), ftp(proftpd.port, "exact")),
        back("vsftpd", vsftpd.home, String::new(), ftp(vsftpd.port, "exact")),
        back("sshd", sshd.home, own(sshd.home), sftp),
        back("windows", proftpd.home, String::new(), ftp(proftpd.port, "windows")),
    ]
}

fn config(cases: &[Case], backs: &[Back], dry_run: bool) -> Value {
    let chosen = || cases.iter().filter(|case| case.dry_run == dry_run);
    // A refused transfer leaves its port to a late connection for some seconds.
    let pool = ports::block(300);
    let hash = argon2_hash();
    let (mut listeners, mut backends, mut routes) = (json!({}), json!({}), Vec::new());
    let links: Vec<_> = chosen().filter(|case| case.links).map(|case| &case.name).collect();
    for back in backs {
        let tls = json!({ "mode": "optional", "certificate": pki().certificate, "key": pki().key });
        let [ftp, sftp] = [Front::Ftp, Front::Sftp].map(|front| listener(front, back));
        listeners[&ftp] = json!({ "protocol": "ftp", "address": "127.0.0.1:0", "tls": tls,
            "data_ports": "pool" });
        listeners[&sftp] = json!({ "protocol": "sftp", "address": "127.0.0.1:0",
            "host_keys": keys().host });
        backends[back.name] = back.settings.clone();
        if !links.is_empty() {
            let here = json!({ "listeners": [ftp, sftp], "users": links });
            routes.push(json!({ "match": here, "authenticate": "gateway", "backend": back.name }));
        }
        for front in [Front::Ftp, Front::Sftp] {
            routes.push(json!({ "match": { "listeners": [listener(front, back)] },
                "authenticate": "gateway", "backend": back.name,
                "root": format!("{}/{{user}}", back.path(front)) }));
        }
    }
    let users: serde_json::Map<_, _> = chosen()
        .map(|case| {
            let mut user = json!({ "password_hash": hash });
            if !case.groups.is_empty() {
                user["groups"] = json!(case.groups);
            }
            (case.name.clone(), user)
        })
        .collect();
    let mut policy = json!({
        "dry_run": dry_run,
        "rules": chosen().flat_map(|case| &case.rules).collect::<Vec<_>>(),
    });
    let uploads: Vec<_> = chosen().flat_map(|case| &case.uploads).collect();
    if !uploads.is_empty() {
        policy["uploads"] = json!(uploads);
    }
    json!({
        "listeners": listeners,
        "data_ports": { "pool": { "range": format!("{}-{}", pool.start(), pool.end()) } },
        "backends": backends,
        "users": users,
        "routes": routes,
        "policy": policy,
        "admin": { "socket": SOCKET },
        "limits": { "sessions": 1000, "sessions_per_address": 1000 },
    })
}
