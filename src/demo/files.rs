//! The files of the demo: certificates, host keys and sample files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// A demo authority and the gateway's certificate, as `ca.crt`, `tls.crt` and `tls.key`.
pub(super) fn certificate(folder: &Path) -> anyhow::Result<()> {
    let mut authority = CertificateParams::new(vec![])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "lockgate demo authority");
    let authority_key = KeyPair::generate()?;
    fs::write(folder.join("ca.crt"), authority.self_signed(&authority_key)?.pem())?;
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let server = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    fs::write(folder.join("tls.crt"), server.signed_by(&key, &issuer)?.pem())?;
    secret(&folder.join("tls.key"), &key.serialize_pem())
}

/// A new SSH host key at `path`; returns its public half.
pub(super) fn host_key(path: &Path) -> anyhow::Result<PublicKey> {
    let seed = Zeroizing::new(rand::random::<[u8; 32]>());
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    secret(path, &key.to_openssh(LineEnding::LF)?).context("creating a host key")?;
    Ok(key.public_key().clone())
}

/// Writes a file that only its owner may read.
fn secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Sample files of the two servers, in `ftp-files` and `sftp-files`.
pub(super) fn samples(folder: &Path) -> std::io::Result<()> {
    let ftp = folder.join("ftp-files");
    fs::create_dir_all(ftp.join("inbox"))?;
    fs::write(
        ftp.join("welcome.txt"),
        "This file is on a server that supports plain FTP only.\nYou read it encrypted.\n",
    )?;
    fs::write(
        ftp.join("readings.csv"),
        "time,sensor,value\n08:00,boiler,71.5\n08:05,boiler,71.9\n",
    )?;
    fs::write(ftp.join("Größe 10 µm.txt"), "Names are passed on byte for byte.\n")?;

    let sftp = folder.join("sftp-files");
    fs::create_dir_all(sftp.join("inbox"))?;
    fs::write(sftp.join("orders.csv"), "order,article,pieces\n4711,valve DN50,12\n")
}
