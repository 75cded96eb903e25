//! `lockgate demo`: the main job, bridging, on one machine without root or configuration.
//!
//! A little legacy FTP server (the `local` backend behind a plain FTP listener) and, in front of it,
//! the gateway with explicit FTPS. Everything lives in a temporary folder that goes with it.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::config::{self, Compiled, LogSettings};
use crate::data::Ports;
use crate::{app, auth, logging};

const USER: &str = "demo";
const PASSWORD: &str = "demo";
/// Passive ports of each of the two; any that are free.
const DATA_PORTS: u16 = 4;

/// Runs until Ctrl-C or SIGTERM.
pub async fn run() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let folder = tempfile::Builder::new().prefix("lockgate-demo-").tempdir()?;
    certificate(folder.path()).context("making a certificate")?;
    sample_files(&folder.path().join("files")).context("making the sample files")?;
    logging::init(LogSettings::default());

    let legacy = app::start(legacy(folder.path())?).await?;
    let legacy_address = address(&legacy.addresses)?;
    let gateway = app::start(gateway(folder.path(), legacy_address)?).await?;
    introduce(folder.path(), address(&gateway.addresses)?, legacy_address);

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say("\nStopping; the temporary folder goes too.");
    gateway.stop().await;
    legacy.stop().await;
    folder.close().context("removing the temporary folder")
}

fn introduce(folder: &Path, gateway: SocketAddr, legacy: SocketAddr) {
    let ca = folder.join("ca.crt");
    let (ca, port) = (ca.display(), gateway.port());
    say(&format!(
        "\
lockgate demo

    you ── FTP with AUTH TLS ──▶ lockgate ── plain FTP ──▶ legacy server
                                 {gateway}             {legacy}

User {USER}, password {PASSWORD}. The legacy server's files: {files}

Paste into another terminal:

    curl --ssl-reqd --cacert {ca} ftp://{USER}:{PASSWORD}@localhost:{port}/
    curl --ssl-reqd --cacert {ca} ftp://{USER}:{PASSWORD}@localhost:{port}/readings.csv
    curl --ssl-reqd --cacert {ca} -T /etc/hostname ftp://{USER}:{PASSWORD}@localhost:{port}/inbox/
    lftp -e 'set ssl:ca-file {ca}; set ftp:ssl-force yes; ls; cat welcome.txt; bye' -u {USER},{PASSWORD} localhost -p {port}

What happens is logged below, each operation twice: by the gateway (listener=gateway) and by the
legacy server behind it (listener=legacy). Ctrl-C stops and cleans up.
",
        files = folder.join("files").display(),
    ));
}

/// Nobody may be left to read it, and the folder must go all the same.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The legacy server: plain FTP in front of a folder.
fn legacy(folder: &Path) -> anyhow::Result<Compiled> {
    let hash = auth::hash_password(PASSWORD.as_bytes())
        .map_err(|e| anyhow::anyhow!("hashing the demo password: {e}"))?;
    let yaml = format!(
        "\
listeners:
  legacy: {{ protocol: ftp, address: \"{address}\", data_ports: legacy }}
data_ports:
  legacy: {{ range: 65000, listen: [\"127.0.0.1\"] }}
backends:
  folder: {{ protocol: local, folder: \"{folder}/files\" }}
users:
  {USER}: {{ password_hash: \"{hash}\" }}
routes:
  - {{ authenticate: gateway, backend: folder }}
",
        address = preferred(2120),
        folder = folder.display(),
    );
    compile(&yaml)
}

/// The gateway: explicit FTPS in front of the legacy server, which checks the password itself.
fn gateway(folder: &Path, legacy: SocketAddr) -> anyhow::Result<Compiled> {
    let yaml = format!(
        "\
listeners:
  gateway:
    protocol: ftp
    address: \"{address}\"
    tls: {{ mode: required, certificate: \"{folder}/tls.crt\", key: \"{folder}/tls.key\" }}
    data_ports: gateway
data_ports:
  gateway: {{ range: 65000, listen: [\"127.0.0.1\"] }}
backends:
  legacy: {{ protocol: ftp, address: \"{legacy}\" }}
routes:
  - {{ authenticate: backend, backend: legacy }}
",
        address = preferred(2121),
        folder = folder.display(),
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

/// An address that is easy to remember, if it is free, else any.
fn preferred(port: u16) -> SocketAddr {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
    }
}

fn address(addresses: &[(String, SocketAddr)]) -> anyhow::Result<SocketAddr> {
    addresses.first().map(|(_, address)| *address).context("nothing listens")
}

/// A demo authority and the gateway's certificate, as `ca.crt`, `tls.crt` and `tls.key`.
fn certificate(folder: &Path) -> anyhow::Result<()> {
    let mut authority = CertificateParams::new(vec![])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "lockgate demo authority");
    let authority_key = KeyPair::generate()?;
    fs::write(folder.join("ca.crt"), authority.self_signed(&authority_key)?.pem())?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    fs::write(folder.join("tls.crt"), server.signed_by(&key, &issuer)?.pem())?;
    fs::write(folder.join("tls.key"), key.serialize_pem())?;
    Ok(())
}

fn sample_files(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("inbox"))?;
    fs::write(
        folder.join("welcome.txt"),
        "This file lies on a server that knows plain FTP only.\nYou read it over TLS.\n",
    )?;
    fs::write(
        folder.join("readings.csv"),
        "time,sensor,value\n08:00,boiler,71.5\n08:05,boiler,71.9\n",
    )?;
    fs::write(folder.join("Größe 10 µm.txt"), "Names go through byte for byte.\n")
}
