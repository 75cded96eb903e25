//! `lockgate demo`: bridges protocols on one machine, without root or configuration.
//!
//! Runs two servers of one protocol each (a plain FTP and an SFTP listener with `local` backends) and, in
//! front of them, the gateway: three listeners for the FTP server, and one for FTP clients of the SFTP
//! server. All files are in a temporary folder, which is removed at the end.

mod files;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context;
use russh::keys::{HashAlg, PublicKey};

use crate::auth::{self, HashKind};
use crate::config::{self, Compiled, LogSettings};
use crate::data::Ports;
use crate::{app, logging};

const USER: &str = "demo";
const PASSWORD: &str = "demo";
/// Passive ports of each pool; any free ones.
const DATA_PORTS: u16 = 4;

/// Runs until Ctrl-C, SIGTERM, or SIGHUP when the terminal closes.
pub async fn run() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    let folder = tempfile::Builder::new().prefix("lockgate-demo-").tempdir()?;
    let folder_path = folder.path();
    files::certificate(folder_path).context("creating a certificate")?;
    let server_key = files::host_key(&folder_path.join("server_host_key"))?;
    let gateway_key = files::host_key(&folder_path.join("gateway_host_key"))?;
    files::samples(folder_path).context("creating the sample files")?;
    let _log = logging::init(LogSettings::default());

    let servers = start(|| servers(folder_path))?;
    let addresses_of = |running: &app::Running| Addresses(running.addresses.clone());
    let gateway = start(|| gateway(folder_path, &addresses_of(&servers), &server_key))?;
    let (listeners, server_addresses) = (addresses_of(&gateway), addresses_of(&servers));
    fs::write(
        folder_path.join("known_hosts"),
        known_hosts(listeners.port("sftp")?, &gateway_key)?,
    )?;
    print(&introduction(folder_path, &listeners, &server_addresses)?);

    let mut signalled = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    };
    signalled().await;
    print("\nStopping and removing the temporary folder.");
    let stopped = async {
        gateway.stop().await;
        servers.stop().await;
    };
    tokio::select! {
        () = stopped => {}
        () = signalled() => {}
    }
    folder.close().context("removing the temporary folder")
}

fn introduction(
    folder: &Path,
    listeners: &Addresses,
    server_addresses: &Addresses,
) -> anyhow::Result<String> {
    let (auth_tls, implicit, sftp, plain) = (
        listeners.port("auth-tls")?,
        listeners.port("implicit-tls")?,
        listeners.port("sftp")?,
        listeners.port("plain-ftp")?,
    );
    let (ftp_server, sftp_server) =
        (server_addresses.port("ftp-server")?, server_addresses.port("sftp-server")?);
    let folder = folder.display();
    let curl = format!("curl --cacert {folder}/ca.crt");
    let account = format!("{USER}:{PASSWORD}@localhost");
    Ok(format!(
        "\
lockgate demo

    FTP with AUTH TLS ──▶ :{auth_tls:<5} ┐
    implicit FTPS ──────▶ :{implicit:<5} ├─ lockgate ── plain FTP ──▶ :{ftp_server:<5} a server with plain FTP only
    SFTP ───────────────▶ :{sftp:<5} ┘
    plain FTP ──────────▶ :{plain:<5} ── lockgate ── SFTP ───────▶ :{sftp_server:<5} a server with SFTP only

User {USER}, password {PASSWORD}. The FTP server's files are in {folder}/ftp-files,
the SFTP server's in {folder}/sftp-files. Paste into another terminal:

The FTP server, over FTP with AUTH TLS: a listing, a download, an upload

    {curl} --ssl-reqd ftp://{account}:{auth_tls}/
    {curl} --ssl-reqd ftp://{account}:{auth_tls}/readings.csv
    {curl} --ssl-reqd -T /etc/hostname ftp://{account}:{auth_tls}/inbox/

The same server over implicit FTPS, for clients that support nothing else

    {curl} ftps://{account}:{implicit}/welcome.txt

The same server over SFTP: type the password, then for example ls -l, get readings.csv, bye

    sftp -P {sftp} -o UserKnownHostsFile={folder}/known_hosts {USER}@localhost

The other way: the SFTP server, for a client that supports FTP only

    curl ftp://{account}:{plain}/
    curl ftp://{account}:{plain}/orders.csv

The log follows, with each operation twice: by the gateway (listener=auth-tls, implicit-tls,
sftp, plain-ftp) and by the server behind it (listener=ftp-server, sftp-server). Ctrl-C stops and
cleans up.
"
    ))
}

/// Ignores errors: the folder must be removed even if standard output is closed.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The servers: plain FTP and SFTP, each for a folder.
fn servers(folder: &Path) -> anyhow::Result<Compiled> {
    let hash = auth::hash_password(PASSWORD.as_bytes(), HashKind::Argon2id)
        .map_err(|e| anyhow::anyhow!("hashing the demo password: {e}"))?;
    let yaml = format!(
        "\
listeners:
  ftp-server: {{ protocol: ftp, address: \"{ftp}\", data_ports: ftp-server }}
  sftp-server: {{ protocol: sftp, address: \"{sftp}\", host_keys: \"{folder}/server_host_key\" }}
data_ports:
  ftp-server: {{ range: 65000, listen: [\"127.0.0.1\"] }}
backends:
  ftp-files: {{ protocol: local, folder: \"{folder}/ftp-files\" }}
  sftp-files: {{ protocol: local, folder: \"{folder}/sftp-files\" }}
users:
  {USER}: {{ password_hash: \"{hash}\" }}
routes:
  - {{ match: {{ listeners: [ftp-server] }}, authenticate: gateway, backend: ftp-files }}
  - {{ match: {{ listeners: [sftp-server] }}, authenticate: gateway, backend: sftp-files }}
drain: {{ accept_for: 0s, timeout: 1s }}
",
        ftp = preferred(2120),
        sftp = preferred(2220),
        folder = folder.display(),
    );
    compile(&yaml)
}

/// The gateway: the servers check the passwords.
fn gateway(
    folder: &Path,
    server_addresses: &Addresses,
    server_key: &PublicKey,
) -> anyhow::Result<Compiled> {
    let folder = folder.display();
    let tls = format!("certificate: \"{folder}/tls.crt\", key: \"{folder}/tls.key\"");
    let yaml = format!(
        "\
listeners:
  auth-tls: {{ protocol: ftp, address: \"{auth_tls}\", tls: {{ mode: required, {tls} }}, data_ports: gateway }}
  implicit-tls: {{ protocol: ftp, address: \"{implicit}\", tls: {{ mode: implicit, {tls} }}, data_ports: gateway }}
  sftp: {{ protocol: sftp, address: \"{sftp}\", host_keys: \"{folder}/gateway_host_key\" }}
  plain-ftp: {{ protocol: ftp, address: \"{plain}\", data_ports: gateway }}
data_ports:
  gateway: {{ range: 65000, listen: [\"127.0.0.1\"] }}
backends:
  ftp-server: {{ protocol: ftp, address: \"127.0.0.1:{ftp_server}\" }}
  sftp-server: {{ protocol: sftp, address: \"127.0.0.1:{sftp_server}\", host_key: \"{host_key}\" }}
routes:
  - {{ match: {{ listeners: [plain-ftp] }}, authenticate: backend, backend: sftp-server }}
  - {{ authenticate: backend, backend: ftp-server }}
drain: {{ accept_for: 0s, timeout: 1s }}
",
        auth_tls = preferred(2121),
        implicit = preferred(2990),
        sftp = preferred(2222),
        plain = preferred(2123),
        ftp_server = server_addresses.port("ftp-server")?,
        sftp_server = server_addresses.port("sftp-server")?,
        host_key = server_key.fingerprint(HashAlg::Sha256),
    );
    compile(&yaml)
}

fn compile(yaml: &str) -> anyhow::Result<Compiled> {
    let mut config = config::load_str(yaml, "demo")?;
    for pool in &mut config.pools {
        pool.ports = Ports::Ephemeral(DATA_PORTS);
    }
    Ok(config)
}

/// A known_hosts file, so that the client does not ask about the host key.
fn known_hosts(port: u16, key: &PublicKey) -> anyhow::Result<String> {
    Ok(format!("[localhost]:{port},[127.0.0.1]:{port} {}\n", key.to_openssh()?))
}

/// Starts a gateway; again if another program has taken a port since it was found free.
fn start(config: impl Fn() -> anyhow::Result<Compiled>) -> anyhow::Result<app::Running> {
    match app::start(config()?) {
        Err(app::StartError::Listen(_)) => Ok(app::start(config()?)?),
        started => Ok(started?),
    }
}

/// This port, if it is free, otherwise any.
fn preferred(port: u16) -> SocketAddr {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

/// Bound addresses by listener.
struct Addresses(Vec<(String, SocketAddr)>);

impl Addresses {
    fn port(&self, listener: &str) -> anyhow::Result<u16> {
        let found = self.0.iter().find(|(name, _)| name == listener);
        let (_, address) = found.with_context(|| format!("{listener} does not listen"))?;
        Ok(address.port())
    }
}
