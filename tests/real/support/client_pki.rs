//! An authority for clients' certificates, their files, and its lists of revoked ones.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::pki::pki;

pub struct ClientCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A client's certificate with its key.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl ClientCa {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("writing a certificate");
        Self { issuer, folder }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate with this common name.
    pub fn client(&self, name: &str) -> Identity {
        self.client_with(|params| params.distinguished_name.push(DnType::CommonName, name))
    }

    /// A certificate without a name, changed.
    pub fn client_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let serial = rand::random::<u32>();
        params.serial_number = Some(SerialNumber::from(u64::from(serial)));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |end: &str| self.folder.path().join(format!("{serial}.{end}"));
        let identity = Identity { certificate: path("pem"), key: path("key") };
        std::fs::write(&identity.certificate, made.pem()).expect("writing a certificate");
        std::fs::write(&identity.key, key.serialize_pem()).expect("writing a key");
        identity
    }

    /// A server's certificate for this DNS name or address.
    pub fn server(&self, name: &str) -> Identity {
        let names = CertificateParams::new([name.to_owned()]).expect("a name").subject_alt_names;
        self.client_with(|params| params.subject_alt_names = names)
    }

    /// Writes the list of revoked certificates, by serial number, due so many days from now.
    pub fn write_crl(&self, revoked: &[u64], due: i64) -> PathBuf {
        let at = |days: i64| OffsetDateTime::now_utc() + Duration::days(days);
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at(-1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: at(due - 30),
            next_update: at(due),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let made = params.signed_by(&self.issuer).expect("a list");
        let path = self.folder.path().join("ca.crl");
        std::fs::write(&path, made.pem().expect("PEM")).expect("writing a list");
        path
    }
}

impl Identity {
    /// A client's TLS with this certificate, and a ticket store of its own.
    pub fn config(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(&pki().ca).expect("reading the test CA");
        roots.add(ca).expect("a CA certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let builder = builder.expect("known TLS versions").with_root_certificates(roots);
        let chain = vec![CertificateDer::from_pem_file(&self.certificate).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("a key");
        Arc::new(builder.with_client_auth_cert(chain, key).expect("a certificate with its key"))
    }
}
