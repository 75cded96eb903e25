//! The CA and the certificate of the tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::process::SharedFolder;

/// A CA and a server certificate for localhost and 127.0.0.1, as PEM files.
pub struct Pki {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificate and key in one file, as pure-ftpd needs it.
    pub both: PathBuf,
    /// A client's certificate of the same CA.
    pub client: PathBuf,
    pub client_key: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    _folder: SharedFolder,
}

/// Made once per process.
pub fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| make().expect("making the test certificates"))
}

fn make() -> anyhow::Result<Pki> {
    let ca_key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "lockgate test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let ca_pem = params.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(params, ca_key);

    let (pem, key) = server(&issuer)?;

    let client_key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "gateway");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_pem = params.signed_by(&client_key, &issuer)?.pem();

    let folder = SharedFolder::new()?;
    let file = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        private(&path)?;
        Ok(path)
    };
    Ok(Pki {
        ca: file("ca.pem", &ca_pem)?,
        certificate: file("server.pem", &pem)?,
        key: file("server.key", &key)?,
        both: file("both.pem", &format!("{pem}{key}"))?,
        client: file("client.pem", &client_pem)?,
        client_key: file("client.key", &client_key.serialize_pem())?,
        issuer,
        _folder: folder,
    })
}

impl Pki {
    /// Another server certificate of the same CA, and its key.
    pub fn renewed(&self) -> (String, String) {
        server(&self.issuer).expect("a certificate")
    }
}

fn server(issuer: &Issuer<'static, KeyPair>) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

/// ProFTPD refuses a key that others may read.
fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}
